#!/usr/bin/env python3
"""Draws what computed, was read and was waited for when, as an SVG, from a trace that DIFFRACT_TRACE made:

    DIFFRACT_TRACE=trace.json diffract generate --device-map auto --max-memory cpu=6GB ...
    tools/draw_timeline.py trace.json timeline.svg [--from SECONDS --to SECONDS] [--title TEXT]

or what the host asked of a GPU and what the GPU did, kernel by kernel, from a profiler's trace (bench/cuda_steps):

    tools/draw_timeline.py unet.json.gz docs/images/cuda_steps.svg --title "Four steps of ..."
"""
import argparse
import gzip
import html
import json
import re
from pathlib import Path

WIDTH, LEFT, ROW, TOP = 960, 130, 44, 56
KINDS = {"compute": "#2b6cb0", "read": "#c05621", "copy": "#2f855a", "wait": "#a0aec0",
         "launch": "#4a5568", "host wait": "#e53e3e", "product": "#2b6cb0", "attention": "#805ad5",
         "convolution": "#2f855a", "norm": "#c05621", "other kernel": "#a0aec0"}
WORDS = {"compute": "computes", "read": "read from disk", "copy": "copied from CPU memory", "wait": "waits for weights",
         "launch": "calls", "host wait": "waits for the GPU", "product": "products", "attention": "attention",
         "convolution": "convolutions", "norm": "norms", "other kernel": "the rest"}
# Kernels by what their names contain, the first that fits.
KERNELS = [("attention", "fmha|flash|sdpa|attention"), ("norm", "norm"), ("convolution", "conv|fprop|nhwc|implicit"),
           ("product", "gemm|nvjet|cutlass|splitk|xmma")]
HOST_WAITS = ("Synchronize", "cudaMemcpy")  # as a whole name the latter: cudaMemcpyAsync does not wait


def lane_of(event):
    """Computing by its device, waiting beside it, reading and copying in a lane each."""
    kind = event["cat"]
    if "gpu lane" in event:
        return event["gpu lane"]
    if kind == "compute":
        return (0, f"computes on {event['args']['lane']}")
    return {"wait": (1, "waits"), "copy": (2, "copies"), "read": (3, "disk reads")}[kind]


def shade(color, place):
    """Neighbours in two shades, so that blocks can be told apart."""
    return color if place % 2 == 0 else "#" + "".join(f"{min(255, int(color[i:i + 2], 16) + 40):02x}" for i in (1, 3, 5))


def short(name):
    return name.replace("single_transformer_blocks.", "single ").replace("transformer_blocks.", "block ")


def kind_of_kernel(name):
    lower = name.lower()
    return next((kind for kind, pattern in KERNELS if re.search(pattern, lower)), "other kernel")


def gpu_events(chrome_events):
    """A profiler's events as this program draws them: the host's calls in a lane, each kind of kernel in one. Neighbours
    in a lane that half a pixel parts are one box, with the name of what took longest in it."""
    timed = sorted((e for e in chrome_events if "dur" in e), key=lambda e: e["ts"])
    calls = [e for e in timed if e.get("cat") in ("cuda_runtime", "cuda_driver", "kernel", "gpu_memcpy", "gpu_memset")]
    gap = (max(e["ts"] + e["dur"] for e in calls) - calls[0]["ts"]) / WIDTH / 2
    found, last_of = [], {}
    for event in calls:
        name, kind = event["name"], event.get("cat")
        if kind in ("cuda_runtime", "cuda_driver"):
            waits = name.endswith(HOST_WAITS)
            new = {"cat": "host wait" if waits else "launch", "gpu lane": (0, "host")}
        else:
            kernel = kind_of_kernel(name) if kind == "kernel" else "other kernel"
            new = {"cat": kernel, "gpu lane": (1 + list(KINDS).index(kernel), WORDS[kernel])}
        new |= {"name": name[:60], "ts": event["ts"], "dur": event["dur"], "longest": event["dur"]}
        last = last_of.get(new["gpu lane"])
        if last and last["cat"] == new["cat"] and new["ts"] - (last["ts"] + last["dur"]) < gap:
            last["dur"] = max(last["dur"], new["ts"] + new["dur"] - last["ts"])
            if new["longest"] > last["longest"]:
                last |= {"longest": new["longest"], "name": new["name"]}
        else:
            found.append(new)
            last_of[new["gpu lane"]] = new
    first = min(e["ts"] for e in found)
    return [e | {"ts": e["ts"] - first} for e in found]


