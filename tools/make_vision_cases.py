#!/usr/bin/env python3
"""Writes what CLIP's picture encoder, its image processor and diffusers' safety checker give, from small random weights.

    python3 -m venv ref && ref/bin/pip install torch==2.11.0 diffusers==0.42.1 transformers==5.24.0 accelerate==1.15.0 pillow==13.0.0
    ref/bin/python tools/make_vision_cases.py tests/data

Without torchvision, so that transformers resizes with Pillow.
models/clip_vision.*        weights, pixels, image_embeds and hidden_states[-2]; the config beside it
models/clip_processor.*     what processors of several configs make of pictures in reference/inputs
reference/parts/            a safety checker and its feature extractor, as published checkpoints have them: the tensors'
                            names are those of transformers 4
reference/sd15_safety_checker  two pictures of a batch, of which it holds one back. The first needs special care, and only
                            what that adds puts it above a concept's threshold
"""
import json
import sys
from pathlib import Path

import diffusers
import numpy as np
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from PIL import Image
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPImageProcessor, CLIPTextConfig, CLIPVisionConfig, CLIPVisionModelWithProjection

torch.set_grad_enabled(False)
VISION = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4, image_size=28, patch_size=8, projection_dim=20)
PROCESSORS = {
    "square": ("photo.png", dict(size=56, crop_size=56)),
    "wide": ("large.png", dict(size=28, crop_size=28)),
    "upright": ("tall.png", dict(size={"shortest_edge": 31}, crop_size={"height": 30, "width": 21})),
    "grown": ("odd.png", dict(size=90, crop_size=90)),
    "padded": ("odd.png", dict(size=24, crop_size={"height": 29, "width": 33})),
    "stretched": ("photo.png", dict(size={"height": 20, "width": 40}, do_center_crop=False, resample=1)),
    "plain": ("photo.png", dict(size=32, crop_size=32, do_rescale=False, image_mean=[1.0, 2.0, 3.0], image_std=[4.0, 5.0, 6.0])),
}


def seeded(make, seed):
    torch.manual_seed(seed)
    model = make().eval()
    for p in model.parameters():
        if p.ndim == 1:
            p.add_(torch.randn(p.shape) * 0.05)
    return model


def vision(out):
    model = seeded(lambda: CLIPVisionModelWithProjection(CLIPVisionConfig(**VISION, hidden_act="gelu")), 11)
    pixels = torch.randn(2, 3, 28, 28, generator=torch.Generator().manual_seed(12))
    given = model(pixels, output_hidden_states=True)
    save_file({**{f"weights.{k}": v.contiguous() for k, v in model.state_dict().items()}, "pixels": pixels, "image_embeds": given.image_embeds,
               "hidden_state": given.hidden_states[-2].contiguous()}, out / "models/clip_vision.safetensors")
    (out / "models/clip_vision.json").write_text(json.dumps({**model.config.to_dict(), "architectures": ["CLIPVisionModelWithProjection"]}, indent=1) + "\n")


def processors(out):
    tensors, configs = {}, {}
    for name, (file, config) in PROCESSORS.items():
        processor = CLIPImageProcessor(**config)
        tensors[name] = processor(Image.open(out / "reference/inputs" / file).convert("RGB"), return_tensors="pt").pixel_values.contiguous()
        configs[name] = {"file": file, "config": json.loads(processor.to_json_string())}
    save_file(tensors, out / "models/clip_processor.safetensors")
    (out / "models/clip_processor.json").write_text(json.dumps(configs, indent=1) + "\n")


def safety(out):
    config = CLIPConfig(text_config=CLIPTextConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, vocab_size=99).to_dict(),
                        vision_config=CLIPVisionConfig(**VISION).to_dict(), projection_dim=20)
    checker = seeded(lambda: StableDiffusionSafetyChecker(config), 21)
    processor = CLIPImageProcessor(size=28, crop_size=28)
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(out / "reference/checkpoints/sd15", torch_dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    case = {"name": "sd15_safety_checker", "checkpoint": "sd15", "family": "sd15", "seed": 31, "parts": ["safety_checker", "feature_extractor"],
            "nsfw_content_detected": [True, False],
            "call": {"prompt": ["a dog", "a red bicycle"], "num_inference_steps": 3, "guidance_scale": 7.5, "height": 64, "width": 64}}
    generators = lambda: [torch.Generator("cpu").manual_seed(case["seed"] + i) for i in range(2)]
    embeds = torch.nn.functional.normalize(checker.visual_projection(checker.vision_model(
        processor(pipe(**case["call"], generator=generators()).images, return_tensors="pt").pixel_values)[1]))
    generator = torch.Generator().manual_seed(22)
    checker.concept_embeds.copy_(torch.randn(17, 20, generator=generator))
    checker.special_care_embeds.copy_(torch.randn(3, 20, generator=generator))
    checker.concept_embeds_weights.fill_(1.5)
    checker.special_care_embeds_weights.fill_(1.5)
    checker.special_care_embeds[1] = embeds[0] - embeds[1]
    checker.special_care_embeds_weights[1] = 0
    checker.concept_embeds[4] = embeds[0] - 0.5 * embeds[1]
    near = torch.nn.functional.cosine_similarity(embeds, checker.concept_embeds[4:5])
    checker.concept_embeds_weights[4] = near[0] + 0.006
    assert near[1] + 0.02 < near[0], near
    pipe.register_modules(safety_checker=checker, feature_extractor=processor)
    tensors = {}

    def record(_, step, timestep, values):
        tensors[f"latents_{step:03d}"] = values["latents"].float().clone()
        return values

    folder = out / "reference" / case["name"]
    folder.mkdir(parents=True, exist_ok=True)
    tensors["latents"] = pipe(**case["call"], generator=generators(), output_type="latent", callback_on_step_end=record).images
    drawn = pipe(**case["call"], generator=generators())
    assert drawn.nsfw_content_detected == case["nsfw_content_detected"], drawn.nsfw_content_detected
    for i, image in enumerate(drawn.images):
        assert (np.asarray(image).max() == 0) == drawn.nsfw_content_detected[i]
        image.save(folder / f"image_{i}.png")
    save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "expected.safetensors")
    (folder / "case.json").write_text(json.dumps(case, indent=2) + "\n")
    parts = out / "reference/parts"
    processor.save_pretrained(parts / "feature_extractor")
    (parts / "safety_checker").mkdir(parents=True, exist_ok=True)
    old = {k.replace("vision_model.", "vision_model.vision_model.", 1): v.contiguous() for k, v in checker.state_dict().items()}
    save_file(old, parts / "safety_checker/model.safetensors")
    (parts / "safety_checker/config.json").write_text(json.dumps({**config.to_dict(), "architectures": ["StableDiffusionSafetyChecker"]}, indent=1, default=str) + "\n")


if __name__ == "__main__":
    root = Path(sys.argv[1])
    vision(root)
    processors(root)
    safety(root)
