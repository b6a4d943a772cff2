#!/usr/bin/env python3
"""Writes tests/data/tokenization/added_tokens.json: what transformers gives for tokenizers with tokens of their own.

    python3 -m venv ref && ref/bin/pip install transformers==5.23.0 tokenizers sentencepiece protobuf
    ref/bin/python tools/make_added_token_cases.py tests/data

A case is a tokenizer of the repository (`base`), some of its files (`keep`), others beside them (`files`; those
of tokenizer.json are its "added_tokens" only), and texts with the ids that transformers gives for them.
"""
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

CLIP = "tests/data/reference/checkpoints/sd15/tokenizer"
T5 = "models/emoji-flux/tokenizer_2"
TEXTS = ["a <cat-toy> dog", "a<cat-toy>dog", "A <CAT-TOY> Dog", "<cat-toy>", " <cat-toy>  ", "<cat-toy><cat-toy>", "<cat-toy>_1", "x<cat-toy_1> <cat-toy_12>",
         "sks dog", "sksdog, dog sks", "a SKS", "_sks sks_ \u0301sks sks\u2160 (sks) sks\u203f sks\u24d0 é sks", "  sks\t\u3000sks ", "ｓｋｓ Ｓks", "ÉTÉ e\u0301te\u0301 été", "<| Odd|> <|ODD|>", "a  <l>  b <r>  c  <lr>  <lr> d",
         "<r> <l>", "a</s><unk><extra_id_3> b", "a<|endoftext|>b <|STARTOFTEXT|>", "a photo", "", "two  words two\twords TWO WORDS", "! !! <pad>"]


def token(content, **flags):
    return {"content": content, "lstrip": False, "normalized": True, "rstrip": False, "single_word": False, "special": False, **flags}


def with_ids(tokens, first):
    return {str(first + i): t for i, t in enumerate(tokens)}


MANY = [token("<cat-toy>"), token("<cat-toy_1>"), token("<cat-toy_12>", normalized=False), token("sks", single_word=True), token("<|Odd|>"),
        token("<l>", lstrip=True), token("<r>", rstrip=True, normalized=False, special=True), token("<lr>", lstrip=True, rstrip=True), token("Été"), token("two words")]
