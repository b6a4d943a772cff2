#!/usr/bin/env python3
"""Writes a full-size checkpoint with random weights: for measuring speed and memory, where only sizes count.

    python3 -m venv ref && ref/bin/pip install torch==2.11.0 diffusers==0.42.1 transformers==5.23.0 safetensors
    ref/bin/python tools/make_random_checkpoint.py --dtype float32 /tmp/sd15-float32
    ref/bin/python tools/make_random_checkpoint.py --model flux-dev --dtype bfloat16 /tmp/flux-dev    # 34 GB
    ref/bin/python tools/make_random_checkpoint.py --model flux-small /tmp/flux-small                 # 0.3 GB, of FLUX's form

The configs are those of stable-diffusion-v1-5 and FLUX.1-dev; CLIP's tokenizer is its own, from tests/data, T5's that of
models/emoji-flux. FLUX is written tensor by tensor: it need not fit in memory.
"""
import argparse
import json
import shutil
from pathlib import Path

import diffusers
import safetensors.torch
import torch
import transformers

ROOT = Path(__file__).parent.parent
TOKENIZER = ROOT / "tests/data/clip_tokenizer"
SHARD_BYTES = 4 << 30
DOWN, UP = "CrossAttnDownBlock2D", "CrossAttnUpBlock2D"


def stable_diffusion_15():
    encoder = "DownEncoderBlock2D", "UpDecoderBlock2D"
    return diffusers.StableDiffusionPipeline(
        tokenizer=transformers.CLIPTokenizer.from_pretrained(TOKENIZER),
        text_encoder=transformers.CLIPTextModel(transformers.CLIPTextConfig(
            vocab_size=49408, hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12,
            max_position_embeddings=77, hidden_act="quick_gelu", projection_dim=768, bos_token_id=49406, eos_token_id=49407)),
        unet=diffusers.UNet2DConditionModel(
            sample_size=64, cross_attention_dim=768, attention_head_dim=8, layers_per_block=2,
            block_out_channels=(320, 640, 1280, 1280),
            down_block_types=(DOWN, DOWN, DOWN, "DownBlock2D"), up_block_types=("UpBlock2D", UP, UP, UP)),
        vae=diffusers.AutoencoderKL(
            block_out_channels=(128, 256, 512, 512), layers_per_block=2, latent_channels=4, sample_size=512,
            down_block_types=encoder[:1] * 4, up_block_types=encoder[1:] * 4, scaling_factor=0.18215),
        scheduler=diffusers.PNDMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1,
            set_alpha_to_one=False),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False)


