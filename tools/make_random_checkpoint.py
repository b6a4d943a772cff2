#!/usr/bin/env python3
"""Writes a full-size checkpoint with random weights: for measuring speed and memory, where only sizes count.

    python3 -m venv ref && ref/bin/pip install torch==2.11.0 diffusers==0.42.1 transformers==5.23.0 safetensors
    ref/bin/python tools/make_random_checkpoint.py --dtype float32 /tmp/sd15-float32
    ref/bin/python tools/make_random_checkpoint.py --model sdxl --dtype float16 /tmp/sdxl               # 7 GB
    ref/bin/python tools/make_random_checkpoint.py --model flux-dev --dtype bfloat16 /tmp/flux-dev    # 34 GB
    ref/bin/python tools/make_random_checkpoint.py --model flux-small /tmp/flux-small                 # 0.3 GB, of FLUX's form

The configs are those of stable-diffusion-v1-5, stable-diffusion-xl-base-1.0 and FLUX.1-dev; CLIP's tokenizer is its own, from tests/data, T5's that of
models/emoji-flux. SDXL and FLUX are written file by file, each below 4 GiB: they need not fit in memory. FLUX needs no
diffusers.
"""
import argparse
import json
import shutil
from pathlib import Path

import safetensors.torch
import torch
import transformers

ROOT = Path(__file__).parent.parent
TOKENIZER = ROOT / "tests/data/clip_tokenizer"
SHARD_BYTES = 4 << 30
DOWN, UP = "CrossAttnDownBlock2D", "CrossAttnUpBlock2D"


