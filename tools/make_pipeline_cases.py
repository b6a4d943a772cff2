#!/usr/bin/env python3
"""Writes more reference cases of pipelines beside those of tests/data/reference, in their form, over their checkpoints:
what diffusers computes where an option differs from the first ones.

    python3 -m venv ref && ref/bin/pip install torch==2.11.0 diffusers==0.42.1 transformers==5.23.0 accelerate==1.15.0
    ref/bin/python tools/make_pipeline_cases.py tests/data/reference
"""
import json
import sys
from pathlib import Path

import diffusers
import torch
from safetensors.torch import save_file

CASES = [
    {  # Runge-Kutta steps first, the class's default
        "name": "sd15_pndm_runge_kutta", "checkpoint": "sd15", "family": "sd15", "seed": 21,
        "scheduler": {"class": "PNDMScheduler", "config": {"skip_prk_steps": False}},
        "call": {"prompt": "a photo of a red bicycle", "num_inference_steps": 9, "guidance_scale": 7.5, "height": 64, "width": 64},
    },
    {  # the prompt's layers are skipped, the negative prompt's are not
        "name": "sd15_clip_skip", "checkpoint": "sd15", "family": "sd15", "seed": 22,
        "call": {"prompt": "a dog on the moon", "negative_prompt": "blurry", "clip_skip": 1, "num_inference_steps": 5,
                 "guidance_scale": 7.5, "height": 64, "width": 64},
    },
    {  # fresh noise at every step; training scripts save it
        "name": "sd15_ddpm", "checkpoint": "sd15", "family": "sd15", "seed": 682,
        "scheduler": {"class": "DDPMScheduler", "config": {}},
        "call": {"prompt": "a red bicycle", "num_inference_steps": 7, "guidance_scale": 5.0, "height": 64, "width": 64},
    },
    {  # of a well-known fine-tune
        "name": "sd15_deis", "checkpoint": "sd15", "family": "sd15", "seed": 689,
        "scheduler": {"class": "DEISMultistepScheduler", "config": {}},
        "call": {"prompt": "a red bicycle", "num_inference_steps": 7, "guidance_scale": 5.0, "height": 64, "width": 64},
    },
    {  # its third order
        "name": "sd15_deis_3_karras", "checkpoint": "sd15", "family": "sd15", "seed": 696,
        "scheduler": {"class": "DEISMultistepScheduler", "config": {"solver_order": 3, "use_karras_sigmas": True}},
        "call": {"prompt": "a red bicycle", "num_inference_steps": 7, "guidance_scale": 5.0, "height": 64, "width": 64},
    },
]


def run(case, out):
    pipe = diffusers.DiffusionPipeline.from_pretrained(out / "checkpoints" / case["checkpoint"], torch_dtype=torch.float32)
    # Where diffusers looks for the final norm when it skips layers; transformers 5 has it in the model itself.
    if not hasattr(pipe.text_encoder, "text_model"):
        object.__setattr__(pipe.text_encoder, "text_model", pipe.text_encoder)
    if "scheduler" in case:
        pipe.scheduler = getattr(diffusers, case["scheduler"]["class"]).from_config(
            pipe.scheduler.config, **case["scheduler"]["config"])
    pipe.set_progress_bar_config(disable=True)
    call, tensors = case["call"], {}

    def record(_, step, timestep, values):
        tensors[f"latents_{step:03d}"] = values["latents"].float().clone()
        return values

    def draw(output_type, **more):
        return pipe(**call, generator=[torch.Generator("cpu").manual_seed(case["seed"])], output_type=output_type, **more).images

    tensors["latents"] = draw("latent", callback_on_step_end=record).float()
    tensors["image"] = torch.from_numpy(draw("np"))
    tensors["prompt_embeds"], tensors["negative_prompt_embeds"] = pipe.encode_prompt(
        [call["prompt"]], "cpu", 1, True, [call.get("negative_prompt", "")], clip_skip=call.get("clip_skip"))
    folder = out / case["name"]
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.float().contiguous() for name, tensor in tensors.items()}, folder / "expected.safetensors")
    draw("pil")[0].save(folder / "image_0.png")
    (folder / "case.json").write_text(json.dumps(case, indent=2) + "\n")


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    for one in CASES:
        run(one, Path(sys.argv[1]))
