#!/usr/bin/env python3
"""Writes reference cases of IP-Adapters beside those of tests/data/reference, over their checkpoints: what diffusers draws with
small random adapters, basic ones and Plus (which it has with four layers and heads of 64 only).

    python3 -m venv ref && ref/bin/pip install torch==2.11.0 diffusers==0.42.1 transformers==5.24.0 accelerate==1.15.0 pillow==13.0.0
    ref/bin/python tools/make_ip_adapter_cases.py tests/data/reference

Without torchvision, so that transformers resizes with Pillow. The picture encoder is checkpoints/ip-image-encoder. Each picture
is drawn by a call of its own, with the generator seed + i.
"""
import json
import sys
from pathlib import Path

import diffusers
import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

torch.set_grad_enabled(False)
ENCODER = "ip-image-encoder"
PIPELINES = {"text": diffusers.AutoPipelineForText2Image, "image": diffusers.AutoPipelineForImage2Image}
ADAPTERS = {"sd15_plus": ("sd15", 5, 71), "sdxl": ("sdxl", None, 72), "sdxl_plus": ("sdxl", 3, 73)}  # checkpoint, tokens of Plus, seed
ADAPTER = lambda name, scale: {"file": f"ip_adapters/{name}.safetensors", "image_encoder": ENCODER, "scale": scale}
CASES = [
    {  # two pictures for one adapter, a batch of two images, guidance
        "name": "sd15_ip_adapter_plus", "checkpoint": "sd15", "family": "sd15", "seed": 701, "ip_adapter": ADAPTER("sd15_plus", 0.7),
        "inputs": {"ip_adapter_image": ["inputs/photo.png", "inputs/tall.png"]},
        "call": {"prompt": ["a cat paints an umbrella", "a dog"], "negative_prompt": "blurry", "num_inference_steps": 4, "height": 64, "width": 64},
    },
    {  # two adapters with scales of their own, without guidance
        "name": "sd15_ip_adapter_two", "checkpoint": "sd15", "family": "sd15", "seed": 702, "ip_adapter": [ADAPTER("sd15", 0.4), ADAPTER("sd15_plus", -0.8)],
        "inputs": {"ip_adapter_image": ["inputs/odd.png", "inputs/square.png"]},
        "call": {"prompt": ["a red bicycle", "a dog"], "guidance_scale": 1.0, "num_inference_steps": 4, "height": 64, "width": 96},
    },
    {  # beside a picture that the walk begins with
        "name": "sd15_ip_adapter_img2img", "checkpoint": "sd15", "family": "sd15", "seed": 703, "ip_adapter": ADAPTER("sd15", 1.0),
        "inputs": {"image": "inputs/square.png", "ip_adapter_image": "inputs/large.png"},
        "call": {"prompt": "a boat", "strength": 0.6, "num_inference_steps": 5},
    },
    {
        "name": "sdxl_ip_adapter", "checkpoint": "sdxl", "family": "sdxl", "seed": 704, "ip_adapter": ADAPTER("sdxl", 0.6),
        "inputs": {"ip_adapter_image": ["inputs/photo.png", "inputs/large.png"]},
        "call": {"prompt": "a cat paints an umbrella", "num_inference_steps": 3, "height": 64, "width": 64},
    },
    {
        "name": "sdxl_ip_adapter_plus", "checkpoint": "sdxl", "family": "sdxl", "seed": 705, "ip_adapter": ADAPTER("sdxl_plus", 0.5),
        "inputs": {"ip_adapter_image": "inputs/odd.png"},
        "call": {"prompt": "a red bicycle", "negative_prompt": "blurry", "num_inference_steps": 3, "height": 64, "width": 64},
    },
]


def many(value):
    return value if isinstance(value, list) else [value]


def plus_tensors(draw, encoder, width, tokens):
    hidden, inner, tensors = 16, 64, {"latents": draw(1, tokens, 16, size=0.5)}

    def norm(name, size):
        tensors[f"{name}.weight"], tensors[f"{name}.bias"] = 1 + draw(size, size=0.1), draw(size, size=0.1)

    def linear(name, rows, columns, bias=False):
        tensors[f"{name}.weight"] = draw(rows, columns, size=columns ** -0.5)
        if bias:
            tensors[f"{name}.bias"] = draw(rows, size=0.1)

    linear("proj_in", hidden, encoder, True), linear("proj_out", width, hidden, True), norm("norm_out", width)
    for i in range(4):
        norm(f"layers.{i}.0.norm1", hidden), norm(f"layers.{i}.0.norm2", hidden), norm(f"layers.{i}.1.0", hidden)
        linear(f"layers.{i}.0.to_q", inner, hidden), linear(f"layers.{i}.0.to_kv", 2 * inner, hidden), linear(f"layers.{i}.0.to_out", hidden, inner)
        linear(f"layers.{i}.1.1", 4 * hidden, hidden), linear(f"layers.{i}.1.3", hidden, 4 * hidden)
    return tensors


