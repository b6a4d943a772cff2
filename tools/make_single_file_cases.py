#!/usr/bin/env python3
"""Writes tests/data/reference/single/*.safetensors, checkpoints in the layout of their authors (CompVis, Stability), and the cases of
tests/data/reference that diffusers' from_single_file gives for them.

    python3 -m venv ref && ref/bin/pip install torch==2.11.0 diffusers==0.42.1 transformers==5.23.0 accelerate safetensors pillow
    ref/bin/python tools/make_single_file_cases.py tests/data/reference [case ...]

sd2_single_file           Stable Diffusion 2.x: the text encoder is OpenCLIP's, in its own names, and has a projection that is not used
sd15_single_file_inpaint9 nine channels; the VAE's keys begin with "vae." and its attention has kernels of one pixel in one dimension
sdxl_single_file_refiner  one text encoder, OpenCLIP's; image to image
sd15_img2img_taesd        image to image with TAESD: no sample is drawn for the picture
sd15_inpaint_taesd        inpainting with TAESD
"""
import json
import sys
from pathlib import Path

import diffusers
import torch
from safetensors.torch import save_file

torch.set_grad_enabled(False)
OF_RESNET = {"norm1": "in_layers.0", "conv1": "in_layers.2", "norm2": "out_layers.0", "conv2": "out_layers.3",
             "time_emb_proj": "emb_layers.1", "conv_shortcut": "skip_connection"}
OF_UNET = {"time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2", "conv_in": "input_blocks.0.0",
           "conv_norm_out": "out.0", "conv_out": "out.2", "add_embedding.linear_1": "label_emb.0.0",
           "add_embedding.linear_2": "label_emb.0.2"}


def unet_name(name, unet):
    """The authors' name of a tensor of diffusers' UNet."""
    for stem, original in OF_UNET.items():
        if name.startswith(stem + "."):
            return original + name[len(stem):]
    words, layers = name.split("."), unet.config.layers_per_block + 1

    def resnet(rest):
        return ".".join([OF_RESNET.get(rest[0], rest[0]), *rest[1:]])

    if words[0] == "mid_block":
        number = int(words[2])
        return "middle_block.1." + ".".join(words[3:]) if words[1] == "attentions" else f"middle_block.{2 * number}." + resnet(words[3:])
    block, kind, number, rest = int(words[1]), words[2], int(words[3]), words[4:]
    if words[0] == "down_blocks":
        if kind == "downsamplers":
            return f"input_blocks.{(block + 1) * layers}.0.op.{rest[-1]}"
        at = f"input_blocks.{1 + block * layers + number}"
    else:
        if kind == "upsamplers":
            has_attention = "CrossAttn" in unet.config.up_block_types[block]
            return f"output_blocks.{block * layers + layers - 1}.{2 if has_attention else 1}.conv.{rest[-1]}"
        at = f"output_blocks.{block * layers + number}"
    return f"{at}.0.{resnet(rest)}" if kind == "resnets" else f"{at}.1.{'.'.join(rest)}"


def vae_name(name, levels):
    """The authors' name of a tensor of diffusers' VAE."""
    words = [{"conv_norm_out": "norm_out", "conv_shortcut": "nin_shortcut"}.get(word, word) for word in name.split(".")]
    if len(words) < 4:
        return ".".join(words)
    if words[1] == "mid_block":
        if words[2] == "resnets":
            return ".".join([words[0], "mid", f"block_{int(words[3]) + 1}", *words[4:]])
        attention = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out": "proj_out"}[words[4]]
        return ".".join([words[0], "mid.attn_1", attention, words[-1]])
    block = int(words[2])
    at = f"down.{block}" if words[1] == "down_blocks" else f"up.{levels - 1 - block}"
    kind = {"resnets": f"block.{words[4]}", "downsamplers": "downsample", "upsamplers": "upsample"}[words[3]]
    return ".".join([words[0], at, kind, *words[5:]])


def open_clip(encoder, prefix):
    """A text encoder of transformers as OpenCLIP has it: queries, keys and values in one, the projection the other way round."""
    own = {name.removeprefix("text_model."): value for name, value in encoder.state_dict().items()}
    width = encoder.config.hidden_size
    projection = own.get("text_projection.weight", torch.randn(width, width, generator=torch.Generator().manual_seed(7)))
    out = {"positional_embedding": own["embeddings.position_embedding.weight"],
           "token_embedding.weight": own["embeddings.token_embedding.weight"], "ln_final.weight": own["final_layer_norm.weight"],
           "ln_final.bias": own["final_layer_norm.bias"], "text_projection": projection.T, "logit_scale": torch.tensor(4.6)}
    for i in range(encoder.config.num_hidden_layers):
        theirs, layer = f"encoder.layers.{i}.", f"transformer.resblocks.{i}."
        for kind in ("weight", "bias"):
            out[f"{layer}attn.in_proj_{kind}"] = torch.cat([own[f"{theirs}self_attn.{x}_proj.{kind}"] for x in "qkv"])
            for a, b in (("self_attn.out_proj", "attn.out_proj"), ("layer_norm1", "ln_1"), ("layer_norm2", "ln_2"),
                         ("mlp.fc1", "mlp.c_fc"), ("mlp.fc2", "mlp.c_proj")):
                out[f"{layer}{b}.{kind}"] = own[f"{theirs}{a}.{kind}"]
    return {prefix + name: value for name, value in out.items()}


