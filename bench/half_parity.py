#!/usr/bin/env python3
"""How far diffusers' own pictures in half precision on a GPU are from float32 on the CPU, with the same weights rounded to
half precision: what tests/gpu/pipelines_test.cpp (GpuHalfCase) measures of diffract.

    bench/half_parity.py tests/data/reference [float16|bfloat16]
    bench/half_parity.py tests/data/reference float16 --sources CASE...

Needs torch with CUDA, diffusers 0.42.1 and transformers. Prints one line a case: the largest difference of latents after any
step, relative to the largest value, and of 8-bit pixels. With --sources (on a CPU) where it comes from: the arithmetic is
float32, and only what modules of one kind give is rounded; then what all kinds but one give.
"""
import json
import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")
import diffusers
import numpy as np
import torch

diffusers.utils.logging.set_verbosity_error()
diffusers.utils.logging.disable_progress_bar()
torch.set_grad_enabled(False)
randn = torch.randn


def float32_randn(*sizes, dtype=None, **more):
    """torch draws other numbers for half precision; here both get the same noise."""
    return randn(*sizes, dtype=torch.float32, **more).to(dtype or torch.float32)


torch.randn = float32_randn


def load(case, checkpoints, half):
    more = {"variant": case["variant"]} if case.get("variant") else {}
    pipe = diffusers.DiffusionPipeline.from_pretrained(checkpoints / case["checkpoint"], torch_dtype=half, **more)
    if case.get("scheduler"):
        spec = case["scheduler"]
        pipe.scheduler = getattr(diffusers, spec["class"]).from_config(pipe.scheduler.config, **spec.get("config", {}))
    pipe.set_progress_bar_config(disable=True)
    return pipe


def draw(pipe, case):
    call, steps = dict(case["call"]), []
    prompts = call["prompt"] if isinstance(call["prompt"], list) else [call["prompt"]]
    count = len(prompts) * call.get("num_images_per_prompt", 1)

    def record(_, i, t, values):
        steps.append(values["latents"].float().cpu())
        return values

    generators = [torch.Generator("cpu").manual_seed(case["seed"] + i) for i in range(count)]
    pictures = pipe(**call, generator=generators, callback_on_step_end=record).images
    return steps, [np.asarray(picture, dtype=np.int32) for picture in pictures]


def furthest(found, expected):
    """The largest difference after any step, relative to that step's largest value."""
    return max(((a - b).abs().max() / b.abs().max()).item() for a, b in zip(found, expected))


KINDS = {
    "residual sums": ("ResnetBlock2D", "BasicTransformerBlock", "Transformer2DModel", "Attention", "Downsample2D", "Upsample2D"),
    "convolutions": ("Conv2d",),
    "norms": ("LayerNorm", "SiLU"),  # GroupNorm and the SiLU behind it are one kernel
    "linear layers": ("Linear",),
}


def rounds_outputs(pipe, kinds, half):
    """Rounds what the UNet's modules of these kinds give; returns the hooks."""

    def rounded(value):
        if isinstance(value, tuple):
            return tuple(rounded(part) for part in value)
        return value.to(half).to(value.dtype) if isinstance(value, torch.Tensor) else value

    def hook(module, inputs, output):
        if isinstance(output, (torch.Tensor, tuple)):
            return rounded(output)
        for key in output.keys():
            output[key] = rounded(output[key])
        return output

    classes = [name for kind in kinds for name in KINDS[kind]]
    return [module.register_forward_hook(hook) for module in pipe.unet.modules() if type(module).__name__ in classes]


def print_sources(data, half, names):
    for name in names:
        case = json.loads((data / name / "case.json").read_text())
        pipe = load(case, data / "checkpoints", half).to("cpu", torch.float32)
        expected, _ = draw(pipe, case)

        def error(kinds):
            hooks = rounds_outputs(pipe, kinds, half)
            found, _ = draw(pipe, case)
            for hook in hooks:
                hook.remove()
            return furthest(found, expected)

        print(f"{name}: all {error(list(KINDS)):.1e}")
        for kind in KINDS:
            others = [other for other in KINDS if other != kind]
            print(f"  {kind}: alone {error([kind]):.1e}, all others {error(others):.1e}", flush=True)


def main():
    if "--sources" in sys.argv:
        at = sys.argv.index("--sources")
        return print_sources(Path(sys.argv[1]), getattr(torch, sys.argv[2]), sys.argv[at + 1 :])
    data, dtype = Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "float16"
    half = getattr(torch, dtype)
    for folder in sorted(path.parent for path in data.glob("*/case.json")):
        case = json.loads((folder / "case.json").read_text())
        pipe = load(case, data / "checkpoints", half)
        try:
            expected_steps, expected = draw(pipe.to("cpu", torch.float32), case)
        except AttributeError as error:  # clip_skip, with versions of transformers that diffusers does not know
            print(f"{folder.name}: not drawn by this diffusers: {error}", flush=True)
            continue
        found_steps, found = draw(load(case, data / "checkpoints", half).to("cuda"), case)
        latents = furthest(found_steps, expected_steps)
        pixels = max(int(np.abs(a - b).max()) for a, b in zip(found, expected))
        print(f"{folder.name} {dtype}: latents {latents:.1e}, pixels {pixels}", flush=True)


if __name__ == "__main__":
    main()
