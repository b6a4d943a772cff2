#!/usr/bin/env python3
"""Writes tests/data/placement: what accelerate, diffusers and transformers say of models, for the planner's tests.

    python3 -m venv ref && ref/bin/pip install torch==2.11.0 accelerate==1.15.0 diffusers==0.42.1 transformers==5.23.0
    ref/bin/python tools/make_placement_cases.py tests/data/placement

module_trees.json: [{config, modules: [[name, class], ...] in the order of named_modules, tensors: [[name, elements,
dtype], ...], total}] for small models of every class, with each option that changes the tree.
random_models.json: [{tree, tied, no_split, memory, strategy, dtype, fallback, device_map | error}] for random models: what
infer_auto_device_map gives after get_balanced_memory. A tree is [name, class, [[tensor, elements, is_buffer], ...],
[children]]. Names never hold each other, for accelerate looks for them as substrings.
"""
import json
import logging
import random
import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)
import diffusers
import torch
import transformers
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from accelerate import infer_auto_device_map, init_empty_weights
from accelerate.utils import compute_module_sizes, get_balanced_memory

OUT = Path(sys.argv[1])
FLUX = dict(num_layers=2, num_single_layers=3, attention_head_dim=16, num_attention_heads=2, joint_attention_dim=32,
            pooled_projection_dim=32, in_channels=16, axes_dims_rope=[4, 6, 6])
UNET = dict(sample_size=16, block_out_channels=[16, 32], norm_num_groups=8, cross_attention_dim=32, attention_head_dim=2,
            layers_per_block=1, down_block_types=["CrossAttnDownBlock2D", "DownBlock2D"],
            up_block_types=["UpBlock2D", "CrossAttnUpBlock2D"])
CONTROLNET = {key: value for key, value in UNET.items() if key not in ("sample_size", "up_block_types")}
CONTROLNET |= dict(conditioning_embedding_out_channels=[8, 8, 16, 16])
VAE = dict(block_out_channels=[16, 32], norm_num_groups=8, layers_per_block=1, latent_channels=4,
           down_block_types=["DownEncoderBlock2D"] * 2, up_block_types=["UpDecoderBlock2D"] * 2)
T5 = dict(d_model=32, d_ff=64, d_kv=8, num_heads=4, num_layers=2, vocab_size=99)
CLIP = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, vocab_size=99)
VISION = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, image_size=28, patch_size=8)
MODELS = [
    ("FluxTransformer2DModel", dict(FLUX, guidance_embeds=True)),
    ("FluxTransformer2DModel", dict(FLUX, guidance_embeds=False)),
    ("FluxTransformer2DModel", dict(FLUX, num_layers=0)),
    ("UNet2DConditionModel", UNET),
    ("UNet2DConditionModel", dict(UNET, use_linear_projection=True, layers_per_block=2, transformer_layers_per_block=[1, 2])),
    ("UNet2DConditionModel", dict(UNET, use_linear_projection=True, transformer_layers_per_block=[1, 3],
                                  addition_embed_type="text_time", addition_time_embed_dim=8,
                                  projection_class_embeddings_input_dim=80)),
    ("UNet2DConditionModel", dict(UNET, mid_block_type="UNetMidBlock2D", layers_per_block=2, transformer_layers_per_block=[[1, 0], 1],
                                  reverse_transformer_layers_per_block=[1, [2, 0, 1]])),
    ("ControlNetModel", CONTROLNET),
    ("ControlNetModel", dict(CONTROLNET, use_linear_projection=True, transformer_layers_per_block=[1, 3],
                             addition_embed_type="text_time", addition_time_embed_dim=8,
                             projection_class_embeddings_input_dim=80)),
    ("AutoencoderKL", VAE),
    ("AutoencoderKL", dict(VAE, use_quant_conv=False, use_post_quant_conv=False)),
    ("AutoencoderKL", dict(VAE, mid_block_add_attention=False)),
    ("T5EncoderModel", dict(T5, feed_forward_proj="gated-gelu")),
    ("T5EncoderModel", dict(T5, feed_forward_proj="relu")),
    ("CLIPTextModel", CLIP),
    ("CLIPTextModelWithProjection", dict(CLIP, projection_dim=24)),
    ("CLIPVisionModelWithProjection", dict(VISION, projection_dim=24)),
    ("StableDiffusionSafetyChecker", dict(text_config=CLIP, vision_config=VISION, projection_dim=24)),
]


