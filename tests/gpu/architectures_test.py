#!/usr/bin/env python3
"""Reads a built libdiffract_cuda and says whether it has the kernels that it was built for: architectures_test.py CUOBJDUMP LIBRARY "80-real;90"

A number has machine code for that compute capability; without "-real" it has PTX for later GPUs, too. Each source's kernels must be
there for each of them. Attention has one form more, for compute capability 9.0 alone (sm_90a).
"""
import collections
import re
import subprocess
import sys


def listed(cuobjdump, kind, library):
    output = subprocess.run([cuobjdump, f"--list-{kind}", library], stdout=subprocess.PIPE, text=True, check=True).stdout
    return collections.Counter(re.findall(r"sm_(\d+a?)", output))


def main():
    cuobjdump, library, architectures = sys.argv[1], sys.argv[2], [a for a in re.split("[;,]", sys.argv[3]) if a]
    code, ptx = listed(cuobjdump, "elf", library), listed(cuobjdump, "ptx", library)
    if "90a" not in code:  # cuobjdump before 13 leaves the "a" out
        code["90a"], code["90"] = 1, code["90"] - 1
    print(f"machine code {dict(code)}, PTX {dict(ptx)}")
    wanted_code = {re.match(r"\d+", a)[0] for a in architectures if not a.endswith("-virtual")}
    wanted_ptx = {re.match(r"\d+", a)[0] for a in architectures if not a.endswith("-real")}
    problems = [f"no machine code for {a}" for a in sorted(wanted_code - {a for a in code if code[a] > 0})]
    problems += [f"no PTX for {a}" for a in sorted(wanted_ptx - set(ptx))]
    sources = {code[a] for a in wanted_code if a in code}
    if len(sources) > 1:
        problems.append("some sources were built for a part of the architectures only")
    if ptx and code["90"] < min(ptx.values()):
        problems.append("no attention for sm_90a")
    for problem in problems:
        print(f"{library}: {problem}")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
