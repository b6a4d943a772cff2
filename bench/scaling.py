#!/usr/bin/env python3
"""Times jobs of several processes: two processes beside one with as many threads in all, from the launch to the first
denoising step, and what a killed worker costs. The last two beside torchrun running the same with diffusers. And
what a busy neighbour costs: the same two pictures while other programs have the cores.

    python3 -m venv ref && ref/bin/pip install torch==2.11.0 diffusers==0.42.1 transformers==5.23.0 accelerate==1.15.0
    ref/bin/python bench/scaling.py build/release/bin/diffract models/emoji-sd

The two sides take turns, so that a machine whose speed drifts is as unfair to one as to the other; medians are shown.
"""
import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

# The guide's program, with a line when a picture's first step is done.
SCRIPT = '''
import os
import sys
import torch
from accelerate import PartialState
from diffusers import DiffusionPipeline
model, images, steps, out = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
torch.set_num_threads(1)
pipeline = DiffusionPipeline.from_pretrained(model, torch_dtype=torch.float32, safety_checker=None)
state = PartialState(cpu=True)
pipeline.to(state.device)
pipeline.set_progress_bar_config(disable=True)
def report(pipe, step, timestep, tensors):
    os.write(2, f"\\nstep {step + 1} of {steps}\\n".encode())
    return tensors
with state.split_between_processes(list(range(images))) as mine:
    for i in mine:
        generator = torch.Generator().manual_seed(i)
        pipeline("a dog", num_inference_steps=steps, generator=generator, callback_on_step_end=report).images[0].save(
            f"{out}/image_{i}.png")
'''


class Run:
    """A launched job; notes when lines that tell of a step come from its workers."""

    def __init__(self, command, environment):
        self.begin = time.perf_counter()
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.first_steps, self.log, self.steps = [], [], 0
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        for line in self.process.stderr:
            self.log.append(line)
            if "step " in line and " of" in line:
                self.steps += 1
                if "step 1 of" in line:
                    self.first_steps.append(time.perf_counter() - self.begin)

    def worker(self, rank):
        """The process of a rank, found among the launcher's descendants by its environment."""
        children = {}
        for status in Path("/proc").glob("[0-9]*/stat"):
            try:
                pid, parent = int(status.parent.name), int(status.read_text().rsplit(")", 1)[1].split()[1])
                children.setdefault(parent, []).append(pid)
            except (OSError, ValueError):
                continue
        todo = [self.process.pid]
        while todo:
            pid = todo.pop()
            todo += children.get(pid, [])
            try:
                if pid != self.process.pid and f"\0RANK={rank}\0" in "\0" + Path(f"/proc/{pid}/environ").read_text() + "\0":
                    return pid
            except OSError:
                continue
        sys.exit(f"no worker of rank {rank}")

    def finish(self):
        out = self.process.stdout.read()
        code = self.process.wait()
        self.reader.join()
        if code:
            sys.exit("".join(self.log[-30:]) + f"failed with exit code {code}: {self.process.args}")
        self.seconds = time.perf_counter() - self.begin
        return out


class Diffract:
    name = "diffract launch"

    def __init__(self, arguments):
        self.a = arguments

    def run(self, out, images, steps, processes=2, threads=1, restarts=0):
        command = [self.a.program, "launch", "--nproc-per-node", str(processes), "--max-restarts", str(restarts), "generate",
                   "--model", self.a.model, "--prompt", "a dog", "--num-images-per-prompt", str(images), "--steps", str(steps),
                   "--output", f"{out}/image_{{index}}.png", "--json"] + (["--threads", str(threads)] if threads else [])
        return Run(command, os.environ | {"DIFFRACT_LOG": "debug"})


