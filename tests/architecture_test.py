#!/usr/bin/env python3
"""Checks the rules that docs/architecture.md states: which folder may include which, which folders know no tensors (and link
no libtorch), that sources are listed in their folder's CMakeLists.txt, that files stay short, and that the names of model and
family classes are written in the folders of models and families only."""
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# What each folder may include beside itself. A folder that is missing in a row is not needed there: add it with the reason for it.
MAY_INCLUDE = {
    "core": "",
    "net": "core",
    "io": "core",
    "text": "core",
    "tensor": "core",
    "placement": "core",
    "distributed": "core net tensor",
    "weights": "core io tensor placement distributed kernels",
    "kernels": "core tensor distributed",
    "nn": "core tensor distributed weights kernels",
    "models": "core tensor placement weights kernels nn",
    "schedulers": "core",
    "loading": "core io tensor placement distributed weights models schedulers",
    "pipelines": "core io text tensor placement weights kernels models schedulers loading",
    "families": "core io text tensor kernels models schedulers loading pipelines",
    "jobs": "core io net text tensor placement distributed weights schedulers loading pipelines families",
    "launch": "core net",
    "cli": "core io net text tensor placement distributed weights kernels models schedulers loading pipelines families jobs launch",
}
TORCH_FREE = {"core", "net", "io", "text", "placement", "launch"}
MAX_LINES = 400
TORCH = re.compile(r'#include\s+[<"](ATen|c10|torch)/')


def problems_of(folder):
    allowed = {folder, *MAY_INCLUDE[folder].split()}
    listed = (ROOT / "diffract" / folder / "CMakeLists.txt").read_text()
    if folder in TORCH_FREE and re.search(r"diffract_folder\(\w+ TORCH", listed):
        yield f"diffract/{folder}/CMakeLists.txt: {folder} knows no tensors and may not link libtorch"
    for path in sorted((ROOT / "diffract" / folder).rglob("*")):
        if path.suffix not in (".h", ".cpp"):
            continue
        name, text = path.relative_to(ROOT), path.read_text()
        for number, line in enumerate(text.splitlines(), 1):
            found = re.match(r'#include "diffract/([a-z0-9_]+)/', line)
            if found and found[1] not in allowed:
                yield f"{name}:{number}: {folder} may not include {found[1]} (see MAY_INCLUDE in {Path(__file__).name})"
            if folder in TORCH_FREE and TORCH.match(line):
                yield f"{name}:{number}: {folder} knows no tensors and may not include torch"
            if "torch/torch.h" in line:
                yield f"{name}:{number}: include ATen's headers, not torch/torch.h"
        if path.suffix == ".cpp" and path.name not in listed:
            yield f"{name}: is not listed in its folder's CMakeLists.txt"
        if text.count("\n") > MAX_LINES:
            yield f"{name}: has more than {MAX_LINES} lines; does it hold two ideas?"


def circles():
    """Folders that would reach themselves by the table alone."""
    for folder in MAY_INCLUDE:
        seen, waiting = set(), MAY_INCLUDE[folder].split()
        while waiting:
            one = waiting.pop()
            if one not in seen:
                seen.add(one)
                waiting += MAY_INCLUDE[one].split()
        if folder in seen:
            yield f"{Path(__file__).name}: {folder} may include itself by way of others"


def main():
    problems = list(circles())
    for folder in sorted(p.name for p in (ROOT / "diffract").iterdir() if p.is_dir()):
        if folder in MAY_INCLUDE:
            problems += problems_of(folder)
        else:
            problems.append(f"diffract/{folder}: is not in MAY_INCLUDE of {Path(__file__).name}; add it")
    print("\n".join(problems) or f"{len(MAY_INCLUDE)} folders include only what they may")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
