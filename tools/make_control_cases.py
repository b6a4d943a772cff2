#!/usr/bin/env python3
"""Writes reference cases of ControlNets beside those of tests/data/reference, in their form, over their checkpoints: what
diffusers computes where its ControlNet pipelines have traps that the first cases do not reach.

    python3 -m venv ref && ref/bin/pip install torch==2.11.0 diffusers==0.42.1 transformers==5.23.0 accelerate==1.15.0 \\
        opencv-python-headless==4.11.0.86
    ref/bin/python tools/make_control_cases.py tests/data/reference tests/data/canny

The second folder gets NAME_LOW_HIGH.png: what cv2.Canny makes of the inputs.
"""
import json
import sys
from pathlib import Path

import cv2
import diffusers
import numpy as np
import torch
from PIL import Image
from diffusers.utils import load_image
from safetensors.torch import save_file

POOLED = "controlnet-sd15-pooled"
DDIM = {"class": "DDIMScheduler", "config": {"clip_sample": False, "set_alpha_to_one": False}}
CAT = {"prompt": "a cat paints an umbrella", "num_inference_steps": 6, "height": 64, "width": 64}

CASES = [
    {  # each residual averaged over the map, which turns guess mode on; channels in the order of OpenCV
        "name": "sd15_controlnet_pooled", "checkpoint": "sd15", "pipeline": "StableDiffusionControlNetPipeline", "seed": 1570,
        "controlnet": POOLED, "inputs": {"control_image": "inputs/square.png"}, "call": CAT,
    },
    {  # two evaluations a step, of which each counts for when a ControlNet acts
        "name": "sd15_controlnet_heun", "checkpoint": "sd15", "pipeline": "StableDiffusionControlNetPipeline", "seed": 1571,
        "scheduler": {"class": "HeunDiscreteScheduler", "config": {}}, "controlnet": "controlnet-sd15-a",
        "inputs": {"control_image": "inputs/edges.png"},
        "call": CAT | {"control_guidance_start": 0.2, "control_guidance_end": 0.7},
    },
    {  # the control picture's own size
        "name": "sd15_controlnet_own_size", "checkpoint": "sd15", "pipeline": "StableDiffusionControlNetPipeline", "seed": 1572,
        "controlnet": "controlnet-sd15-b", "inputs": {"control_image": "inputs/odd.png"},
        "call": {"prompt": "a red bicycle", "num_inference_steps": 4, "guidance_scale": 1.0, "guess_mode": True},
    },
    {  # a picture for each prompt
        "name": "sd15_controlnet_two_prompts", "checkpoint": "sd15", "pipeline": "StableDiffusionControlNetPipeline", "seed": 1573,
        "controlnet": "controlnet-sd15-a", "inputs": {"control_image": ["inputs/edges.png", "inputs/edges_2.png"]},
        "call": CAT | {"prompt": ["a cat paints an umbrella", "a red bicycle"], "num_images_per_prompt": 2},
    },
    {  # shares of the walk that is left
        "name": "sd15_controlnet_img2img_end", "checkpoint": "sd15", "pipeline": "StableDiffusionControlNetImg2ImgPipeline", "seed": 1574,
        "controlnet": ["controlnet-sd15-a", "controlnet-sd15-b"],
        "inputs": {"image": "inputs/odd.png", "control_image": ["inputs/odd.png", "inputs/odd_rgba.png"]},
        "call": {"prompt": "a red bicycle", "num_inference_steps": 8, "strength": 0.7, "control_guidance_end": [0.5, 0.8],
                 "guess_mode": True, "guidance_scale": 3.0},
    },
    {  # a part of the control picture, as of the others
        "name": "sd15_controlnet_inpaint_crop", "checkpoint": "sd15", "pipeline": "StableDiffusionControlNetInpaintPipeline", "seed": 1575,
        "scheduler": DDIM, "controlnet": "controlnet-sd15-b",
        "inputs": {"image": "inputs/photo.png", "mask_image": "inputs/mask_photo.png", "control_image": "inputs/photo.png"},
        "call": CAT | {"padding_mask_crop": 8, "strength": 0.8},
    },
    {  # the ControlNet does not read the mask behind the latents
        "name": "sd15_controlnet_inpaint9", "checkpoint": "sd15-inpaint", "pipeline": "StableDiffusionControlNetInpaintPipeline",
        "seed": 1576, "controlnet": "controlnet-sd15-a",
        "inputs": {"image": "inputs/square.png", "mask_image": "inputs/mask.png", "control_image": "inputs/edges.png"}, "call": CAT,
    },
    {  # edges of the picture itself, which are stretched then
        "name": "sd15_controlnet_canny", "checkpoint": "sd15", "pipeline": "StableDiffusionControlNetPipeline", "seed": 1577,
        "controlnet": "controlnet-sd15-a", "inputs": {"control_image": "inputs/large.png"},
        "call": CAT | {"control_preprocessor": "canny:60:150"},
    },
    {  # values beyond those of a picture, stretched by another filter
        "name": "sd15_controlnet_inpaint_condition", "checkpoint": "sd15", "pipeline": "StableDiffusionControlNetInpaintPipeline",
        "seed": 1578, "scheduler": DDIM, "controlnet": "controlnet-sd15-b",
        "inputs": {"image": "inputs/photo.png", "mask_image": "inputs/mask_photo.png", "control_image": "inputs/photo.png"},
        "call": CAT | {"control_preprocessor": "inpaint"},
    },
    {  # shares of the whole walk, wherever it ends; two ControlNets that see the prompt's half
        "name": "sdxl_controlnet_guess_end", "checkpoint": "sdxl", "pipeline": "StableDiffusionXLControlNetPipeline", "seed": 1906,
        "controlnet": ["controlnet-sdxl", "controlnet-sdxl"],
        "inputs": {"control_image": ["inputs/edges.png", "inputs/square.png"]},
        "call": CAT | {"guess_mode": True, "denoising_end": 0.6, "control_guidance_end": [0.5, 1.0],
                       "controlnet_conditioning_scale": [0.9, 0.4], "negative_original_size": [32, 48],
                       "negative_target_size": [64, 64]},
    },
    {
        "name": "sdxl_controlnet_inpaint", "checkpoint": "sdxl", "pipeline": "StableDiffusionXLControlNetInpaintPipeline", "seed": 1907,
        "controlnet": "controlnet-sdxl",
        "inputs": {"image": "inputs/square.png", "mask_image": "inputs/mask.png", "control_image": "inputs/edges_2.png"},
        "call": CAT | {"guidance_rescale": 0.4},
    },
]


