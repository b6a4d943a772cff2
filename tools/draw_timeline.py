#!/usr/bin/env python3
"""Draws what computed, was read and was waited for when, as an SVG, from a trace that DIFFRACT_TRACE made.

    DIFFRACT_TRACE=trace.json diffract generate --device-map auto --max-memory cpu=6GB ...
    tools/draw_timeline.py trace.json docs/images/placement_timeline.svg [--from SECONDS --to SECONDS] [--title TEXT]
"""
import argparse
import html
import json
from pathlib import Path

WIDTH, LEFT, ROW, TOP = 960, 130, 44, 56
KINDS = {"compute": "#2b6cb0", "read": "#c05621", "copy": "#2f855a", "wait": "#a0aec0"}
WORDS = {"compute": "computes", "read": "read from disk", "copy": "copied from CPU memory", "wait": "waits for weights"}


def lane_of(event):
    """Computing by its device, waiting beside it, reading and copying in a lane each."""
    kind = event["cat"]
    if kind == "compute":
        return (0, f"computes on {event['args']['lane']}")
    return {"wait": (1, "waits"), "copy": (2, "copies"), "read": (3, "disk reads")}[kind]


def shade(color, place):
    """Neighbours in two shades, so that blocks can be told apart."""
    return color if place % 2 == 0 else "#" + "".join(f"{min(255, int(color[i:i + 2], 16) + 40):02x}" for i in (1, 3, 5))


def short(name):
    return name.replace("single_transformer_blocks.", "single ").replace("transformer_blocks.", "block ")


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
            color = shade(KINDS[event["cat"]], place)
            place += 1
            x = LEFT + (first - begin) * scale
            out.append(f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{ROW - 14}" fill="{color}">'
                       f'<title>{html.escape(event["name"])}: {event["dur"] / 1000:.0f} ms</title></rect>')
            if width > 7 * len(short(event["name"])):
                out.append(f'<text x="{x + 4:.1f}" y="{y + 20}" fill="white">{html.escape(short(event["name"]))}</text>')
    y = TOP + ROW * len(lanes) + 8
    out.append(f'<line x1="{LEFT}" y1="{y}" x2="{WIDTH - 20}" y2="{y}" stroke="black"/>')
    for i in range(6):
        x, seconds = LEFT + (WIDTH - LEFT - 20) * i / 5, (end - begin) * i / 5 / 1e6
        out.append(f'<text x="{x:.0f}" y="{y + 16}" text-anchor="middle">{seconds:.2f} s</text>')
    x = LEFT
    for kind in [k for k in KINDS if any(e["cat"] == k for e in events)]:
        out.append(f'<rect x="{x}" y="{y + 28}" width="12" height="12" fill="{KINDS[kind]}"/>'
                   f'<text x="{x + 18}" y="{y + 39}">{WORDS[kind]}</text>')
        x += 190
    return "\n".join(out + ["</svg>"]) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trace", type=Path)
    parser.add_argument("svg", type=Path)
    parser.add_argument("--from", dest="begin", type=float, default=0.0, help="seconds from the trace's begin")
    parser.add_argument("--to", dest="end", type=float)
    parser.add_argument("--title", default="What computes, what is read, what waits")
    arguments = parser.parse_args()
    events = json.loads(arguments.trace.read_text())
    begin = arguments.begin * 1e6
    end = arguments.end * 1e6 if arguments.end else max(e["ts"] + e["dur"] for e in events)
    shown = [e for e in events if e["ts"] < end and e["ts"] + e["dur"] > begin and e["cat"] in KINDS]
    if not shown:
        parser.error("nothing happened in that time")
    arguments.svg.write_text(draw(shown, begin, end, arguments.title))


if __name__ == "__main__":
    main()
