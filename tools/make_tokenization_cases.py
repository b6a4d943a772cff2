#!/usr/bin/env python3
"""Writes the tokenizer tests' data: CLIP's vocabulary and the ids that transformers gives for a few thousand texts.

    python3 -m venv ref && ref/bin/pip install transformers==5.23.0 tokenizers && ref/bin/pip install --no-deps open_clip_torch
    ref/bin/python tools/make_tokenization_cases.py tests/data

tests/data/clip_tokenizer/      vocab.json, merges.txt and the two configs, as Stable Diffusion 1.5 has them
tests/data/tokenization/clip.jsonl   a line each: {"text": ..., "ids": [...]}; the ids without the start and end token
tests/data/tokenization/t5.jsonl     the same with the T5 tokenizer of models/emoji-flux
"""
import gzip
import importlib.util
import json
import random
import sys
import unicodedata
from pathlib import Path

SUBJECTS = "a dog|two cats|an astronaut|the old lighthouse|a red-haired woman|three fishing boats|Napoléon|my neighbour's car".split("|")
PLACES = "on mars|in heavy rain|under a tree|at sunset, 1987|by the sea (4k)|inside a teapot|in New York's subway|on a table".split("|")
STYLES = "oil painting|trending on artstation|8k uhd, hdr|watercolour|by Greg Rutkowski|f/1.8 85mm|low-poly 3D render|((masterpiece:1.2))".split("|")
SCRIPTS = ["Привет, мир! Ёлка", "Ελληνικά ΣΑΣ ς", "你好，世界。一二三", "こんにちは、世界！ｶﾅ", "안녕하세요 세계", "مرحبا بالعالم ١٢٣", "שלום עולם",
           "नमस्ते दुनिया १२३", "สวัสดีชาวโลก", "Xin chào thế giới", "გამარჯობა", "Բարեւ աշխարհ", "ሰላም ልዑል", "வணக்கம்", "ನಮಸ್ಕಾರ", "မင်္ဂလာပါ",
           "İstanbul IĞDIR ıi", "Straße ẞ ŉ ǰ", "ﬁﬂ ﬃ Ⅷ ½ ² ㎏", "Å Å Å", "e\u0301 é \u0344", "\u1e9b\u0323 \u212b", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝟘𝟙", "Ꭰ ꭰ Ᏸ ᏸ", "𐐀𐐨 𞤀𞤢"]
EMOJI = ["🐶", "👨‍👩‍👧‍👦", "🏳️‍🌈", "👍🏽", "🇩🇪🇫🇷", "❤️", "1️⃣", "🧑🏿‍🚀 on 🌕", "☃︎", "🫠🪿"]
SPACES = ["\u00a0", "\u2003", "\u3000", "\t", "\n", "\r\n", "\x0b", "\x0c", "\x85", "\u2028", "\u200b", "\ufeff", "\x1c", "\u180e", " "]
ODD = ["", " ", "   ", "\x00", "a\x00b", "\x01\x02\x7f", "<|endoftext|>", "<|startoftext|>", "a<|endoftext|>b", "<|ENDOFTEXT|>", "<|endoftext", "!<|startoftext|>!",
       "<|endoftext|><|endoftext|>", "<| endoftext |>", "don't I'm you're we've he'll she'd it's", "DON'T I'M YOU'RE", "'s's't're", "''s", "'S 'T", "’s it’s", "o'clock 'dog' 'll'",
       "3.14159", "1,000,000", "2nd 3rd", "x²+y³", "C++", "#hashtag @user", "http://example.org/?q=a&b=c", "a_b-c.d", "----", "!!!???", "...", "…", "“quoted”", "£5 €6 ¥7", "\\n \\t", "100%", "a/b\\c",
       "\ufffd", "\U0010ffff", "\ue000", "\u0301", "\u200d", "\u202eabc"]
MODERN = [chr(c) for c in (0x1C89, 0xA7CB, 0xA7DA, 0x10D50, 0x16EA0, 0x105C0, 0x116D0, 0x2EBF0, 0x13460)]


def texts():
    rng = random.Random(20261123)
    found = list(ODD) + SCRIPTS + EMOJI + MODERN
    found += [f"{s} {p}, {t}" for s in SUBJECTS for p in PLACES for t in STYLES]
    found += [a + w + b for w in SPACES for a, b in (("a", "b"), ("", "x"), ("x", ""), ("1", "2"))]
    found += [unicodedata.normalize(form, s) for form in ("NFC", "NFD", "NFKC", "NFKD") for s in SCRIPTS]
    found += [s.upper() for s in SCRIPTS] + [s.lower() for s in SCRIPTS]
    parts = SUBJECTS + PLACES + STYLES + SCRIPTS + EMOJI + ODD + SPACES
    for _ in range(700):
        found.append("".join(rng.choice(parts) + rng.choice(["", " ", ", "]) for _ in range(rng.randint(1, 5))))
    planes = [(0x20, 0x7F), (0xA0, 0x250), (0x300, 0x370), (0x370, 0x600), (0x900, 0xE00), (0x2000, 0x2C00), (0x3040, 0x3100), (0xA000, 0xD7FF), (0xE000, 0xFFFF), (0x10000, 0x1FBFF), (0x20000, 0x2FFFF)]
    for _ in range(900):
        low, high = rng.choice(planes)
        found.append("".join(rng.choice([chr(rng.randint(low, high)), rng.choice("abc 12'!")]) for _ in range(rng.randint(1, 12))))
    for _ in range(300):
        found.append("".join(chr(rng.randint(0, 127)) for _ in range(rng.randint(1, 30))))
    found += ["long " * 60, "x" * 400, "🐶" * 90, "1" * 150, "!" * 300, "ab'cd" * 40, "a very long prompt about a café in Zürich, 你好 🐶 " * 6]
    return list(dict.fromkeys(t for t in found if not any(0xD800 <= ord(c) < 0xE000 for c in t)))


def write_vocabulary(folder):
    path = Path(importlib.util.find_spec("open_clip").origin).parent / "bpe_simple_vocab_16e6.txt.gz"
    merges = gzip.open(path).read().decode().split("\n")[1 : 49152 - 256 - 2 + 1]
    printable = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    alphabet = [chr(b) for b in printable] + [chr(256 + i) for i in range(256 - len(printable))]
    tokens = alphabet + [c + "</w>" for c in alphabet] + ["".join(m.split()) for m in merges] + ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(tokens)}, ensure_ascii=False, separators=(",", ":")))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    special = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    (folder / "special_tokens_map.json").write_text(json.dumps(special) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({**special, "do_lower_case": True, "model_max_length": 77, "tokenizer_class": "CLIPTokenizer"}) + "\n")