def single_file(pipe, vae="first_stage_model.", kernel_dims=4):
    out = {"model.diffusion_model." + unet_name(n, pipe.unet): v for n, v in pipe.unet.state_dict().items()}
    for n, v in pipe.vae.state_dict().items():
        if ".attentions." in n and v.ndim == 2:
            v = v.reshape(*v.shape, *[1] * (kernel_dims - 2))
        out[vae + vae_name(n, len(pipe.vae.config.block_out_channels))] = v
    if getattr(pipe, "text_encoder_2", None):
        out |= open_clip(pipe.text_encoder_2, "conditioner.embedders.0.model.")
    elif "vpred" in str(pipe.name_or_path):
        out |= open_clip(pipe.text_encoder, "cond_stage_model.model.")
    else:
        out |= {"cond_stage_model.transformer.text_model." + n: v for n, v in pipe.text_encoder.state_dict().items()}
    out |= {"alphas_cumprod": pipe.scheduler.alphas_cumprod, "model_ema.decay": torch.tensor(0.9999)}
    return {n: v.half().contiguous() for n, v in out.items()}


CASES = [
    dict(name="sd2_single_file", checkpoint="sd2-vpred", seed=917, pipeline="StableDiffusionPipeline", file={},
         call=dict(prompt="a dog", num_inference_steps=4, height=64, width=64)),
    dict(name="sd15_single_file_inpaint9", checkpoint="sd15-inpaint", seed=918, pipeline="StableDiffusionInpaintPipeline",
         file=dict(vae="vae.", kernel_dims=3), inputs=dict(image="inputs/photo.png", mask_image="inputs/mask.png"),
         call=dict(prompt="a cat paints an umbrella", num_inference_steps=4, height=64, width=64)),
    dict(name="sdxl_single_file_refiner", checkpoint="sdxl-refiner", seed=919, pipeline="StableDiffusionXLImg2ImgPipeline", file={},
         inputs=dict(image="inputs/square.png"), call=dict(prompt="a red bicycle", num_inference_steps=10, strength=0.3)),
    dict(name="sd15_img2img_taesd", checkpoint="sd15", vae="taesd", seed=920, pipeline="StableDiffusionImg2ImgPipeline",
         inputs=dict(image="inputs/square.png"), call=dict(prompt="a red bicycle", num_inference_steps=6, strength=0.5)),
    dict(name="sd15_inpaint_taesd", checkpoint="sd15", vae="taesd", seed=921, pipeline="StableDiffusionInpaintPipeline",
         scheduler={"class": "EulerAncestralDiscreteScheduler"},
         inputs=dict(image="inputs/photo.png", mask_image="inputs/mask.png"),
         call=dict(prompt="a cat paints an umbrella", num_inference_steps=5, strength=0.8, height=64, width=64)),
]


def load(case, root):
    cls, folder = getattr(diffusers, case["pipeline"]), root / "checkpoints" / case["checkpoint"]
    if "file" in case:
        whole = diffusers.DiffusionPipeline.from_pretrained(folder, torch_dtype=torch.float32)
        file = root / "single" / (case["name"].replace("_single_file", "") + ".safetensors")
        file.parent.mkdir(exist_ok=True)
        save_file(single_file(whole, **case.pop("file")), file, metadata={"format": "pt", "modelspec.title": case["name"]})
        case["single_file"] = str(file.relative_to(root))
        extra = {} if "XL" in case["pipeline"] else {"requires_safety_checker": False}
        return cls.from_single_file(str(file), config=str(folder), torch_dtype=torch.float32, safety_checker=None, **extra)
    pipe = cls.from_pretrained(folder, torch_dtype=torch.float32)
    if "vae" in case:
        pipe.vae = diffusers.AutoencoderTiny.from_pretrained(root / "checkpoints" / case["vae"], torch_dtype=torch.float32)
    if "scheduler" in case:
        pipe.scheduler = getattr(diffusers, case["scheduler"]["class"]).from_config(pipe.scheduler.config)
    return pipe


def run(case, root):
    pipe = load(case, root)
    pipe.set_progress_bar_config(disable=True)
    tensors = {}

    def keep(_, step, __, values):
        tensors[f"latents_{step:03}"] = values["latents"].clone()
        return {}

    pictures = {key: diffusers.utils.load_image(str(root / file)) for key, file in case.get("inputs", {}).items()}
    made = pipe(**case["call"], **pictures, generator=torch.Generator().manual_seed(case["seed"]), callback_on_step_end=keep)
    tensors["latents"] = tensors[max(tensors)].clone()
    folder = root / case["name"]
    folder.mkdir(exist_ok=True)
    made.images[0].save(folder / "image_0.png")
    save_file({n: v.contiguous() for n, v in tensors.items()}, folder / "expected.safetensors")
    (folder / "case.json").write_text(json.dumps(case, indent=2) + "\n")


def main():
    root, wanted = Path(sys.argv[1]), sys.argv[2:]
    for case in CASES:
        if not wanted or case["name"] in wanted:
            run(case, root)
            print(case["name"])


if __name__ == "__main__":
    main()
