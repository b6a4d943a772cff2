#!/usr/bin/env python3
"""Checks the rules that docs/architecture.md states: folders include only folders above them, folders without tensors
do not include torch, sources are listed in their folder's CMakeLists.txt, and files stay short."""
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# From the bottom up: a folder may include those before it.
ORDER = ["core", "io", "text", "tensor", "placement", "weights", "kernels", "nn", "models", "schedulers", "pipelines", "cli"]
TORCH_FREE = {"core", "io", "text", "placement"}
MAX_LINES = 400
TORCH = re.compile(r'#include\s+[<"](ATen|c10|torch)/')


def main():
    problems = []
    for folder in sorted(p.name for p in (ROOT / "diffract").iterdir() if p.is_dir()):
        if folder not in ORDER:
            problems.append(f"diffract/{folder}: is not in the order of folders; add it to {Path(__file__).name}")
            continue
        allowed = set(ORDER[: ORDER.index(folder) + 1])
        listed = (ROOT / "diffract" / folder / "CMakeLists.txt").read_text()
        for path in sorted((ROOT / "diffract" / folder).rglob("*")):
            if path.suffix not in (".h", ".cpp"):
                continue
            name, text = path.relative_to(ROOT), path.read_text()
            for number, line in enumerate(text.splitlines(), 1):
                found = re.match(r'#include "diffract/([a-z0-9_]+)/', line)
                if found and found[1] not in allowed:
                    problems.append(f"{name}:{number}: {folder} may not include {found[1]}, which stands below it")
                if folder in TORCH_FREE and TORCH.match(line):
                    problems.append(f"{name}:{number}: {folder} knows no tensors and may not include torch")
                if "torch/torch.h" in line:
                    problems.append(f"{name}:{number}: include ATen's headers, not torch/torch.h")
            if path.suffix == ".cpp" and path.name not in listed:
                problems.append(f"{name}: is not listed in its folder's CMakeLists.txt")
            if text.count("\n") > MAX_LINES:
                problems.append(f"{name}: has more than {MAX_LINES} lines; does it hold two ideas?")
    print("\n".join(problems) or f"{len(ORDER)} folders keep their order")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
