#!/usr/bin/env python3
"""Seconds that each further picture of a FLUX job takes: whole runs of `diffract generate`, of one picture and of several.

    python3 tools/make_random_checkpoint.py --model flux-dev --dtype bfloat16 /tmp/flux-dev
    bench/flux_job.py build/release/bin/diffract --model /tmp/flux-dev --device cuda --dtype bfloat16

The first picture's loading, and what a GPU needs for its first step, is in both runs and falls out of their difference. A run
before them, which is not counted, fills the page cache and measures the products of shapes that are new. With --at-most the exit
code tells whether a further picture took so long at most in the median of the rounds.
"""
import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time


def run(arguments, pictures, folder):
    command = [arguments.program, "generate", "--model", arguments.model, "--json", "--output", f"{folder}/{{index}}.png"]
    for i in range(pictures):
        command += ["--prompt", f"a photo of a dog, number {i}"]
    for option in ("steps", "height", "width", "device", "dtype", "device_map", "max_memory"):
        value = getattr(arguments, option)
        if value is not None:
            command += ["--" + option.replace("_", "-"), str(value)]
    begin = time.perf_counter()
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    wall = time.perf_counter() - begin
    if result.returncode:
        sys.exit(f"{' '.join(command)}: exit code {result.returncode}")
    return {"wall": wall, **json.loads(result.stdout)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--model", default="emoji-flux")
    parser.add_argument("--pictures", type=int, default=5, help="of the longer run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--at-most", type=float, metavar="SECONDS")
    for option, kind in ("steps", int), ("height", int), ("width", int), ("device", str), ("dtype", str), ("device-map", str), ("max-memory", str):
        parser.add_argument("--" + option, type=kind)
    arguments = parser.parse_args()
    all_further = []
    with tempfile.TemporaryDirectory() as folder:
        run(arguments, 1, folder)
        for _ in range(arguments.rounds):
            one, many = run(arguments, 1, folder), run(arguments, arguments.pictures, folder)
            further = (many["run_seconds"] - one["run_seconds"]) / (arguments.pictures - 1)
            all_further.append(further)
            print(f"first {one['wall']:.2f} s with its start, each further {further:.3f} s; {arguments.pictures} pictures {many['wall']:.2f} s; "
                  + ", ".join(f"{name} {'stays' if c['stays'] else 'loaded %d times' % c['loads']}" for name, c in many["components"].items()), flush=True)
    median = statistics.median(all_further)
    print(f"each further picture: {median:.3f} s")
    return arguments.at_most is not None and median > arguments.at_most


if __name__ == "__main__":
    sys.exit(main())
