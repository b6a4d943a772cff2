#!/usr/bin/env python3
"""Times a pipeline over two ranks: one picture at a time, and four in flight, on the same two processes of one thread
and one core each. With one at a time a rank waits while the other computes; more in flight fill both.

    python3 bench/rank_pipeline.py build/release/bin/diffract                       # the built-in FLUX model
    python3 bench/rank_pipeline.py build/release/bin/diffract --model /tmp/flux-small --size 256
                                                     # tools/make_random_checkpoint.py --model flux-small /tmp/flux-small

The ways take turns, so that a machine whose speed drifts is as unfair to one as to another; medians are shown, and the
pictures of all ways are compared byte for byte.
"""
import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path


def generate(a, folder, ranks, in_flight, threads):
    """Pictures a second, without the loading, and a digest of all pictures."""
    out = Path(folder) / f"{ranks}_{in_flight}"
    command = [a.program]
    if ranks > 1:
        command += ["launch", f"--num_processes={ranks}"]
    command += ["generate", "--model", a.model, "--num-images-per-prompt", str(a.images), "--prompt", "a dog", "--seed", "7",
                "--steps", str(a.steps), "--height", str(a.size), "--width", str(a.size), "--max-sequence-length", "64",
                "--threads", str(threads), "--output", f"{out}/{{index}}.png", "--json"]
    if ranks > 1:
        command += ["--device-map", a.device_map, "--in-flight", str(in_flight)]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    if run.returncode:
        sys.exit(run.stderr + f"failed with exit code {run.returncode}: {command}")
    summary = json.loads(run.stdout)
    digest = hashlib.sha256(b"".join((out / f"{i}.png").read_bytes() for i in range(a.images))).hexdigest()
    return a.images / summary["run_seconds"], digest, summary.get("device_map", {})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", help="the built diffract")
    parser.add_argument("--model", default="emoji-flux", help="a FLUX or Stable Diffusion checkpoint")
    parser.add_argument("--device-map", default="ranks", help="ranks, or a JSON file")
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--size", type=int, default=256, help="pixels each way")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--at-least", type=float, help="fail when four in flight are not so many times as fast as one")
    a = parser.parse_args()
    ways = {"1 process, 1 thread": (1, 1, 1), "2 ranks, 1 picture at a time": (2, 1, 1), "2 ranks, 4 pictures in flight": (2, 4, 1)}
    rates, digests, device_map = {way: [] for way in ways}, set(), {}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(a.rounds):
            for way, numbers in ways.items():
                rate, digest, used = generate(a, folder, *numbers)
                rates[way].append(rate)
                digests.add(digest)
                device_map = used or device_map
    if len(digests) != 1:
        sys.exit("the pictures differ")
    cpu = [line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    print(f"{len(cpu)} cores of {cpu[0]}; {a.model}, {a.images} pictures of {a.steps} steps at {a.size}x{a.size}, {a.rounds} rounds")
    print("device map:", ", ".join(f"{module}: {place}" for module, place in device_map.items()))
    medians = {way: statistics.median(rate) for way, rate in rates.items()}
    one = medians["2 ranks, 1 picture at a time"]
    for way, rate in medians.items():
        print(f"{way:32} {rate:8.3f} images/s {rate / one:6.2f}x   (from {min(rates[way]):.3f} to {max(rates[way]):.3f})")
    four = medians["2 ranks, 4 pictures in flight"]
    if a.at_least and four / one < a.at_least:
        sys.exit(f"{four / one:.2f}x, less than {a.at_least}x")


if __name__ == "__main__":
    main()