EDGES = [("photo", 100, 200), ("large", 60, 150), ("odd", 0, 0), ("rgb16", 400, 40), ("palette", 20, 500)]


def canny(picture, low, high):
    return Image.fromarray(cv2.Canny(np.array(picture), low, high)).convert("RGB")


def inpaint_condition(picture, mask):
    """make_inpaint_condition of diffusers' guide."""
    values = np.array(picture.convert("RGB")).astype(np.float32) / 255.0
    values[np.array(mask.convert("L")).astype(np.float32) / 255.0 > 0.5] = -1.0
    return torch.from_numpy(values[None].transpose(0, 3, 1, 2))


def preprocessed(text, pictures, call):
    if text == "inpaint":
        return [inpaint_condition(picture, call["mask_image"]) for picture in pictures]
    return [canny(picture, *map(int, text.split(":")[1:])) for picture in pictures]


def many(value):
    return value if isinstance(value, list) else [value]


def make_pooled(out):
    """A ControlNet whose residuals are averaged, with weights that are not zero."""
    folder = out / "checkpoints" / POOLED
    config = json.loads((out / "checkpoints" / "controlnet-sd15-a" / "config.json").read_text())
    config |= {"global_pool_conditions": True, "controlnet_conditioning_channel_order": "bgr"}
    torch.manual_seed(2120)
    net = diffusers.ControlNetModel.from_config(config)
    for parameter in net.parameters():
        if not parameter.any():
            parameter.normal_(std=0.3)
    net.half().save_pretrained(folder)


def load(case, out):
    nets = [diffusers.ControlNetModel.from_pretrained(out / "checkpoints" / net, torch_dtype=torch.float32)
            for net in many(case["controlnet"])]
    more = {"add_watermarker": False} if "XL" in case["pipeline"] else {"safety_checker": None}
    pipe = getattr(diffusers, case["pipeline"]).from_pretrained(
        out / "checkpoints" / case["checkpoint"], controlnet=nets if len(nets) > 1 else nets[0], torch_dtype=torch.float32, **more)
    if "scheduler" in case:
        pipe.scheduler = getattr(diffusers, case["scheduler"]["class"]).from_config(
            pipe.scheduler.config, **case["scheduler"]["config"])
    pipe.set_progress_bar_config(disable=True)
    return pipe


def run(case, out):
    pipe, call, tensors = load(case, out), dict(case["call"]), {}
    preprocessor = call.pop("control_preprocessor", None)
    for key, files in case["inputs"].items():
        pictures = [load_image(str(out / file)) for file in many(files)]
        if key == "control_image" and preprocessor:
            pictures = preprocessed(preprocessor, pictures, call)
        # The classes of text to image call it "image".
        name = "image" if key == "control_image" and "image" not in case["inputs"] else key
        call[name] = pictures if len(pictures) > 1 else pictures[0]
    for key in ("negative_original_size", "negative_target_size"):
        if key in call:
            call[key] = tuple(call[key])
    images = len(many(call["prompt"])) * call.get("num_images_per_prompt", 1)

    def record(_, step, timestep, values):
        tensors[f"latents_{step:03d}"] = values["latents"].float().clone()
        return values

    def draw(output_type, **more):
        generators = [torch.Generator("cpu").manual_seed(case["seed"] + i) for i in range(images)]
        return pipe(**call, generator=generators, output_type=output_type, **more).images

    folder = out / case["name"]
    folder.mkdir(parents=True, exist_ok=True)
    for i, image in enumerate(draw("pil", callback_on_step_end=record)):
        image.save(folder / f"image_{i}.png")
    # With padding_mask_crop there are pictures only.
    tensors["latents"] = tensors[max(tensors)] if "padding_mask_crop" in call else draw("latent").float()
    save_file({name: tensor.float().contiguous() for name, tensor in tensors.items()}, folder / "expected.safetensors")
    (folder / "case.json").write_text(json.dumps(case | {"family": case["checkpoint"].split("-")[0]}, indent=2) + "\n")


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    for name, low, high in EDGES:
        canny(load_image(f"{sys.argv[1]}/inputs/{name}.png"), low, high).save(f"{sys.argv[2]}/{name}_{low}_{high}.png")
    make_pooled(Path(sys.argv[1]))
    for one in CASES:
        run(one, Path(sys.argv[1]))
