#!/usr/bin/env python3
"""Runs clang-tidy over diffract/ with all cores. usage: tidy.py CLANG_TIDY BUILD_DIR

A file that was clean is not looked at again until it, a header of ours that it includes, or the checks change: what was clean is
remembered by content in ~/.cache/diffract-tidy, so that clones share it. DIFFRACT_TIDY_CACHE names another folder."""
import concurrent.futures
import hashlib
import json
import os
import re
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
INCLUDE = re.compile(r'^#include "((?:diffract|tests)/[^"]+)"', re.MULTILINE)


@lru_cache(maxsize=None)
def text_and_includes(name):
    text = (ROOT / name).read_text()
    return text, [included for included in INCLUDE.findall(text) if (ROOT / included).exists()]


def key(source, version):
    """A hash of all that decides what clang-tidy says of `source`."""
    seen, waiting = {}, [source]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen[name], included = text_and_includes(name)
            waiting += included
    texts = [version, (ROOT / ".clang-tidy").read_text(), (ROOT / "cmake/wheels.txt").read_text(), *(seen[name] for name in sorted(seen))]
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:32]


def main():
    clang_tidy, build = sys.argv[1:]
    cache = Path(os.environ.get("DIFFRACT_TIDY_CACHE") or Path.home() / ".cache/diffract-tidy")
    cache.mkdir(parents=True, exist_ok=True)
    version = subprocess.run([clang_tidy, "--version"], capture_output=True, text=True, check=True).stdout
    known = {entry["file"] for entry in json.loads((Path(build) / "compile_commands.json").read_text())}
    sources = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "diffract").rglob("*.cpp") if str(path) in known)
    waiting = [source for source in sources if not (cache / key(source, version)).exists()]

    def check(source):
        result = subprocess.run([clang_tidy, "-p", build, "--quiet", str(ROOT / source)], capture_output=True, text=True)
        if result.returncode == 0:
            (cache / key(source, version)).touch()
        else:
            print(result.stdout or result.stderr[-2000:], flush=True)
        return result.returncode == 0

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        clean = list(pool.map(check, waiting))
    print(f"clang-tidy: {len(sources)} files, {len(waiting)} looked at, {clean.count(False)} with findings")
    return 0 if all(clean) else 1


if __name__ == "__main__":
    sys.exit(main())