class Torchrun:
    name = "torchrun + diffusers"

    def __init__(self, arguments, folder):
        self.a, self.script = arguments, os.path.join(folder, "run_distributed.py")
        Path(self.script).write_text(SCRIPT)

    def run(self, out, images, steps, restarts=0):
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
                   f"--max-restarts={restarts}", self.script, self.a.model, str(images), str(steps), out]
        return Run(command, os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"})


def scaling(diffract, a, folder):
    rates = {1: [], 2: []}
    for _ in range(a.rounds):
        for processes in rates:
            run = diffract.run(folder, a.images, a.steps, processes=processes, threads=2 // processes)
            rates[processes].append(a.images / json.loads(run.finish())["run_seconds"])
    one, two = (statistics.median(rates[n]) for n in (1, 2))
    print(f"1 process of 2 threads        {one:8.3f} images/s")
    print(f"2 processes of 1 thread       {two:8.3f} images/s   {two / one:.2f}x")


def busy(diffract, a, folder):
    """Two pictures beside none, one and four programs that never rest. What counts is the default beside one thread."""
    kinds = {"as it comes": (1, 0), "--threads 1": (1, 1), "launch --nproc-per-node 2": (2, 0)}
    for neighbours in (0, 1, 4):
        seconds = {kind: [] for kind in kinds}
        loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(neighbours)]
        try:
            for _ in range(a.rounds):
                for kind, (processes, threads) in kinds.items():
                    run = diffract.run(folder, 2, a.steps, processes=processes, threads=threads)
                    seconds[kind].append(json.loads(run.finish())["run_seconds"])
        finally:
            for loop in loops:
                loop.kill()
                loop.wait()
        medians = {kind: statistics.median(of_kind) for kind, of_kind in seconds.items()}
        for kind, median in medians.items():
            print(f"2 images, {neighbours} busy neighbours, {kind:26} {median:7.2f} s   {median / medians['--threads 1']:5.2f} of --threads 1")


def first_step(sides, a, folder):
    times = {side.name: [] for side in sides}
    for _ in range(a.rounds):
        for side in sides:
            run = side.run(folder, 2, 1)
            run.finish()
            if len(run.first_steps) < 2:
                sys.exit("".join(run.log) + "not every rank made its first step")
            times[side.name].append(max(run.first_steps[:2]))
    medians = [statistics.median(times[side.name]) for side in sides]
    for side, seconds in zip(sides, medians):
        print(f"{side.name:22} launch to first step of both ranks {seconds:7.2f} s   {medians[-1] / seconds:5.1f}x")


def crash(sides, a, folder):
    for side in sides:
        lost = []
        for _ in range(a.rounds):
            whole = side.run(folder, a.images, a.steps, restarts=1)
            whole.finish()
            hurt = side.run(folder, a.images, a.steps, restarts=1)
            while hurt.steps < a.images * a.steps // 2 and hurt.process.poll() is None:
                time.sleep(0.005)
            os.kill(hurt.worker(1), signal.SIGKILL)
            hurt.finish()
            lost.append(hurt.seconds - whole.seconds)
        print(f"{side.name:22} lost to kill -9 of a worker in the middle of {a.images} images {statistics.median(lost):7.2f} s "
              f"(an undisturbed run: {whole.seconds:.2f} s)")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", help="the built diffract")
    parser.add_argument("model", help="a folder of a Stable Diffusion checkpoint")
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--without-torchrun", action="store_true")
    parser.add_argument("--only", choices=["scaling", "busy", "first_step", "crash"], help="one of the measurements")
    a = parser.parse_args()
    a.model = os.path.abspath(a.model)
    cpu = [line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    print(f"{len(cpu)} cores of {cpu[0]}; {a.images} images of {a.steps} steps, {a.rounds} rounds")
    with tempfile.TemporaryDirectory() as folder:
        diffract = Diffract(a)
        sides = [diffract] + ([] if a.without_torchrun else [Torchrun(a, folder)])
        if a.only in (None, "scaling"):
            scaling(diffract, a, folder)
        if a.only in (None, "busy"):
            busy(diffract, a, folder)
        if a.only in (None, "first_step"):
            first_step(sides, a, folder)
        if a.only in (None, "crash"):
            crash(sides, a, folder)


if __name__ == "__main__":
    main()
