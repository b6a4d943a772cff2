#!/usr/bin/env python3
"""Times whole programs that make pictures, from their start to their end: diffract, and diffusers beside it.

    bench/jobs.py build/release/bin/diffract                               # the models that ship with it, on the CPU
    bench/jobs.py build/release/bin/diffract --python ref/bin/python       # and diffusers, eager and compiled
    ref/bin/python tools/make_random_checkpoint.py --dtype float16 /tmp/sd15
    ref/bin/python tools/make_random_checkpoint.py --model flux-dev --dtype bfloat16 /tmp/flux-dev
    bench/jobs.py build/release/bin/diffract --python ref/bin/python --device cuda --model /tmp/sd15 --dtype float16 --steps 50
    bench/jobs.py build/release/bin/diffract --python ref/bin/python --device cuda --model /tmp/flux-dev --dtype bfloat16 --steps 28

tools/make_random_checkpoint.py says how to make `ref`. The rows:

    first       a program that makes one picture
    further     what each further picture adds: (a program of N pictures - first) / (N - 1)
    batch       a program that makes N pictures at once
    auto        (not by default) a program of N pictures with --batch-size auto; beside it the others' N pictures one by one
    same        a program of N pictures of one prompt
    processes   N pictures by two processes: `diffract launch`, or two Python programs with half of the prompts each
    latents     (not by default) what each further picture adds where only latents are made: what `further` adds to it is the
                VAE's decoding, and what goes on beside the denoising or does not

The programs take turns, so that a machine whose speed drifts is as unfair to one as to the other. The median of the rounds is
shown, with the ratio to diffusers eager (above 1: faster). A run of each size of batch before them fills the page cache and
measures new products, and is not counted.
torch.compile keeps what it compiled in its own cache. For stable-diffusion.cpp give its program and a single-file checkpoint of
the same size; it makes the first two rows. With --at-most the exit code tells whether diffract's further picture took so long at
most.
"""
import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
ROWS = ["first", "further", "batch", "same", "processes"]
DIFFERENCES = {"further": ("many", "first"), "latents": ("many_latents", "first_latents")}  # rows made of two programs' times
TAKEN_ALONG = ("steps", "height", "width", "device", "dtype", "device_map", "max_memory")


def prompts_of(row, pictures):
    return [f"a photo of a dog, number {0 if row == 'same' else i}" for i in range(1 if row.startswith("first") else pictures)]


def run(command):
    begin = time.perf_counter()
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if result.returncode:
        sys.exit(f"{' '.join(command)}: exit code {result.returncode}\n{result.stderr[-2000:]}")
    return time.perf_counter() - begin, result.stdout


class Diffract:
    name = "diffract"

    def __init__(self, arguments, model):
        self.arguments, self.model, self.stays = arguments, model, ""

    def seconds(self, row, prompts, folder):
        command = [self.arguments.program, *(["launch", "--nproc-per-node", "2"] if row == "processes" else []), "generate",
                   "--model", self.model, "--json",
                   *(["--output-type", "latent", "--output", f"{folder}/latents.safetensors"] if row.endswith("latents")
                     else ["--output", f"{folder}/{{index}}.png"])]
        for prompt in prompts:
            command += ["--prompt", prompt]
        if row in ("batch", "auto"):
            command += ["--batch-size", str(len(prompts)) if row == "batch" else "auto"]
        for option in TAKEN_ALONG:
            if (value := getattr(self.arguments, option)) is not None:
                command += ["--" + option.replace("_", "-"), str(value)]
        wall, output = run(command)
        if row == "many":
            self.stays = ", ".join(f"{name} {'stays' if c['stays'] else 'loaded %d times' % c['loads']}"
                                   for name, c in json.loads(output)["components"].items())
        return wall


