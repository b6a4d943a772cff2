#!/usr/bin/env python3
"""Makes tests/data/schedulers/begin_cases.jsonl: what diffusers 0.42.1's schedulers do for image to image and inpainting.

    python3 -m venv ref && ref/bin/pip install torch==2.11.0 diffusers==0.42.1 transformers==5.23.0 scipy
    ref/bin/python tools/make_begin_cases.py tests/data/schedulers/begin_cases.jsonl

Each line: the class, its config, the number of steps, the evaluation that the walk begins at; the timesteps that are left, the
picture with noise that it begins with, the sample after each step, and after each step but the last the picture with the noise
of what comes next. The model is the stand-in of make_scheduler_cases.py. Picture and noise are the generators' first two draws.
"""
import json
import math
import sys
from pathlib import Path

import diffusers
import numpy as np
import torch
from diffusers.utils.torch_utils import randn_tensor
from make_scheduler_cases import SD, SEED, SHAPE

WALKS = [(10, 0.6), (8, 0.75), (6, 0.7), (20, 0.3), (4, 1.0)]
CLASSES = [
    ("DDIM", dict(clip_sample=False, set_alpha_to_one=False, steps_offset=1)),
    ("DDPM", dict(clip_sample=False, steps_offset=1)),
    ("DEISMultistep", dict()),
    ("DPMSolverMultistep", dict()),
    ("DPMSolverMultistep", dict(use_karras_sigmas=True)),
    ("DPMSolverMultistep", dict(algorithm_type="sde-dpmsolver++", solver_order=2)),
    ("EulerAncestralDiscrete", dict(timestep_spacing="leading", steps_offset=1)),
    ("EulerDiscrete", dict(timestep_spacing="leading", steps_offset=1)),
    ("EulerDiscrete", dict(use_karras_sigmas=True)),
    ("HeunDiscrete", dict(timestep_spacing="leading", steps_offset=1)),
    ("HeunDiscrete", dict(use_karras_sigmas=True)),
    ("PNDM", dict(skip_prk_steps=True, steps_offset=1)),
    ("PNDM", dict(skip_prk_steps=False)),
    ("UniPCMultistep", dict()),
    ("UniPCMultistep", dict(solver_order=3)),
]


def rounded(tensor):
    return [float(np.format_float_scientific(v, precision=6)) for v in tensor.flatten().tolist()]


def run(name, config, steps, strength):
    scheduler = getattr(diffusers, name + "Scheduler").from_config({**SD, **config})
    scheduler.set_timesteps(steps)
    begin = max(steps - min(int(steps * strength), steps), 0) * scheduler.order  # get_timesteps of the pipelines
    timesteps = scheduler.timesteps[begin:]
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(begin)
    generators = [torch.Generator("cpu").manual_seed(SEED + i) for i in range(SHAPE[0])]
    picture, noise = randn_tensor(SHAPE, generator=generators), randn_tensor(SHAPE, generator=generators)
    sample = scheduler.add_noise(picture, noise, timesteps[:1].repeat(SHAPE[0]))
    case = {"class": name + "Scheduler", "config": {**SD, **config}, "steps": steps, "begin": begin, "timesteps": [float(t) for t in timesteps],
            "start": rounded(sample), "samples": [], "known": []}
    extra = {"generator": generators} if "generator" in scheduler.step.__code__.co_varnames else {}
    for i, t in enumerate(timesteps):
        output = 0.3 * scheduler.scale_model_input(sample, t) + 0.1 * math.sin(float(t) / 100)
        sample = scheduler.step(output, t, sample, **extra).prev_sample
        case["samples"].append(rounded(sample))
        if i + 1 < len(timesteps):
            case["known"].append(rounded(scheduler.add_noise(picture, noise, torch.tensor([timesteps[i + 1]]))))
    return case


def main():
    cases = [run(name, config, *walk) for name, config in CLASSES for walk in WALKS]
    Path(sys.argv[1]).write_text("".join(json.dumps(case, separators=(",", ":")) + "\n" for case in cases))
    print(len(cases), "cases")


if __name__ == "__main__":
    main()
