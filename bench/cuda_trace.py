#!/usr/bin/env python3
"""Sums the kernels of a Chrome trace (cuda_table --trace FOLDER): cuda_trace.py FILE..."""
import collections
import json
import re
import sys

for file in sys.argv[1:]:
    events = json.load(open(file))["traceEvents"]
    kernels = [e for e in events if e.get("cat") in ("kernel", "gpu_memcpy", "gpu_memset")]
    if not kernels:
        print(file, "no kernels")
        continue
    total, count = collections.Counter(), collections.Counter()
    for e in kernels:
        name = re.sub(r"<.*|\(.*", "", e["name"].replace("void ", "").replace("(anonymous namespace)::", ""))[:70]
        if "elementwise" in name or "diffract" not in e["name"]:
            name = re.sub(r"at::native::|\(anonymous namespace\)::|void ", "", e["name"])[:110]
        total[name] += e["dur"]
        count[name] += 1
    begin, end = min(e["ts"] for e in kernels), max(e["ts"] + e["dur"] for e in kernels)
    print(f"{file}: {len(kernels)} kernels, busy {sum(total.values()) / 1e3:.2f} ms of {(end - begin) / 1e3:.2f} ms")
    for name, time in total.most_common(22):
        print(f"  {time / 1e3:8.3f} ms {count[name]:5d}  {name}")
