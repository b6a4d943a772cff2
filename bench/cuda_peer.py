#!/usr/bin/env python3
"""Times what bench/cuda_table.cpp times, in diffusers, with random weights made on the GPU:
  cuda_peer.py [--compile] [--only NAME,...]
Needs torch 2.11 with CUDA, diffusers 0.42.1 and transformers. Prints one JSON object a line."""
import argparse
import json
import time

import diffusers
import torch
import transformers

REPEATS = 10


def median(work):
    for _ in range(3):
        work()
    torch.cuda.synchronize()
    times = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        work()
        torch.cuda.synchronize()
        times.append(1e3 * (time.perf_counter() - begin))
    return sorted(times)[len(times) // 2]


def graphed(work):
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay


def build(make, dtype):
    with torch.device("meta"):
        model = make()
    model = model.to(dtype).to_empty(device="cuda").eval()
    for name, p in model.named_parameters():
        p.data.normal_(0, 0.02)
        if p.dim() == 1 and name.endswith("weight"):
            p.data.add_(1)
    for _, b in model.named_buffers():
        if b.is_floating_point():
            b.normal_()
    return model


def report(row, **values):
    print(json.dumps({"peer": row, **values, "peak_gib": round(torch.cuda.max_memory_allocated() / 2**30, 2)}), flush=True)
    torch.cuda.reset_peak_memory_stats()


def in_both_layouts(model, work):
    """Leaves the model channels-last."""
    values = {"eager_ms": median(work)}
    model.to(memory_format=torch.channels_last)
    values["channels_last_ms"] = median(work)
    values["channels_last_graph_ms"] = median(graphed(work))
    return values


def unet(args):
    model = build(lambda: diffusers.UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8), torch.half)
    for batch in (2, 16):
        x = torch.randn(batch, 4, 64, 64, device="cuda", dtype=torch.half)
        text = torch.randn(batch, 77, 768, device="cuda", dtype=torch.half)
        t = torch.tensor(500, device="cuda")
        work = lambda: model(x, t, encoder_hidden_states=text, return_dict=False)
        values = in_both_layouts(model, work)
        model.to(memory_format=torch.contiguous_format)
        if args.compile and batch == 2:
            begin = time.perf_counter()
            fast = torch.compile(model.to(memory_format=torch.channels_last), mode="max-autotune-no-cudagraphs" if args.autotune else "reduce-overhead", fullgraph=True)
            work = lambda: fast(x, t, encoder_hidden_states=text, return_dict=False)
            work()
            torch.cuda.synchronize()
            values["compiling_s"] = time.perf_counter() - begin
            values["compiled_ms"] = median(work)
            torch._dynamo.reset()
            model.to(memory_format=torch.contiguous_format)
        report(f"unet_{batch}", **values)


def unet_float32(row, products, convolutions):
    torch.backends.cuda.matmul.allow_tf32 = products
    torch.backends.cudnn.allow_tf32 = convolutions
    model = build(lambda: diffusers.UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8), torch.float)
    x = torch.randn(2, 4, 64, 64, device="cuda")
    text = torch.randn(2, 77, 768, device="cuda")
    t = torch.tensor(500, device="cuda")
    work = lambda: model(x, t, encoder_hidden_states=text, return_dict=False)
    report(row, **in_both_layouts(model, work))


def vae(row, dtype, shape, **config):
    blocks = dict(down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4,
                  block_out_channels=[128, 256, 512, 512], layers_per_block=2)
    model = build(lambda: diffusers.AutoencoderKL(**blocks, **config), dtype)
    x = torch.randn(*shape, device="cuda", dtype=dtype)
    work = lambda: model.decode(x, return_dict=False)
    values = {"eager_ms": median(work)}
    model.to(memory_format=torch.channels_last)
    values["channels_last_ms"] = median(work)
    report(row, **values)


def flux(args):
    model = build(lambda: diffusers.FluxTransformer2DModel(guidance_embeds=True), torch.bfloat16)
    tokens = 48 * 85
    new = lambda *shape: torch.randn(*shape, device="cuda", dtype=torch.bfloat16)
    inputs = dict(hidden_states=new(1, tokens, 64), encoder_hidden_states=new(1, 512, 4096), pooled_projections=new(1, 768),
                  timestep=torch.full((1,), 0.5, device="cuda", dtype=torch.bfloat16),
                  guidance=torch.full((1,), 3.5, device="cuda", dtype=torch.float32),
                  img_ids=torch.zeros(tokens, 3, device="cuda"), txt_ids=torch.zeros(512, 3, device="cuda"), return_dict=False)
    work = lambda: model(**inputs)
    values = {"eager_ms": median(work)}
    if args.compile:
        begin = time.perf_counter()
        model.compile_repeated_blocks(fullgraph=True)
        work()
        torch.cuda.synchronize()
        values["compiling_s"] = time.perf_counter() - begin
        values["regional_compile_ms"] = median(work)
    report("flux", **values)


def t5():
    config = transformers.T5Config(vocab_size=32128, d_model=4096, d_kv=64, d_ff=10240, num_layers=24, num_heads=64,
                                   feed_forward_proj="gated-gelu")
    model = build(lambda: transformers.T5EncoderModel(config), torch.bfloat16)
    ids = torch.randint(0, 32128, (1, 512), device="cuda")
    report("t5", eager_ms=median(lambda: model(ids)))


@torch.inference_mode()
def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--autotune", action="store_true")
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    print(json.dumps({"gpu": torch.cuda.get_device_name(), "torch": torch.__version__, "diffusers": diffusers.__version__,
                      "transformers": transformers.__version__}))
    rows = {"unet": lambda: unet(args),
            "unet_float32": lambda: unet_float32("unet_float32", False, False),
            "unet_tf32_convolutions": lambda: unet_float32("unet_tf32_convolutions", False, True),  # torch's default
            "unet_tf32": lambda: unet_float32("unet_tf32", True, True),
            "vae_512": lambda: vae("vae_512", torch.half, (1, 4, 64, 64), latent_channels=4),
            "flux": lambda: flux(args),
            "flux_vae": lambda: vae("flux_vae", torch.bfloat16, (1, 16, 96, 170), latent_channels=16, use_quant_conv=False,
                                    use_post_quant_conv=False),
            "t5": t5}
    for name, row in rows.items():
        if args.only and name not in args.only.split(","):
            continue
        try:
            row()
        except Exception as error:  # one row must not cost the others
            print(json.dumps({"peer": name, "error": str(error)[:500]}), flush=True)
        torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
