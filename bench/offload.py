#!/usr/bin/env python3
"""A step of the full-size FLUX transformer from 6 GB of memory and the disk, in a process that may take 10 GiB, page cache
included; accelerate's disk offload of the same weights beside it.

    python tools/make_random_checkpoint.py --model flux-dev --only transformer --dtype bfloat16 /tmp/flux-dev
    bench/offload.py build/release/bin/offload /tmp/flux-dev [--python ref/bin/python]

The limit is a control group of the memory controller (version 1 or 2), so this needs root. With --python (an interpreter with
torch, diffusers and accelerate) accelerate's step is measured too.
"""
import argparse
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from flux_memory import Limit, drop_caches  # noqa: E402

PEER = """
import json, sys, tempfile, time, torch
from diffusers import FluxTransformer2DModel
model, max_memory, height, width = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
with tempfile.TemporaryDirectory(dir=sys.argv[5]) as folder, torch.no_grad():
    transformer = FluxTransformer2DModel.from_pretrained(
        model, subfolder="transformer", torch_dtype=torch.bfloat16, device_map="auto",
        max_memory={"cpu": max_memory}, offload_folder=folder)
    rows, columns = height // 16, width // 16
    call = dict(hidden_states=torch.randn(1, rows * columns, 64, dtype=torch.bfloat16),
                encoder_hidden_states=torch.randn(1, 512, 4096, dtype=torch.bfloat16),
                pooled_projections=torch.randn(1, 768, dtype=torch.bfloat16), timestep=torch.full((1,), 0.5),
                guidance=torch.full((1,), 3.5), txt_ids=torch.zeros(512, 3), img_ids=torch.zeros(rows * columns, 3))
    seconds = []
    for _ in range(2):  # the first one also fills what is empty at the start
        begin = time.perf_counter()
        transformer(**call)
        seconds.append(time.perf_counter() - begin)
    print(json.dumps({"accelerate_step_seconds": seconds[-1]}))
"""


def measure(command, limit_bytes):
    drop_caches()
    limit = Limit(limit_bytes)
    try:
        done = limit.run(command)
        peak = int(limit.peak_file.read_text())
    finally:
        limit.close()
    if done.returncode != 0:
        sys.exit(f"{command[0]} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    result = json.loads(done.stdout)
    result["group_peak_bytes"] = peak
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=Path)
    parser.add_argument("model", type=Path, nargs="?", default=os.environ.get("DIFFRACT_FLUX_DEV"))
    parser.add_argument("--max-memory", default="6GB")
    parser.add_argument("--limit", type=int, default=10 << 30, help="bytes")
    parser.add_argument("--size", type=int, nargs=2, default=[256, 256], metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--python", help="interpreter with torch, diffusers and accelerate")
    arguments = parser.parse_args()
    if not arguments.model or not Path(arguments.model).is_dir():
        sys.exit("no checkpoint: give its folder, or set DIFFRACT_FLUX_DEV")
    size = [str(pixels) for pixels in arguments.size]
    result = measure([str(arguments.program), str(arguments.model), f"cpu={arguments.max_memory}", *size], arguments.limit)
    if arguments.python:
        peer = [arguments.python, "-c", PEER, str(arguments.model), arguments.max_memory, *size, str(Path(arguments.model))]
        result.update(accelerate_step_seconds=measure(peer, arguments.limit)["accelerate_step_seconds"])
    print(json.dumps(result, indent=2))
    print(f"step {result['step_seconds']:.1f} s, {result['step_over_bound']:.2f} x max(compute {result['compute_seconds']:.1f} s, "
          f"read {result['read_seconds']:.1f} s)", file=sys.stderr)
    return result["step_over_bound"] > 1.15


if __name__ == "__main__":
    sys.exit(main())
