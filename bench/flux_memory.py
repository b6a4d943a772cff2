#!/usr/bin/env python3
"""Runs the stages of a full-size FLUX.1-dev, each in a process that may take 12 GiB, page cache included.

    ref/bin/python tools/make_random_checkpoint.py --model flux-dev --dtype bfloat16 /tmp/flux-dev
    DIFFRACT_FLUX_DEV=/tmp/flux-dev bench/flux_memory.py build/release/bin/flux_stages

The limit is a control group of the memory controller (version 1 or 2), so this needs root. Before each stage the page cache is
emptied; the disk's own rate is that of reading the transformer's files in order with large reads.
"""
import os
import re
import subprocess
import sys
import time
from pathlib import Path

LIMIT = 12 << 30
STAGES = [("encode", [], 12.9), ("denoise", ["256", "256"], 12.9), ("decode", ["768", "1360"], 3.22)]  # GB that it may peak at


class Limit:
    """A control group for one process after the other."""

    def __init__(self, limit=LIMIT):
        v2 = Path("/sys/fs/cgroup/cgroup.controllers").exists()
        self.folder = Path("/sys/fs/cgroup" if v2 else "/sys/fs/cgroup/memory") / f"diffract-{os.getpid()}"
        self.folder.mkdir()
        (self.folder / ("memory.max" if v2 else "memory.limit_in_bytes")).write_text(str(limit))
        self.peak_file = self.folder / ("memory.peak" if v2 else "memory.max_usage_in_bytes")

    def run(self, command):
        enter = lambda: (self.folder / "cgroup.procs").write_text(str(os.getpid()))
        return subprocess.run(command, preexec_fn=enter, capture_output=True, text=True)

    def close(self):
        self.folder.rmdir()


def drop_caches():
    subprocess.run(["sync"], check=True)
    Path("/proc/sys/vm/drop_caches").write_text("1")


def disk_rate(folder):
    """Bytes a second of reading up to 8 GB of the files in order, past the page cache."""
    drop_caches()
    total, begin = 0, time.perf_counter()
    for file in sorted(folder.glob("*.safetensors")):
        with open(file, "rb", buffering=0) as f:
            while total < 8 << 30 and (block := f.read(64 << 20)):
                total += len(block)
    return total / (time.perf_counter() - begin)


def main():
    folder = os.environ.get("DIFFRACT_FLUX_DEV")
    if not folder:
        sys.exit("set DIFFRACT_FLUX_DEV to the folder that tools/make_random_checkpoint.py --model flux-dev wrote")
    program = sys.argv[1]
    print(f"disk: {disk_rate(Path(folder) / 'transformer') / 1e9:.2f} GB/s")
    failures = 0
    for stage, size, allowed in STAGES:
        drop_caches()
        limit = Limit()
        try:
            result = limit.run([program, folder, stage, *size])
        finally:
            time.sleep(0.5)
            limit.close()
        print(result.stdout.strip(), "|", " ".join(line for line in result.stderr.splitlines() if "weights:" in line or "GB" in line), flush=True)
        peak = re.search(r"peak ([0-9.]+) GB", result.stdout)
        if result.returncode or not peak or float(peak[1]) > allowed:
            print(f"FAILED: {stage}: exit code {result.returncode}, {result.stderr[-500:]}")
            failures += 1
    return failures


if __name__ == "__main__":
    sys.exit(main())