class Diffusers:
    def __init__(self, arguments, model, compiled):
        self.name = "diffusers compiled" if compiled else "diffusers eager"
        self.python, self.stays = arguments.python, ""
        folder = ROOT / "models" / model
        self.job = {"model": str(folder if folder.is_dir() else model), "compiled": compiled,
                    **{name: getattr(arguments, name) for name in ("steps", "height", "width", "device", "dtype")}}

    def seconds(self, row, prompts, folder):
        halves = [prompts[: len(prompts) // 2], prompts[len(prompts) // 2:]] if row == "processes" else [prompts]
        begin = time.perf_counter()
        programs = []
        for rank, part in enumerate(halves):
            device = f"cuda:{rank}" if row == "processes" and self.job["device"] == "cuda" and self.has_gpus(2) else self.job["device"]
            job = {**self.job, "device": device, "prompts": part, "at_once": row == "batch", "latents": row.endswith("latents"),
                   "folder": folder, "rank": rank, "processes": len(halves)}
            programs.append(subprocess.Popen([self.python, __file__, "--as-diffusers", json.dumps(job)], stderr=subprocess.PIPE, text=True))
        errors = [program.communicate()[1] for program in programs]
        for program, text in zip(programs, errors):
            if program.returncode:
                sys.exit(f"{self.name}: exit code {program.returncode}\n{text[-2000:]}")
        return time.perf_counter() - begin

    def has_gpus(self, count):
        script = f"import sys, torch; sys.exit(torch.cuda.device_count() < {count})"
        return subprocess.run([self.python, "-c", script]).returncode == 0


class StableDiffusionCpp:
    name = "stable-diffusion.cpp"

    def __init__(self, arguments):
        self.arguments, self.stays = arguments, ""

    def seconds(self, row, prompts, folder):
        a = self.arguments
        command = [a.sd_cpp, "-m", a.sd_cpp_model, "-p", prompts[0], "-b", str(len(prompts)), "-o", f"{folder}/sd_cpp.png", "-s", "0"]
        for option, value in ("--steps", a.steps), ("-H", a.height), ("-W", a.width):
            if value is not None:
                command += [option, str(value)]
        return run(command)[0]


def as_diffusers(job):
    """The program that a user of diffusers writes."""
    import diffusers
    import torch
    torch.set_grad_enabled(False)
    if job["processes"] > 1:
        torch.set_num_threads(max(1, torch.get_num_threads() // job["processes"]))
    pipe = diffusers.DiffusionPipeline.from_pretrained(
        job["model"], torch_dtype=getattr(torch, job["dtype"] or "float32")).to(job["device"] or "cpu")
    pipe.set_progress_bar_config(disable=True)
    if job["compiled"]:
        name = "unet" if hasattr(pipe, "unet") else "transformer"
        setattr(pipe, name, torch.compile(getattr(pipe, name)))
        pipe.vae.decode = torch.compile(pipe.vae.decode)
    options = {key: value for key, value in (("num_inference_steps", job["steps"]), ("height", job["height"]), ("width", job["width"]))
               if value is not None}
    prompts, count = job["prompts"], 0
    for batch in [prompts] if job["at_once"] else [[prompt] for prompt in prompts]:
        generators = [torch.Generator("cpu").manual_seed(i) for i in range(len(batch))]
        for image in pipe(batch, generator=generators, output_type="latent" if job["latents"] else "pil", **options).images:
            if job["latents"]:
                torch.save(image, f"{job['folder']}/diffusers_{count}.pt")
            else:
                image.save(f"{job['folder']}/diffusers_{job['rank']}_{count}.png")
            count += 1


def measure(arguments, model, runners):
    """Seconds by program and row."""
    rows = list(dict.fromkeys(program for row in arguments.rows for program in DIFFERENCES.get(row, [row])))
    seconds = {(runner.name, row): [] for runner in runners for row in rows}
    for round_ in range(-1, arguments.rounds):
        for row in rows:
            for runner in runners:
                if isinstance(runner, StableDiffusionCpp) and row not in ("first", "many"):
                    continue
                # Rows of one size of batch have the same kernels and products to measure.
                if round_ < 0 and row not in ("first", "batch") and "compiled" not in runner.name:
                    continue
                with tempfile.TemporaryDirectory() as folder:
                    taken = runner.seconds(row, prompts_of(row, arguments.pictures), folder)
                if round_ >= 0:
                    seconds[runner.name, row].append(taken)
                    print(f"{model} {row} {runner.name}: {taken:.2f} s", file=sys.stderr, flush=True)
    for runner in runners:
        for row in set(arguments.rows) & set(DIFFERENCES):
            of_many, of_first = (seconds[runner.name, program] for program in DIFFERENCES[row])
            seconds[runner.name, row] = [(many - first) / (arguments.pictures - 1) for many, first in zip(of_many, of_first)]
    return {key: statistics.median(values) for key, values in seconds.items() if values}


def print_table(arguments, runners, median):
    names = [runner.name for runner in runners]
    print("| row | " + " | ".join(names) + " |\n|" + "---|" * (len(names) + 1))
    for row in arguments.rows:
        cells = []
        for name in names:
            taken, eager = median.get((name, row)), median.get(("diffusers eager", row))
            ratio = f" ({eager / taken:.2f}x)" if taken and eager and not name.startswith("diffusers eager") else ""
            cells.append(f"{taken:.3f} s{ratio}" if taken else "")
        print(f"| {row} | " + " | ".join(cells) + " |", flush=True)


def main():
    if sys.argv[1:2] == ["--as-diffusers"]:
        return as_diffusers(json.loads(sys.argv[2]))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--model", action="append", help="a folder, or the name of one that ships with diffract; may be repeated")
    parser.add_argument("--pictures", type=int, default=4, help="of the longer programs")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", nargs="+", default=ROWS, choices=[*ROWS, "auto", "latents"])
    parser.add_argument("--python", help="of an environment with diffusers; none: diffract alone")
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--sd-cpp", metavar="PROGRAM")
    parser.add_argument("--sd-cpp-model", metavar="FILE")
    parser.add_argument("--at-most", type=float, metavar="SECONDS")
    for option, kind in ("steps", int), ("height", int), ("width", int), ("device", str), ("dtype", str), ("device-map", str), ("max-memory", str):
        parser.add_argument("--" + option, type=kind)
    arguments = parser.parse_args()
    if arguments.pictures < 2:
        parser.error("--pictures: expected 2 or more")
    slowest = 0
    for model in arguments.model or ["emoji-sd", "emoji-flux"]:
        runners = [Diffract(arguments, model)]
        if arguments.python:
            runners += [Diffusers(arguments, model, compiled) for compiled in ([False] if arguments.no_compile else [False, True])]
        if arguments.sd_cpp:
            runners.append(StableDiffusionCpp(arguments))
        median = measure(arguments, model, runners)
        print(f"\n{model}, {arguments.pictures} pictures, {arguments.device or 'cpu'}; {runners[0].stays}\n")
        print_table(arguments, runners, median)
        slowest = max(slowest, median.get(("diffract", "further"), 0))
    return arguments.at_most is not None and slowest > arguments.at_most


if __name__ == "__main__":
    sys.exit(main())
