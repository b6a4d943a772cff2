#!/usr/bin/env python3
"""Makes tests/data/pictures: small PNG, JPEG and WebP files of many kinds, and beside each the RGB pixels that
diffusers.utils.load_image gives for it (NAME.rgb.png).

    python3 -m venv ref && ref/bin/pip install pillow numpy
    ref/bin/python tools/make_picture_cases.py tests/data/pictures
"""
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

W, H = 21, 13  # of neither 8 nor 16


def colours(channels=3, seed=0):
    """Smooth, so that JPEG does not spoil it, with some noise."""
    y, x = np.mgrid[0:H, 0:W]
    waves = [127 + 100 * np.sin(x / (3 + c) + y / (5 - c) + seed) for c in range(channels)]
    noise = np.random.default_rng(seed).integers(-12, 12, (H, W, channels))
    return np.clip(np.stack(waves, -1) + noise, 0, 255).astype(np.uint8)


def exif(orientation):
    return b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01" + struct.pack(">HH", orientation, 0) + b"\0\0\0\0"


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(rows, colour_type, depth, *more, behind=b"", interlace=0):
    header = struct.pack(">IIBBBBB", W, H, depth, colour_type, 0, 0, interlace)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(more) + chunk(b"IDAT", zlib.compress(rows, 9)) + behind + chunk(b"IEND", b"")


def lines(pixels):
    return b"".join(b"\0" + row.tobytes() for row in pixels)


def packed(values, depth):
    bits = np.unpackbits(values[..., None].astype(np.uint8), axis=-1)[..., 8 - depth:]
    return np.packbits(bits.reshape(values.shape[0], -1), axis=-1)


def interlaced(values, depth):
    """The seven passes of a picture of one sample a pixel."""
    out = b""
    for x0, y0, dx, dy in ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)):
        part = values[y0::dy, x0::dx]
        if part.size:
            out += lines(part if depth == 8 else packed(part, depth))
    return out


def files():
    grey, wide = colours(1)[..., 0], np.random.default_rng(3).integers(0, 65536, (H, W, 4)).astype(">u2")
    for depth in (1, 2, 4):
        yield f"grey{depth}.png", png(lines(packed(grey >> (8 - depth), depth)), 0, depth)
        yield f"palette{depth}.png", png(lines(packed(grey >> (8 - depth), depth)), 3, depth, chunk(b"PLTE", colours(3, 5)[0, :2**depth].tobytes()))
    yield "grey8.png", png(lines(grey), 0, 8)
    yield "grey8_transparent.png", png(lines(grey), 0, 8, chunk(b"tRNS", b"\0\x64"))
    yield "grey16.png", png(lines(wide[..., 0] >> 7), 0, 16)
    yield "grey_alpha8.png", png(lines(colours(2)), 4, 8)
    yield "grey_alpha16.png", png(lines(wide[..., :2]), 4, 16)
    yield "rgb8_transparent.png", png(lines(colours()), 2, 8, chunk(b"tRNS", b"\0\x64\0\x64\0\x64"))
    yield "rgb16.png", png(lines(wide[..., :3]), 2, 16)
    yield "rgba8.png", png(lines(colours(4)), 6, 8)
    yield "rgba16.png", png(lines(wide), 6, 16)
    table = chunk(b"PLTE", np.repeat(np.arange(256, dtype=np.uint8)[::-1], 3).tobytes()) + chunk(b"tRNS", bytes(range(200)))
    yield "palette8_transparent.png", png(lines(grey), 3, 8, table)
    yield "interlaced8.png", png(interlaced(grey, 8), 0, 8, interlace=1)
    yield "interlaced2.png", png(interlaced(grey >> 6, 2), 0, 2, interlace=1)
    yield "interlaced_palette4.png", png(interlaced(grey >> 4, 4), 3, 4, chunk(b"PLTE", colours(3, 5)[0, :16].tobytes()), interlace=1)
    yield "exif_behind.png", png(lines(colours()), 2, 8, behind=chunk(b"eXIf", exif(8)[6:]))
    xmp = b"XML:com.adobe.xmp\0\0\0\0\0<x tiff:Orientation=\"6\"/>"
    yield "xmp.png", png(lines(colours()), 2, 8, chunk(b"iTXt", xmp))
    for name, mode, options in (("rgb.jpg", "RGB", {}), ("rgb_444.jpg", "RGB", {"subsampling": 0}), ("rgb_422.jpg", "RGB", {"subsampling": 1}), ("progressive.jpg", "RGB", {"progressive": True}),
                                ("grey.jpg", "L", {}), ("cmyk.jpg", "CMYK", {}), ("lossy.webp", "RGB", {}), ("lossless.webp", "RGB", {"lossless": True}), ("lossless_alpha.webp", "RGBA", {"lossless": True, "exact": True}),
                                ("lossy_alpha.webp", "RGBA", {})):
        pixels = colours(len(mode) if mode != "L" else 1)
        yield name, (Image.fromarray(pixels.squeeze(), mode), {"quality": 90, **options})
    for orientation in range(1, 9):
        yield f"exif{orientation}.jpg", (Image.fromarray(colours()), {"quality": 95, "exif": exif(orientation)})
    yield "exif.webp", (Image.fromarray(colours()), {"lossless": True, "exif": exif(6)})
    frames = [Image.fromarray(colours(4, seed)) for seed in (1, 2)]
    yield "animated.webp", (frames[0], {"save_all": True, "append_images": frames[1:], "lossless": True})


def main():
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    for name, what in files():
        if isinstance(what, bytes):
            (out / name).write_bytes(what)
        else:
            what[0].save(out / name, **what[1])
        pixels = np.asarray(ImageOps.exif_transpose(Image.open(out / name)).convert("RGB"))
        Image.fromarray(pixels).save(out / f"{name}.rgb.png", optimize=True)  # without what the picture says beside its pixels
    print(len(list(out.iterdir())), "files,", sum(f.stat().st_size for f in out.iterdir()), "bytes")


if __name__ == "__main__":
    main()