def t5_texts():
    """What T5 has beyond CLIP's texts: its sentinels, its own mark of a word, and what its table of characters rewrites."""
    rng = random.Random(20261124)
    sentinels = ["<extra_id_0>", "<extra_id_99>", "<extra_id_100>", "</s>", "<pad>", "<unk>", "a</s>b", "a <extra_id_5> b", " <unk> ", "<extra_id_1><extra_id_2>", "＜pad＞", "＜/s＞x", "< pad>"]
    marks = ["▁", "▁▁", "a▁b", "▁a ▁b", " ▁ ", "▁<extra_id_3>▁", "a ▁", "_a_"]
    rewritten = ["ﬁ", "½ cup", "Ａ１！", "㍿", "①②③", "ﷺ", "e\u0301", "\u1100\u1161\u11a8", "ｶﾞ", "\r\n", "a\r\nb", "\u00ad", "\u200b\u200c\u200d", "\ufeff", "x\u0300\u0301\u0302", "ﬁ\u0301", "²\u0301", "\u0e33", "\u1e9b\u0323", "\u0958", "🇩🇪", "\u115f\u1160"]
    found = sentinels + marks + rewritten + [a + b for a in rewritten for b in sentinels[:6] + marks[:4] + rewritten]
    parts = SUBJECTS + sentinels + marks + rewritten
    return found + [" ".join(rng.choice(parts) for _ in range(rng.randint(2, 6))) for _ in range(300)]


def write_cases(out, tokenizer, all_texts, ids):
    out.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"text": t, "ids": ids(tokenizer(t).input_ids)}, separators=(",", ":")) for t in all_texts]
    out.write_text("\n".join(lines) + "\n")
    print(len(lines), "texts,", out.stat().st_size, "bytes")


def main():
    from transformers import CLIPTokenizer, T5Tokenizer

    data = Path(sys.argv[1])
    write_vocabulary(data / "clip_tokenizer")
    write_cases(data / "tokenization/clip.jsonl", CLIPTokenizer.from_pretrained(data / "clip_tokenizer"), texts(), lambda ids: ids[1:-1])
    t5 = T5Tokenizer.from_pretrained(Path(__file__).parent.parent / "models/emoji-flux/tokenizer_2")
    write_cases(data / "tokenization/t5.jsonl", t5, list(dict.fromkeys(texts() + t5_texts())), lambda ids: ids[:-1])


if __name__ == "__main__":
    main()
