#!/usr/bin/env python3
"""Runs clang-tidy over diffract/ with all cores. usage: tidy.py CLANG_TIDY BUILD_DIR [--all]

Looks at the sources that changed, or that directly include a header that changed, since the commit in tools/tidy_base.txt, for which all
sources were clean. With --all, or where git does not know that commit, at every source. After a clean --all run, commit the
hash of what was looked at as the new base.

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


def changed_since_base():
    """Names of the files that differ from the base, or None where that cannot be told."""
    base = (ROOT / "tools/tidy_base.txt").read_text().strip()
    git = ["git", "-C", str(ROOT)]
    difference = subprocess.run([*git, "diff", "--name-only", base], capture_output=True, text=True)
    untracked = subprocess.run([*git, "ls-files", "--others", "--exclude-standard"], capture_output=True, text=True)
    if difference.returncode != 0:
        print(f"clang-tidy: git does not know commit {base} of tools/tidy_base.txt; looking at every source")
        return None
    return set(difference.stdout.splitlines()) | set(untracked.stdout.splitlines())


def touched(source, changed):
    return source in changed or any(included in changed for included in text_and_includes(source)[1])


def main():
    clang_tidy, build, *options = sys.argv[1:]
    cache = Path(os.environ.get("DIFFRACT_TIDY_CACHE") or Path.home() / ".cache/diffract-tidy")
    cache.mkdir(parents=True, exist_ok=True)
    version = subprocess.run([clang_tidy, "--version"], capture_output=True, text=True, check=True).stdout
    known = {entry["file"] for entry in json.loads((Path(build) / "compile_commands.json").read_text())}
    sources = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "diffract").rglob("*.cpp") if str(path) in known)
    changed = None if "--all" in options else changed_since_base()
    if changed is not None and not changed & {".clang-tidy", "cmake/wheels.txt"}:
        sources = [source for source in sources if touched(source, changed)]
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
