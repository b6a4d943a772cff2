#!/usr/bin/env python3
"""Times diffract beside diffusers in one run: a UNet step, a VAE decode, a 20-step picture of full-size Stable Diffusion 1.5.

    python3 -m venv ref && ref/bin/pip install torch==2.11.0 diffusers==0.42.1 transformers==5.23.0 safetensors
    ref/bin/python tools/make_random_checkpoint.py --dtype float32 /tmp/sd15-float32
    ref/bin/python tools/make_random_checkpoint.py --dtype float16 /tmp/sd15-float16
    ref/bin/python bench/compare.py build/release/bin/stable_diffusion_bench /tmp/sd15-float32 /tmp/sd15-float16

diffusers computes in float32 (eager, then torch.compile); diffract from the float32 and from the float16 files. They take
turns, so that a machine whose speed drifts is as unfair to one as to the other; the median of the rounds is shown, and the
ratio of each to diffusers eager, above 1 where it is faster. Peak memory is that of a process of its own that makes one
two-step picture.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

STEPS = 20


class Diffusers:
    def __init__(self, folder, compiled):
        import diffusers
        import torch
        torch.set_grad_enabled(False)
        self.torch = torch
        self.pipe = diffusers.StableDiffusionPipeline.from_pretrained(folder, torch_dtype=torch.float32, safety_checker=None)
        self.pipe.set_progress_bar_config(disable=True)
        if compiled:
            self.pipe.unet = torch.compile(self.pipe.unet)
            self.pipe.vae.decode = torch.compile(self.pipe.vae.decode)

    def run(self, what):
        randn = self.torch.randn
        latents, text = randn(2, 4, 64, 64), randn(2, 77, 768)
        begin = time.perf_counter()
        if what == "unet_step":
            self.pipe.unet(latents, 981, encoder_hidden_states=text)
        elif what == "vae_decode":
            self.pipe.vae.decode(latents[:1])
        else:
            self.pipe("a dog", num_inference_steps=STEPS)
        return time.perf_counter() - begin


class Diffract:
    def __init__(self, program, folder):
        self.program, self.folder = program, folder

    def run(self, what):
        command = [self.program, self.folder, f"--benchmark_filter={what}", "--benchmark_format=json"]
        report = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        return report["benchmarks"][0]["real_time"] / 1e3


def peak_gigabytes(command):
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"failed: {' '.join(command)}")
    return usage.ru_maxrss * 1024 / 1e9


def size_gigabytes(folder):
    files = [os.path.join(where, name) for where, _, names in os.walk(folder) for name in names]
    return sum(os.path.getsize(file) for file in files if file.endswith(".safetensors")) / 1e9


def print_memory(arguments):
    diffract = os.path.join(os.path.dirname(arguments.program), "diffract")
    script = ("import sys, torch, diffusers; p = diffusers.StableDiffusionPipeline.from_pretrained(sys.argv[1], "
              "torch_dtype=torch.float32); p('a dog', num_inference_steps=2)")
    with tempfile.TemporaryDirectory() as out:
        options = ["--prompt", "a dog", "--num-inference-steps", "2", "--output", os.path.join(out, "picture.png")]
        for name, folder, command in [
                ("diffusers eager", arguments.float32, [sys.executable, "-c", script, arguments.float32]),
                ("diffract, float32 files", arguments.float32, [diffract, "generate", "--model", arguments.float32, *options]),
                ("diffract, float16 files", arguments.float16, [diffract, "generate", "--model", arguments.float16, *options])]:
            size, peak = size_gigabytes(folder), peak_gigabytes(command)
            print(f"peak memory {name:<28}{peak:6.2f} GB, {peak / size:.2f} times the {size:.2f} GB of weights", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("float32")
    parser.add_argument("float16")
    parser.add_argument("--rounds", type=int, default=3, help="of a UNet step and a VAE decode; the picture is made once")
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--what", nargs="+", default=["unet_step", "vae_decode", "picture"])
    arguments = parser.parse_args()
    print_memory(arguments)
    runners = {"diffusers eager": Diffusers(arguments.float32, compiled=False)}
    if not arguments.no_compile:
        runners["diffusers torch.compile"] = Diffusers(arguments.float32, compiled=True)
    runners["diffract, float32 files"] = Diffract(arguments.program, arguments.float32)
    runners["diffract, float16 files"] = Diffract(arguments.program, arguments.float16)
    for what in arguments.what:
        if what != "picture":
            for runner in list(runners.values())[:-2]:
                runner.run(what)  # compiles, and takes its memory; diffract's program warms up by itself
        seconds = {name: [] for name in runners}
        for _ in range(1 if what == "picture" else arguments.rounds):
            for name, runner in runners.items():
                seconds[name].append(runner.run(what))
        eager = statistics.median(seconds["diffusers eager"])
        for name, values in seconds.items():
            median = statistics.median(values)
            print(f"{what:<12}{name:<28}{median:8.2f} s  ({min(values):.2f} to {max(values):.2f})  {eager / median:5.2f}x", flush=True)


if __name__ == "__main__":
    main()