def stable_diffusion_15():
    import diffusers
    encoder = "DownEncoderBlock2D", "UpDecoderBlock2D"
    return diffusers.StableDiffusionPipeline(
        tokenizer=transformers.CLIPTokenizer.from_pretrained(TOKENIZER),
        text_encoder=clip_l(),
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


def write_model(folder, config, shapes, stem, weights):
    """`shapes`: of each tensor by its name."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    shards, size = [{}], 0
    for name, shape in shapes.items():
        tensor = torch.empty(shape, device="meta")
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


def clip_l():
    return transformers.CLIPTextModel(transformers.CLIPTextConfig(
        vocab_size=49408, hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12,
        max_position_embeddings=77, hidden_act="quick_gelu", projection_dim=768, bos_token_id=49406, eos_token_id=49407))


def diffusers_model(make):
    """Config and shapes of a model of diffusers."""
    with torch.device("meta"):
        model = make()
    config = {"_class_name": type(model).__name__, **{k: v for k, v in model.config.items() if not k.startswith("_")}}
    return config, {name: list(tensor.shape) for name, tensor in model.state_dict().items()}


def text_encoder(make):
    """Config and shapes of a model of transformers."""
    with torch.device("meta"):
        model = make()
    config = {**model.config.to_dict(), "architectures": [type(model).__name__]}
    shapes = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    shapes.pop("encoder.embed_tokens.weight", None)  # T5's table under its second name
    return json.loads(json.dumps(config, default=str)), shapes


def transformer(layers, single_layers, heads, head_dim, joint_dim, pooled_dim, axes, guidance):
    config = {"_class_name": "FluxTransformer2DModel", "attention_head_dim": head_dim, "axes_dims_rope": axes,
              "guidance_embeds": guidance, "in_channels": 64, "joint_attention_dim": joint_dim, "num_attention_heads": heads,
              "num_layers": layers, "num_single_layers": single_layers, "patch_size": 1, "pooled_projection_dim": pooled_dim}
    width, shapes = heads * head_dim, {}

    def linear(name, inputs, outputs):
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = [outputs, inputs], [outputs]

    linear("x_embedder", 64, width)
    linear("context_embedder", joint_dim, width)
    for name, inputs in ("timestep", 256), ("text", pooled_dim), *([("guidance", 256)] if guidance else []):
        linear(f"time_text_embed.{name}_embedder.linear_1", inputs, width)
        linear(f"time_text_embed.{name}_embedder.linear_2", width, width)
    for i in range(layers):
        block = f"transformer_blocks.{i}"
        for norm in "norm1", "norm1_context":
            linear(f"{block}.{norm}.linear", width, 6 * width)
        for name in "to_q", "to_k", "to_v", "add_q_proj", "add_k_proj", "add_v_proj", "to_out.0", "to_add_out":
            linear(f"{block}.attn.{name}", width, width)
        for name in "norm_q", "norm_k", "norm_added_q", "norm_added_k":
            shapes[f"{block}.attn.{name}.weight"] = [head_dim]
        for name in "ff", "ff_context":
            linear(f"{block}.{name}.net.0.proj", width, 4 * width)
            linear(f"{block}.{name}.net.2", 4 * width, width)
    for i in range(single_layers):
        block = f"single_transformer_blocks.{i}"
        linear(f"{block}.norm.linear", width, 3 * width)
        linear(f"{block}.proj_mlp", width, 4 * width)
        linear(f"{block}.proj_out", 5 * width, width)
        for name in "to_q", "to_k", "to_v":
            linear(f"{block}.attn.{name}", width, width)
        for name in "norm_q", "norm_k":
            shapes[f"{block}.attn.{name}.weight"] = [head_dim]
    linear("norm_out.linear", width, 2 * width)
    linear("proj_out", width, 64)
    return config, shapes


def vae(widths, layers, latent_channels, sample_size):
    config = {"_class_name": "AutoencoderKL", "act_fn": "silu", "block_out_channels": widths,
              "down_block_types": ["DownEncoderBlock2D"] * len(widths), "up_block_types": ["UpDecoderBlock2D"] * len(widths),
              "in_channels": 3, "out_channels": 3, "latent_channels": latent_channels, "layers_per_block": layers,
              "norm_num_groups": 32, "sample_size": sample_size, "scaling_factor": 0.3611, "shift_factor": 0.1159,
              "use_quant_conv": False, "use_post_quant_conv": False}
    shapes = {}

    def layer(name, shape):
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = shape, shape[:1]

    def conv(name, inputs, outputs, size=3):
        layer(name, [outputs, inputs, size, size])

    def resnet(name, inputs, outputs):
        layer(f"{name}.norm1", [inputs])
        conv(f"{name}.conv1", inputs, outputs)
        layer(f"{name}.norm2", [outputs])
        conv(f"{name}.conv2", outputs, outputs)
        if inputs != outputs:
            conv(f"{name}.conv_shortcut", inputs, outputs, size=1)

    def half(name, first, blocks, count, sampler, inputs, outputs):
        widest = widths[-1]
        conv(f"{name}.conv_in", inputs, first)
        for i, width in enumerate(blocks):
            block = f"{name}.{'down' if name == 'encoder' else 'up'}_blocks.{i}"
            for j in range(count):
                resnet(f"{block}.resnets.{j}", (blocks[i - 1] if i else first) if j == 0 else width, width)
            if i + 1 < len(blocks):
                conv(f"{block}.{sampler}.0.conv", width, width)
        for i in range(2):
            resnet(f"{name}.mid_block.resnets.{i}", widest, widest)
        layer(f"{name}.mid_block.attentions.0.group_norm", [widest])
        for part in "to_q", "to_k", "to_v", "to_out.0":
            layer(f"{name}.mid_block.attentions.0.{part}", [widest, widest])
        layer(f"{name}.conv_norm_out", [blocks[-1]])
        conv(f"{name}.conv_out", blocks[-1], outputs)

    half("encoder", widths[0], widths, layers, "downsamplers", 3, 2 * latent_channels)
    half("decoder", widths[-1], widths[::-1], layers + 1, "upsamplers", latent_channels, 3)
    return config, shapes


def flux_dev(folder, weights, only):
    makers = {
        "text_encoder": ("model", lambda: text_encoder(clip_l)),
        "text_encoder_2": ("model", lambda: text_encoder(lambda: transformers.T5EncoderModel(transformers.T5Config(
            vocab_size=32128, d_model=4096, d_kv=64, d_ff=10240, num_layers=24, num_heads=64, feed_forward_proj="gated-gelu",
            tie_word_embeddings=False, is_encoder_decoder=False)))),
        "transformer": ("diffusion_pytorch_model", lambda: transformer(19, 38, 24, 128, 4096, 768, [16, 56, 56], True)),
        "vae": ("diffusion_pytorch_model", lambda: vae([128, 256, 512, 512], 2, 16, 1024))}
    index = json.loads((ROOT / "models/emoji-flux/model_index.json").read_text())
    for name, (stem, make) in makers.items():
        if only not in (None, name):
            index[name] = [None, None]
            continue
        write_model(folder / name, *make(), stem, weights)
    shutil.copytree(TOKENIZER, folder / "tokenizer", dirs_exist_ok=True)
    shutil.copytree(ROOT / "models/emoji-flux/tokenizer_2", folder / "tokenizer_2", dirs_exist_ok=True)
    shutil.copytree(ROOT / "models/emoji-flux/scheduler", folder / "scheduler", dirs_exist_ok=True)
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")


def sdxl(folder, weights):
    import diffusers
    encoder = "DownEncoderBlock2D", "UpDecoderBlock2D"
    makers = {
        "text_encoder": ("transformers", "model", lambda: text_encoder(clip_l)),
        "text_encoder_2": ("transformers", "model", lambda: text_encoder(
            lambda: transformers.CLIPTextModelWithProjection(transformers.CLIPTextConfig(
                vocab_size=49408, hidden_size=1280, intermediate_size=5120, num_hidden_layers=32, num_attention_heads=20,
                max_position_embeddings=77, hidden_act="gelu", projection_dim=1280, bos_token_id=49406, eos_token_id=49407)))),
        "unet": ("diffusers", "diffusion_pytorch_model", lambda: diffusers_model(lambda: diffusers.UNet2DConditionModel(
            sample_size=128, cross_attention_dim=2048, attention_head_dim=[5, 10, 20], layers_per_block=2,
            block_out_channels=[320, 640, 1280], transformer_layers_per_block=[1, 2, 10], use_linear_projection=True,
            addition_embed_type="text_time", addition_time_embed_dim=256, projection_class_embeddings_input_dim=2816,
            down_block_types=["DownBlock2D", DOWN, DOWN], up_block_types=[UP, UP, "UpBlock2D"]))),
        "vae": ("diffusers", "diffusion_pytorch_model", lambda: diffusers_model(lambda: diffusers.AutoencoderKL(
            block_out_channels=[128, 256, 512, 512], layers_per_block=2, latent_channels=4, sample_size=1024,
            down_block_types=encoder[:1] * 4, up_block_types=encoder[1:] * 4, scaling_factor=0.13025, force_upcast=True)))}
    index = {"_class_name": "StableDiffusionXLPipeline", "force_zeros_for_empty_prompt": True,
             "scheduler": ["diffusers", "EulerDiscreteScheduler"]}
    for name, (library, stem, make) in makers.items():
        config, shapes = make()
        index[name] = [library, config.get("_class_name") or config["architectures"][0]]
        write_model(folder / name, config, shapes, stem, weights)
    for name in "tokenizer", "tokenizer_2":
        shutil.copytree(TOKENIZER, folder / name, dirs_exist_ok=True)
        index[name] = ["transformers", "CLIPTokenizer"]
    (folder / "scheduler").mkdir(exist_ok=True)
    (folder / "scheduler/scheduler_config.json").write_text(json.dumps(
        {"_class_name": "EulerDiscreteScheduler", "beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012,
         "steps_offset": 1, "timestep_spacing": "leading"}, indent=2) + "\n")
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")


def flux_small(folder, weights):
    """The built-in FLUX model with a transformer of 12 blocks that take some tens of milliseconds each on a core."""
    shutil.copytree(ROOT / "models/emoji-flux", folder, dirs_exist_ok=True)
    shutil.rmtree(folder / "transformer")
    config = json.loads((ROOT / "models/emoji-flux/transformer/config.json").read_text())
    write_model(folder / "transformer",
                *transformer(4, 8, 8, 64, config["joint_attention_dim"], config["pooled_projection_dim"], [8, 28, 28],
                             config["guidance_embeds"]),
                "diffusion_pytorch_model", weights)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="sd15", choices=["sd15", "sdxl", "flux-dev", "flux-small"])
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
    elif arguments.model == "sdxl":
        sdxl(arguments.folder, RandomWeights(dtype))
    elif arguments.model == "flux-small":
        flux_small(arguments.folder, RandomWeights(dtype))
    else:
        stable_diffusion_15().to(dtype=dtype).save_pretrained(arguments.folder)


if __name__ == "__main__":
    main()
