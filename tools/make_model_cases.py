#!/usr/bin/env python3
"""Writes tests/data/models/*.safetensors: what diffusers' models give for inputs that the pipeline's cases do not reach.

    python3 -m venv ref && ref/bin/pip install torch==2.11.0 diffusers==0.42.1 transformers==5.23.0 safetensors
    ref/bin/python tools/make_model_cases.py tests/data/reference/checkpoints tests/data/models

vae_encode   the latent distribution of a picture (mean, logvar), sd15's VAE
vae_legacy   the decoder with the attention names that diffusers had before 0.17 (query, key, value, proj_attn), as a state dict
unet_options a UNet with options that no published case combines: lists for layers and heads, upcast_attention, odd sizes, a
             timestep with a fraction; its config in unet_options.json
unet_xl      a UNet of Stable Diffusion XL's kind whose attentions have numbers of layers of their own, with the small middle
             block (as SSD-1B and others); its config in unet_xl.json
unet_guided  a UNet that was distilled with guidance (time_cond_proj_dim), with the pipeline's embedding of it; its config beside it
"""
import json
import sys
from pathlib import Path

import diffusers
import torch
from safetensors.torch import save_file

torch.set_grad_enabled(False)
OLD = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


def old_names(name):
    if ".attentions." in name:
        for new, old in OLD.items():
            name = name.replace(f".{new}.", f".{old}.")
    return name


def main():
    checkpoints, out = Path(sys.argv[1]), Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    vae = diffusers.AutoencoderKL.from_pretrained(checkpoints / "sd15", subfolder="vae").eval()
    generator = torch.Generator().manual_seed(1)
    pixels = torch.rand(2, 3, 32, 48, generator=generator) * 2 - 1
    distribution = vae.encode(pixels).latent_dist
    save_file({"pixels": pixels, "mean": distribution.mean.contiguous(), "logvar": distribution.logvar.contiguous()}, out / "vae_encode.safetensors")
    latents = torch.randn(1, 4, 4, 6, generator=generator)
    save_file({"latents": latents, "pixels": vae.decode(latents).sample}, out / "vae_decode.safetensors")
    save_file({old_names(k): v.contiguous() for k, v in vae.state_dict().items()}, out / "vae_legacy.safetensors")

    config = dict(sample_size=16, in_channels=4, out_channels=4, norm_num_groups=4, layers_per_block=[1, 2, 1], cross_attention_dim=24, block_out_channels=[8, 16, 24], act_fn="gelu",
                  down_block_types=["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"], up_block_types=["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"], attention_head_dim=[1, 2, 4],
                  transformer_layers_per_block=[1, 2, 1], upcast_attention=True, flip_sin_to_cos=False, freq_shift=1, conv_in_kernel=5, conv_out_kernel=1, mid_block_scale_factor=2.0, only_cross_attention=[True, False, False],
                  center_input_sample=True)
    torch.manual_seed(2)
    unet = diffusers.UNet2DConditionModel(**config).eval()
    for p in unet.parameters():
        if p.ndim == 1:
            p.add_(torch.randn(p.shape) * 0.05)
    sample, text = torch.randn(2, 4, 10, 14, generator=generator), torch.randn(2, 5, 24, generator=generator)
    save_file({**{f"weights.{k}": v.contiguous() for k, v in unet.state_dict().items()}, "input.sample": sample, "input.text": text, "output.sample": unet(sample, 123.4, text).sample}, out / "unet_options.safetensors")
    (out / "unet_options.json").write_text(json.dumps({k: v for k, v in unet.config.items() if not k.startswith("_")}, indent=1) + "\n")

    config = dict(sample_size=16, in_channels=4, out_channels=4, norm_num_groups=4, layers_per_block=2, cross_attention_dim=24, block_out_channels=[8, 16], attention_head_dim=[2, 4],
                  down_block_types=["DownBlock2D", "CrossAttnDownBlock2D"], up_block_types=["CrossAttnUpBlock2D", "UpBlock2D"], mid_block_type="UNetMidBlock2D", use_linear_projection=True, flip_sin_to_cos=False,
                  freq_shift=1, transformer_layers_per_block=[1, [2, 1]], reverse_transformer_layers_per_block=[[1, 3, 0], 1], addition_embed_type="text_time", addition_time_embed_dim=6,
                  projection_class_embeddings_input_dim=10 + 5 * 6, act_fn="gelu")
    torch.manual_seed(3)
    unet = diffusers.UNet2DConditionModel(**config).eval()
    for p in unet.parameters():
        if p.ndim == 1:
            p.add_(torch.randn(p.shape) * 0.05)
    sample, text = torch.randn(2, 4, 8, 12, generator=generator), torch.randn(2, 5, 24, generator=generator)
    added = {"text_embeds": torch.randn(2, 10, generator=generator), "time_ids": torch.tensor([[512.0, 640, 3, 5, 6], [1024, 0, 7, 9, 2.5]])}
    save_file({**{f"weights.{k}": v.contiguous() for k, v in unet.state_dict().items()}, "input.sample": sample, "input.text": text, **{f"input.{k}": v for k, v in added.items()},
               "output.sample": unet(sample, 123.4, text, added_cond_kwargs=added).sample}, out / "unet_xl.safetensors")
    (out / "unet_xl.json").write_text(json.dumps({k: v for k, v in unet.config.items() if not k.startswith("_")}, indent=1) + "\n")
    config = dict(sample_size=8, norm_num_groups=4, layers_per_block=1, cross_attention_dim=16, block_out_channels=[8, 16], down_block_types=["CrossAttnDownBlock2D", "DownBlock2D"],
                  up_block_types=["UpBlock2D", "CrossAttnUpBlock2D"], attention_head_dim=2, time_cond_proj_dim=12)
    torch.manual_seed(3)
    unet = diffusers.UNet2DConditionModel(**config).eval()
    sample, text, guidance = torch.randn(2, 4, 8, 8, generator=generator), torch.randn(2, 5, 16, generator=generator), torch.tensor([7.5, 1.25]) - 1
    embedding = diffusers.StableDiffusionPipeline.get_guidance_scale_embedding(None, guidance, embedding_dim=12)
    save_file({**{f"weights.{k}": v.contiguous() for k, v in unet.state_dict().items()}, "input.sample": sample, "input.text": text, "input.guidance": guidance,
               "output.sample": unet(sample, 123.4, text, timestep_cond=embedding).sample}, out / "unet_guided.safetensors")
    (out / "unet_guided.json").write_text(json.dumps({k: v for k, v in unet.config.items() if not k.startswith("_")}, indent=1) + "\n")


if __name__ == "__main__":
    main()