SLOW_CLIP = ["vocab.json", "merges.txt"]
SD_SPECIAL = {k: {"content": f"<|{w}oftext|>", "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
              for k, w in (("bos_token", "start"), ("eos_token", "end"), ("unk_token", "end"))} | {"pad_token": "<|endoftext|>"}
SD_CONFIG = {"model_max_length": 77, "tokenizer_class": "CLIPTokenizer", **{k: {"__type": "AddedToken", **v} if isinstance(v, dict) else v for k, v in SD_SPECIAL.items()}}


def saved(cls, base, work, tokens, **special):
    """The files that add_tokens and save_pretrained leave."""
    tokenizer = cls.from_pretrained(base)
    tokenizer.add_tokens(tokens)
    if special:
        tokenizer.add_special_tokens(special)
    tokenizer.save_pretrained(work)
    files = {n: json.loads((work / n).read_text()) for n in ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json") if (work / n).exists()}
    files["tokenizer.json"] = json.loads((work / "tokenizer.json").read_text())["added_tokens"]
    shutil.rmtree(work)
    return files


def case(name, cls, base, keep, files, work):
    work.mkdir(parents=True)
    for file in keep:
        shutil.copy(Path(base) / file, work / file)
    for file, content in files.items():
        if file == "tokenizer.json":
            content = {**json.loads((Path(base) / file).read_text()), "added_tokens": content}
        (work / file).write_text(json.dumps(content, ensure_ascii=False))
    tokenizer = cls.from_pretrained(work)
    cases = [{"text": t, "ids": tokenizer(t).input_ids} for t in TEXTS]
    added = {str(i): str(t) for i, t in sorted(tokenizer.added_tokens_decoder.items())}
    shutil.rmtree(work)
    return {"name": name, "base": base, "keep": keep, "files": files, "vocab_size": len(tokenizer), "added": added, "cases": cases}


def main():
    from transformers import CLIPTokenizer, T5Tokenizer

    out = Path(sys.argv[1]).resolve() / "tokenization/added_tokens.json"
    os.chdir(Path(__file__).parent.parent)
    work = Path(tempfile.mkdtemp()) / "tokenizer"
    clip_json = json.loads(Path(CLIP, "tokenizer.json").read_text())["added_tokens"]
    t5_json = json.loads(Path(T5, "tokenizer.json").read_text())["added_tokens"]
    clip_size, t5_size = len(CLIPTokenizer.from_pretrained(CLIP)), len(T5Tokenizer.from_pretrained(T5))
    listed = lambda tokens, first: [{"id": first + i, **t} for i, t in enumerate(tokens)]
    plain = {"<cat-toy>": clip_size, "sks": clip_size + 1}
    specials = {"1212": token("<|startoftext|>", special=True), "1213": token("<|endoftext|>", special=True, normalized=False)}
    clip = [
        ("add_tokens and save_pretrained", [], saved(CLIPTokenizer, CLIP, work, ["<cat-toy>", "sks"])),
        ("special tokens of its own, saved", [], saved(CLIPTokenizer, CLIP, work, ["sks"], additional_special_tokens=["<cat-toy>"])),
        ("tokenizer.json with every flag", ["tokenizer_config.json"], {"tokenizer.json": clip_json + listed(MANY, clip_size)}),
        ("added_tokens.json", SLOW_CLIP + ["tokenizer_config.json", "special_tokens_map.json"], {"added_tokens.json": plain}),
        ("added_tokens.json of Stable Diffusion 1.5's layout", SLOW_CLIP, {"tokenizer_config.json": SD_CONFIG, "special_tokens_map.json": SD_SPECIAL, "added_tokens.json": plain}),
        ("added_tokens.json and a list of special tokens in special_tokens_map.json", SLOW_CLIP,
         {"tokenizer_config.json": SD_CONFIG, "special_tokens_map.json": {**SD_SPECIAL, "additional_special_tokens": ["<cat-toy>"]}, "added_tokens.json": plain}),
        ("added_tokens.json and a list of special tokens in tokenizer_config.json", SLOW_CLIP,
         {"tokenizer_config.json": {**SD_CONFIG, "additional_special_tokens": ["<cat-toy>"]}, "added_tokens.json": plain}),
        ("special_tokens_map.json goes before tokenizer_config.json", SLOW_CLIP, {"tokenizer_config.json": {"pad_token": "!"}, "special_tokens_map.json": SD_SPECIAL}),
        ("added_tokens_decoder with every flag", SLOW_CLIP, {"tokenizer_config.json": {**SD_CONFIG, "added_tokens_decoder": {**specials, **with_ids(MANY, clip_size)}}}),
        ("added_tokens_decoder goes before all other lists", SLOW_CLIP,
         {"tokenizer_config.json": {**SD_CONFIG, "added_tokens_decoder": {**specials, **with_ids([token("sks")], clip_size)}}, "special_tokens_map.json": {"pad_token": "!"}, "added_tokens.json": {"dog": clip_size}}),
        ("added_tokens_decoder beside tokenizer.json", [], {"tokenizer_config.json": {**SD_CONFIG, "added_tokens_decoder": {**specials, **with_ids(MANY[:4], clip_size)}}, "tokenizer.json": clip_json}),
        ("the pad token of Stable Diffusion 2", SLOW_CLIP, {"tokenizer_config.json": {**SD_CONFIG, "pad_token": "!", "added_tokens_decoder": {"0": token("!", special=True, normalized=False), **specials}}}),
        ("flags left out", SLOW_CLIP, {"tokenizer_config.json": {**SD_CONFIG, "added_tokens_decoder": {**specials, str(clip_size): {"content": "<cat-toy>", "special": True}, str(clip_size + 1): {"content": "sks"}}}}),
        ("ids that are out of order", SLOW_CLIP, {"tokenizer_config.json": {**SD_CONFIG, "added_tokens_decoder": {str(clip_size + 1): token("sks"), str(clip_size): token("<cat-toy>"), **specials}}}),
    ]
    t5_decoder = {str(t["id"]): {k: v for k, v in t.items() if k != "id"} for t in t5_json}
    t5_stripping = {i: {**t, "lstrip": True, "rstrip": True} for i, t in t5_decoder.items() if t["content"].startswith("<extra")}
    t5 = [
        ("add_tokens and save_pretrained", [], saved(T5Tokenizer, T5, work, ["<cat-toy>", "sks"])),
        ("tokenizer.json with every flag", [], {"tokenizer_config.json": {"tokenizer_class": "T5Tokenizer"}, "tokenizer.json": t5_json + listed(MANY, t5_size)}),
        ("added_tokens.json beside spiece.model", ["spiece.model"], {"tokenizer_config.json": {"tokenizer_class": "T5Tokenizer"}, "added_tokens.json": {"<cat-toy>": t5_size, "sks": t5_size + 1}}),
        ("added_tokens_decoder beside spiece.model", ["spiece.model"], {"tokenizer_config.json": {"tokenizer_class": "T5Tokenizer", "added_tokens_decoder": {**t5_decoder, **with_ids(MANY, t5_size)}}}),
        ("sentinels that take the space around them", ["spiece.model"],
         {"tokenizer_config.json": {"tokenizer_class": "T5Tokenizer", "added_tokens_decoder": {**t5_decoder, **t5_stripping}}}),
    ]
    cases = [case(n, CLIPTokenizer, CLIP, keep, files, work) for n, keep, files in clip] + [case(n, T5Tokenizer, T5, keep, files, work) for n, keep, files in t5]
    out.write_text("[\n" + ",\n".join(json.dumps(c, ensure_ascii=False, separators=(",", ":")) for c in cases) + "\n]\n")
    print(len(cases), "tokenizers,", out.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