def make_adapter(root, name):
    checkpoint, tokens, seed = ADAPTERS[name]
    unet = diffusers.UNet2DConditionModel.from_pretrained(root / "checkpoints" / checkpoint, subfolder="unet", torch_dtype=torch.float32)
    encoder = json.loads((root / "checkpoints" / ENCODER / "config.json").read_text())
    generator, width = torch.Generator().manual_seed(seed), unet.config.cross_attention_dim
    draw = lambda *shape, size: torch.randn(*shape, generator=generator) * size
    if tokens:
        projection = plus_tensors(draw, encoder["hidden_size"], width, tokens)
    else:
        projection = {"proj.weight": draw(4 * width, encoder["projection_dim"], size=0.5), "proj.bias": draw(4 * width, size=0.1),
                      "norm.weight": 1 + draw(width, size=0.1), "norm.bias": draw(width, size=0.1)}
    tensors = {f"image_proj.{k}": v for k, v in projection.items()}
    for i, processor in enumerate(n for n in unet.attn_processors if "attn2" in n):
        out = unet.get_submodule(processor.removesuffix(".processor")).to_k.weight.shape[0]
        for kind in "kv":
            tensors[f"ip_adapter.{2 * i + 1}.to_{kind}_ip.weight"] = draw(out, width, size=0.4)
    save_file({k: v.half().contiguous() for k, v in tensors.items()}, root / "ip_adapters" / f"{name}.safetensors")


def run(case, root):
    inputs = {k: [Image.open(root / f).convert("RGB") for f in many(v)] for k, v in case["inputs"].items()}
    pipe = PIPELINES["image" if "image" in inputs else "text"].from_pretrained(root / "checkpoints" / case["checkpoint"], torch_dtype=torch.float32)
    encoder = CLIPVisionModelWithProjection.from_pretrained(root / "checkpoints" / ENCODER, dtype=torch.float32)
    side, adapters = encoder.config.image_size, many(case["ip_adapter"])
    pipe.register_modules(image_encoder=encoder, feature_extractor=CLIPImageProcessor(size=side, crop_size=side))
    pipe.load_ip_adapter([str(root / "ip_adapters")] * len(adapters), subfolder=[""] * len(adapters),
                         weight_name=[Path(a["file"]).name for a in adapters], image_encoder_folder=None)
    pipe.set_ip_adapter_scale([a["scale"] for a in adapters])
    pipe.set_progress_bar_config(disable=True)
    pictures = inputs.pop("ip_adapter_image")
    each = len(pictures) // len(adapters)
    inputs = {**{k: v[0] for k, v in inputs.items()}, "ip_adapter_image": [pictures[i * each:(i + 1) * each] for i in range(len(adapters))]}
    folder, columns = root / case["name"], {}
    folder.mkdir(parents=True, exist_ok=True)
    for i, prompt in enumerate(many(case["call"]["prompt"])):
        call = {**case["call"], **inputs, "prompt": prompt}
        steps = []

        def record(_, step, timestep, values):
            steps.append(values["latents"].float().clone())
            return values

        draw = lambda **more: pipe(**call, generator=[torch.Generator("cpu").manual_seed(case["seed"] + i)], **more).images
        columns.setdefault("latents", []).append(draw(output_type="latent", callback_on_step_end=record).float())
        for step, latents in enumerate(steps):
            columns.setdefault(f"latents_{step:03d}", []).append(latents)
        draw()[0].save(folder / f"image_{i}.png")
    save_file({k: torch.cat(v).contiguous() for k, v in columns.items()}, folder / "expected.safetensors")
    (folder / "case.json").write_text(json.dumps(case, indent=2) + "\n")


if __name__ == "__main__":
    out = Path(sys.argv[1])
    for one in ADAPTERS:
        make_adapter(out, one)
    for one in CASES:
        run(one, out)