def build(name, config):
    with init_empty_weights():
        if hasattr(diffusers, name):
            model = getattr(diffusers, name)(**config)
            return model, {"_class_name": name, **{k: v for k, v in model.config.items() if not k.startswith("_")}}
        if name == "StableDiffusionSafetyChecker":
            c = transformers.CLIPConfig(**config)
            return StableDiffusionSafetyChecker(c), {**c.to_dict(), "architectures": [name]}
        config_class = {"T5EncoderModel": "T5Config", "CLIPTextModel": "CLIPTextConfig",
                        "CLIPTextModelWithProjection": "CLIPTextConfig",
                        "CLIPVisionModelWithProjection": "CLIPVisionConfig"}[name]
        c = getattr(transformers, config_class)(**config)
        model = getattr(transformers, name)(c)
    model.tie_weights()
    return model, {**c.to_dict(), "architectures": [name]}


def module_trees():
    trees = []
    for name, config in MODELS:
        model, full = build(name, config)
        trees.append(dict(
            config=json.loads(json.dumps(full, default=str)),
            modules=[[n, type(m).__name__] for n, m in model.named_modules()],
            tensors=[[n, t.numel(), str(t.dtype).removeprefix("torch.")]
                     for n, t in [*model.named_parameters(remove_duplicate=False), *model.named_buffers()]],
            no_split=sorted(model._no_split_modules or []),
            total=int(compute_module_sizes(model)[""])))
    return trees


class Block(torch.nn.Module):
    pass


class Stack(torch.nn.Module):
    pass


class Leaf(torch.nn.Module):
    pass


def random_model(rng, counter, depth=0):
    def name(letter):
        counter[0] += 1
        return f"{letter}{counter[0]:03d}"

    is_leaf = depth == 3 or (depth > 0 and rng.random() < 0.35)
    module = Leaf() if is_leaf else (Block() if depth and rng.random() < 0.4 else Stack())
    for _ in range(rng.choice([1, 1, 2, 2, 3]) if is_leaf else rng.choice([0, 0, 0, 1])):
        module.register_parameter(name("p"), torch.nn.Parameter(torch.empty(rng.randint(1, 300), device="meta")))
    if is_leaf and rng.random() < 0.2:  # a buffer beside children is lost by accelerate
        module.register_buffer(name("b"), torch.empty(rng.randint(1, 50), device="meta"))
    if is_leaf and rng.random() < 0.05:
        for key in list(module._parameters):
            del module._parameters[key]  # a layer without tensors
    for _ in range(0 if is_leaf else rng.randint(1, 4)):
        module.add_module(name("m"), random_model(rng, counter, depth + 1))
    return module


def tie(rng, model):
    owners = [(m, n) for m in model.modules() for n in m._parameters]
    if len(owners) < 2:
        return []
    (a, first), (b, second) = rng.sample(owners, 2)
    b._parameters[second] = a._parameters[first]
    names = {}
    for n, p in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(p), []).append(n)
    return [group for group in names.values() if len(group) > 1]


def tree_of(name, m):
    tensors = [[n, p.numel(), False] for n, p in m._parameters.items()] + [[n, b.numel(), True] for n, b in m._buffers.items()]
    return [name, type(m).__name__, tensors, [tree_of(n, c) for n, c in m.named_children()]]


def random_models(count, seed):
    rng = random.Random(seed)
    cases = []
    while len(cases) < count:
        model = random_model(rng, [0])
        fallback = rng.random() < 0.3
        tied = [] if fallback or rng.random() < 0.6 else tie(rng, model)
        dtype = rng.choice([None, "float16"])
        options = dict(no_split_module_classes=rng.choice([[], ["Block"]]), dtype=dtype and getattr(torch, dtype))
        total = compute_module_sizes(model, dtype=options["dtype"])[""]
        devices = rng.choice([0, 1, 2, 2, 3, 4])
        share = rng.choice([0.3, 0.7, 0.95, 1.1, 1.5, 2.5])
        memory = {g: int(total * share / devices * rng.uniform(0.5, 1.5)) for g in range(devices)}
        if rng.random() < 0.7 or not devices:
            memory["cpu"] = int(total * rng.choice([0.1, 0.4, 1.5]))
        strategy = rng.choice(["auto", "balanced_low_0", "sequential"])
        case = dict(tree=tree_of("", model), tied=tied, no_split=options["no_split_module_classes"], dtype=dtype,
                    memory=[[k, v] for k, v in memory.items()], strategy=strategy, fallback=fallback)
        try:
            budget = dict(memory)
            if strategy != "sequential":
                budget = get_balanced_memory(model, max_memory=budget, low_zero=strategy == "balanced_low_0", **options)
            case["device_map"] = dict(infer_auto_device_map(model, max_memory=dict(budget), fallback_allocation=fallback, **options))
        except Exception as e:  # a defect of accelerate's, where diffract has an answer
            case["error"] = type(e).__name__
        cases.append(case)
    return cases


def write(name, cases):
    text = "[\n" + ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases) + "\n]\n"
    (OUT / name).write_text(text)
    print(name, len(cases), "cases,", sum("error" in c for c in cases), "errors,", len(text), "bytes")


write("module_trees.json", module_trees())
write("random_models.json", random_models(400, seed=0))