class RandomWeights:
    """Values from one block of random numbers, over and over: drawing billions would take longer than writing them."""

    def __init__(self, dtype):
        self.block = (torch.randn(1 << 24) * 0.02).to(dtype)

    def like(self, name, tensor):
        if tensor.dim() == 1:
            return (torch.ones if name.endswith("weight") else torch.zeros)(tensor.shape, dtype=self.block.dtype)
        repeats = -(-tensor.numel() // self.block.numel())
        return self.block.repeat(repeats)[: tensor.numel()].reshape(tensor.shape).clone()


def write_model(folder, make, stem, weights):
    with torch.device("meta"):
        model = make()
    model.save_config(folder) if hasattr(model, "save_config") else model.config.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    if "_class_name" not in config:
        (folder / "config.json").write_text(json.dumps({**config, "architectures": [type(model).__name__]}, indent=2) + "\n")
    shards, size = [{}], 0
    for name, tensor in model.state_dict().items():
        if name == "encoder.embed_tokens.weight":
            continue  # T5's table under its second name
        bytes_ = tensor.numel() * weights.block.element_size()
        if size + bytes_ > SHARD_BYTES and shards[-1]:
            shards.append({})
            size = 0
        shards[-1][name] = tensor
        size += bytes_
    names = [f"{stem}.safetensors"] if len(shards) == 1 else [f"{stem}-{i + 1:05}-of-{len(shards):05}.safetensors" for i in range(len(shards))]
    for shard, name in zip(shards, names):
        safetensors.torch.save_file({key: weights.like(key, tensor) for key, tensor in shard.items()}, folder / name)
        print(folder / name, flush=True)
    if len(shards) > 1:
        index = {"metadata": {}, "weight_map": {key: name for shard, name in zip(shards, names) for key in shard}}
        (folder / f"{stem}.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")


def flux_dev(folder, weights, only):
    encoder = "DownEncoderBlock2D", "UpDecoderBlock2D"
    makers = {
        "text_encoder": ("model", lambda: transformers.CLIPTextModel(transformers.CLIPTextConfig(
            vocab_size=49408, hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12,
            max_position_embeddings=77, hidden_act="quick_gelu", projection_dim=768, bos_token_id=49406, eos_token_id=49407))),
        "text_encoder_2": ("model", lambda: transformers.T5EncoderModel(transformers.T5Config(
            vocab_size=32128, d_model=4096, d_kv=64, d_ff=10240, num_layers=24, num_heads=64, feed_forward_proj="gated-gelu",
            tie_word_embeddings=False, is_encoder_decoder=False))),
        "transformer": ("diffusion_pytorch_model", lambda: diffusers.FluxTransformer2DModel(guidance_embeds=True)),
        "vae": ("diffusion_pytorch_model", lambda: diffusers.AutoencoderKL(
            block_out_channels=(128, 256, 512, 512), layers_per_block=2, latent_channels=16, sample_size=1024,
            down_block_types=encoder[:1] * 4, up_block_types=encoder[1:] * 4, scaling_factor=0.3611, shift_factor=0.1159,
            use_quant_conv=False, use_post_quant_conv=False))}
    index = json.loads((ROOT / "models/emoji-flux/model_index.json").read_text())
    for name, (stem, make) in makers.items():
        if only not in (None, name):
            index[name] = [None, None]
            continue
        (folder / name).mkdir(parents=True, exist_ok=True)
        write_model(folder / name, make, stem, weights)
    shutil.copytree(TOKENIZER, folder / "tokenizer", dirs_exist_ok=True)
    shutil.copytree(ROOT / "models/emoji-flux/tokenizer_2", folder / "tokenizer_2", dirs_exist_ok=True)
    shutil.copytree(ROOT / "models/emoji-flux/scheduler", folder / "scheduler", dirs_exist_ok=True)
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")


def flux_small(folder, weights):
    """The built-in FLUX model with a transformer of 12 blocks that take some tens of milliseconds each on a core."""
    shutil.copytree(ROOT / "models/emoji-flux", folder, dirs_exist_ok=True)
    shutil.rmtree(folder / "transformer")
    (folder / "transformer").mkdir()
    config = json.loads((ROOT / "models/emoji-flux/transformer/config.json").read_text())
    small = {key: config[key] for key in ("in_channels", "joint_attention_dim", "pooled_projection_dim", "guidance_embeds")}
    write_model(folder / "transformer", lambda: diffusers.FluxTransformer2DModel(
        **small, num_layers=4, num_single_layers=8, num_attention_heads=8, attention_head_dim=64, axes_dims_rope=(8, 28, 28)),
        "diffusion_pytorch_model", weights)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="sd15", choices=["sd15", "flux-dev", "flux-small"])
    parser.add_argument("--dtype", default="float32", choices=["float32", "float16", "bfloat16"])
    parser.add_argument("--only", metavar="COMPONENT", help="of flux-dev: the weights of one component, as transformer")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.only and arguments.model != "flux-dev":
        parser.error("--only is for flux-dev")
    torch.manual_seed(arguments.seed)
    dtype = getattr(torch, arguments.dtype)
    if arguments.model == "flux-dev":
        flux_dev(arguments.folder, RandomWeights(dtype), arguments.only)
    elif arguments.model == "flux-small":
        flux_small(arguments.folder, RandomWeights(dtype))
    else:
        stable_diffusion_15().to(dtype=dtype).save_pretrained(arguments.folder)


if __name__ == "__main__":
    main()