def load_events(file):
    text = gzip.open(file, "rt").read() if file.suffix == ".gz" else file.read_text()
    events = json.loads(text)
    return gpu_events(events["traceEvents"]) if isinstance(events, dict) else events


def draw(events, begin, end, title):
    lanes = sorted({lane_of(event) for event in events})
    scale = (WIDTH - LEFT - 20) / (end - begin)
    height = TOP + ROW * len(lanes) + 64
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif" font-size="12">',
           f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
           f'<text x="16" y="26" font-size="15">{html.escape(title)}</text>']
    for row, lane in enumerate(lanes):
        y = TOP + ROW * row
        out.append(f'<text x="16" y="{y + 20}">{html.escape(lane[1])}</text>')
        place = 0
        for event in sorted((e for e in events if lane_of(e) == lane), key=lambda e: e["ts"]):
            first, last = max(event["ts"], begin), min(event["ts"] + event["dur"], end)
            width = (last - first) * scale
            if width < 0.3:
                continue
            color = shade(KINDS[event["cat"]], 0 if "gpu lane" in event else place)
            place += 1
            x = LEFT + (first - begin) * scale
            out.append(f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{ROW - 14}" fill="{color}">'
                       f'<title>{html.escape(event["name"])}: {event["dur"] / 1000:.3g} ms</title></rect>')
            if "gpu lane" not in event and width > 7 * len(short(event["name"])):
                out.append(f'<text x="{x + 4:.1f}" y="{y + 20}" fill="white">{html.escape(short(event["name"]))}</text>')
    y = TOP + ROW * len(lanes) + 8
    out.append(f'<line x1="{LEFT}" y1="{y}" x2="{WIDTH - 20}" y2="{y}" stroke="black"/>')
    for i in range(6):
        x, passed = LEFT + (WIDTH - LEFT - 20) * i / 5, (end - begin) * i / 5
        label = f"{passed / 1e6:.2f} s" if end - begin > 1e6 else f"{passed / 1e3:.1f} ms"
        out.append(f'<text x="{x:.0f}" y="{y + 16}" text-anchor="middle">{label}</text>')
    x = LEFT
    for kind in [k for k in KINDS if any(e["cat"] == k for e in events)]:
        out.append(f'<rect x="{x}" y="{y + 28}" width="12" height="12" fill="{KINDS[kind]}"/>'
                   f'<text x="{x + 18}" y="{y + 39}">{WORDS[kind]}</text>')
        x += 190 if len(WORDS[kind]) > 12 else 110
    return "\n".join(out + ["</svg>"]) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trace", type=Path)
    parser.add_argument("svg", type=Path)
    parser.add_argument("--from", dest="begin", type=float, default=0.0, help="seconds from the trace's begin")
    parser.add_argument("--to", dest="end", type=float)
    parser.add_argument("--title", default="What computes, what is read, what waits")
    arguments = parser.parse_args()
    events = load_events(arguments.trace)
    begin = arguments.begin * 1e6
    end = arguments.end * 1e6 if arguments.end else max(e["ts"] + e["dur"] for e in events)
    shown = [e for e in events if e["ts"] < end and e["ts"] + e["dur"] > begin and e["cat"] in KINDS]
    if not shown:
        parser.error("nothing happened in that time")
    arguments.svg.write_text(draw(shown, begin, end, arguments.title))


if __name__ == "__main__":
    main()
