#!/usr/bin/env python3
"""Draws which block of a model is where, from what `diffract plan --json` prints, as an SVG file.

    diffract plan --model DIR --device-map auto --max-memory 0=16GB,1=16GB --json | tools/draw_device_map.py OUT.svg [TITLE]

One column a device, as high as its budget: blocks from the bottom in the model's order, then what is kept free for layers in
transit and for computing. A device without a budget is as high as what is on it.
"""
import json
import sys
from xml.sax.saxutils import escape

COLUMN, GAP, HEIGHT, LEFT, TOP = 150, 60, 420, 70, 70
COLOURS = ["#4477aa", "#66ccee", "#228833", "#ccbb44", "#ee6677", "#aa3377", "#997700", "#bbbbbb"]
INK, PAPER, RESERVED, TRANSIT = "#222222", "#ffffff", "#dddddd", "#f4d6a0"


def size(count):
    for unit, text in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= unit:
            return f"{count / unit:.2f} {text}"
    return f"{count} B"


def group_of(name):
    """transformer_blocks.3 and its like are one colour, and so are the layers around the blocks."""
    parts = name.split(".")
    numbers = [i for i, part in enumerate(parts) if part.isdigit()]
    return ".".join(parts[: numbers[0]]) if numbers else "other layers"


class Drawing:
    def __init__(self):
        self.lines = []

    def box(self, x, y, width, height, fill, title="", stroke=PAPER, dash=""):
        tip = f"<title>{escape(title)}</title>" if title else ""
        self.lines.append(f'<rect x="{x:.1f}" y="{y:.2f}" width="{width:.1f}" height="{height:.2f}" fill="{fill}" '
                          f'stroke="{stroke}" stroke-width="0.7"{dash}>{tip}</rect>')

    def text(self, x, y, text, anchor="middle", weight="normal", size_px=13):
        self.lines.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}" '
                          f'font-size="{size_px}">{escape(text)}</text>')

    def svg(self, width, height):
        return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
                f'viewBox="0 0 {width} {height}" font-family="sans-serif" fill="{INK}">\n'
                f'<rect width="{width}" height="{height}" fill="{PAPER}"/>\n' + "\n".join(self.lines) + "\n</svg>\n")


def draw(plan, title):
    drawing = Drawing()
    # Pipelines in stages use a device again and again; the picture is of the stage with the most blocks.
    memory = plan["memory"]
    names = list(memory)
    blocks = {name: [b for b in plan["blocks"] if str(b["place"]) == name] for name in names}
    groups = list(dict.fromkeys(group_of(b["name"]) for b in plan["blocks"]))
    colours = {group: COLOURS[i % len(COLOURS)] for i, group in enumerate(groups)}
    tops = {n: max(memory[n]["budget"] or 0, memory[n]["weights"] + memory[n]["working"] + memory[n]["staging"])
            for n in names}
    used_tops = {n: tops[n] if blocks[n] or n.isdigit() else 0 for n in names}
    names = [n for n in names if used_tops[n]]
    # A large budget of which little is used would make everything else small.
    scale_to = max(min(tops[n], 1.6 * max(1, memory[n]["weights"])) if not n.isdigit() else tops[n] for n in names)
    drawing.text(LEFT, 30, title, anchor="start", weight="bold", size_px=16)
    for i, name in enumerate(names):
        entry, x, y = memory[name], LEFT + i * (COLUMN + GAP), TOP + HEIGHT
        full = min(tops[name], scale_to) / scale_to * HEIGHT
        for block in blocks[name]:
            height = block["bytes"] / scale_to * HEIGHT
            y -= height
            drawing.box(x, y, COLUMN, height, colours[group_of(block["name"])],
                        f'{block["name"]}: {size(block["bytes"])}')
        for key, fill, label in (("staging", TRANSIT, "layers in transit"), ("working", RESERVED, "computing")):
            height = entry[key] / scale_to * HEIGHT
            if height:
                y -= height
                drawing.box(x, y, COLUMN, height, fill, f"{label}: {size(entry[key])}")
        if entry["budget"] is not None:
            drawing.box(x, TOP + HEIGHT - full, COLUMN, full, "none", stroke=INK)
        label = f"device {name}" if name.isdigit() else name
        drawing.text(x + COLUMN / 2, TOP + HEIGHT + 20, label, weight="bold")
        drawing.text(x + COLUMN / 2, TOP + HEIGHT + 38, f'{size(entry["weights"])}, {len(blocks[name])} blocks')
        budget = "no limit" if entry["budget"] is None else "of " + size(entry["budget"])
        drawing.text(x + COLUMN / 2, TOP + HEIGHT + 55, budget)
    x = LEFT + len(names) * (COLUMN + GAP)
    legend = [(colours[group], group) for group in groups] + [(TRANSIT, "layers in transit"), (RESERVED, "computing")]
    for i, (fill, label) in enumerate(legend):
        drawing.box(x, TOP + 24 * i, 16, 16, fill)
        drawing.text(x + 24, TOP + 24 * i + 13, label, anchor="start")
    return drawing.svg(x + 260, TOP + HEIGHT + 80)


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    picture = draw(json.load(sys.stdin), sys.argv[2] if len(sys.argv) == 3 else "")
    with open(sys.argv[1], "w", encoding="utf-8") as out:
        out.write(picture)


if __name__ == "__main__":
    main()
