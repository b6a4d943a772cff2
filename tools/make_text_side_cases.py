#!/usr/bin/env python3
"""Writes tests/data/tokenization/sides.json: what transformers makes of texts where a tokenizer's files name the side
at which texts are cut and filled up.

    python3 -m venv ref && ref/bin/pip install transformers==5.23.0
    ref/bin/python tools/make_text_side_cases.py tests/data models/emoji-flux/tokenizer_2

A list of {"tokenizer": "clip" or "t5", "config": keys of tokenizer_config.json, "tokenizer_json": keys of tokenizer.json,
"text", "max_length", "ids"}. "tokenizer_json" is there for T5 only, whose folder has that file.
"""
import itertools
import json
import shutil
import sys
import tempfile
from pathlib import Path

from transformers import CLIPTokenizer, T5TokenizerFast

SIDES = [{}, {"padding_side": "left"}, {"truncation_side": "left"}, {"padding_side": "left", "truncation_side": "left"}, {"padding_side": "right", "truncation_side": "right"}]
TRUNCATION = {"direction": "Left", "max_length": 9, "strategy": "LongestFirst", "stride": 0}
PADDING = {"strategy": {"Fixed": 9}, "direction": "Left", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0, "pad_token": "<pad>"}
OF_FILE = [{}, {"truncation": TRUNCATION}, {"padding": PADDING}, {"truncation": TRUNCATION, "padding": PADDING}]
TEXTS = ["", "a cat", "a very small cat that sits on a large mat beside a dog"]


def main():
    data, t5 = Path(sys.argv[1]), Path(sys.argv[2])
    kinds = {"clip": (CLIPTokenizer, data / "clip_tokenizer", [{}]), "t5": (T5TokenizerFast, t5, OF_FILE)}
    cases = []
    for name, (cls, folder, of_file) in kinds.items():
        for config, keys in itertools.product(SIDES, of_file):
            with tempfile.TemporaryDirectory() as temporary:
                copy = Path(temporary) / "tokenizer"
                shutil.copytree(folder, copy)
                for file, more in (("tokenizer_config.json", config), ("tokenizer.json", keys)):
                    if more:
                        (copy / file).write_text(json.dumps(json.loads((copy / file).read_text()) | more))
                tokenizer = cls.from_pretrained(copy)
                for text, length in itertools.product(TEXTS, (4, 10)):
                    ids = tokenizer(text, padding="max_length", max_length=length, truncation=True).input_ids
                    cases.append({"tokenizer": name, "config": config, "tokenizer_json": keys, "text": text, "max_length": length, "ids": ids})
    out = data / "tokenization/sides.json"
    out.write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")
    print(len(cases), "cases")


if __name__ == "__main__":
    main()
