"""Image files by Pillow, and TIFF and PNG files written byte for byte to compare decoders with the standards."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from itertools import product
from typing import Any

import numpy as np
from PIL import Image


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    """The file that Pillow writes."""
    target = BytesIO()
    image.save(target, form, **options)
    return target.getvalue()


def packed(samples: np.ndarray, bits: int, order: str = ">") -> bytes:
    """Rows ``(H, N)`` of samples of 1 to 64 bits; each row starts at a byte."""
    if bits in (8, 16, 32, 64):
        return samples.astype(f"{order}u{bits // 8}").tobytes()
    digits = (samples[..., None].astype(np.int64) >> np.arange(bits)[::-1]) & 1
    return np.packbits(digits.reshape(len(samples), -1).astype(np.uint8), axis=1).tobytes()


def tiff_file(
    samples: np.ndarray,
    bits: int = 8,
    meaning: int | None = 1,
    *,
    order: str = "<",
    big: bool = False,
    planes: bool = False,
    compression: int = 1,
    predictor: int = 1,
    fill: int = 1,
    tile: int | None = None,
    rows: int | None = None,
    text: bytes = b"",
    **tags: tuple[int, ...],
) -> bytes:
    """A TIFF of samples ``(H, W, C)`` with a description ``text``; ``tags`` are SHORTs by number: ``t339=(2,)``."""
    height, width, channels = samples.shape
    parts = [samples[..., c : c + 1] for c in range(channels)] if planes else [samples]
    blocks = []
    for part in parts:
        if tile:
            part = np.pad(part, ((0, -height % tile), (0, -width % tile), (0, 0)))
            corners = product(range(0, len(part), tile), range(0, part.shape[1], tile))
            blocks += [part[y : y + tile, x : x + tile] for y, x in corners]
        else:
            blocks += [part[y : y + (rows or height)] for y in range(0, height, rows or height)]
    contents = []
    for block in blocks:
        if predictor == 2:
            block = np.diff(block.astype(np.int64), axis=1, prepend=0) % (1 << bits)
        content = packed(block.reshape(len(block), -1), bits, order)
        if compression == 8:
            content = zlib.compress(content)
        elif compression == 32773:  # PackBits, literally
            runs = [content[i : i + 128] for i in range(0, len(content), 128)]
            content = b"".join(bytes([len(run) - 1]) + run for run in runs)
        if fill == 2:  # the lowest bit of a byte comes first
            content = bytes(int(f"{byte:08b}"[::-1], 2) for byte in content)
        contents.append(content)
    found = {256: (4, [width]), 257: (4, [height]), 258: (3, [bits] * channels), 259: (3, [compression])}
    found |= {277: (3, [channels]), 284: (3, [2 if planes else 1])}
    if meaning is not None:
        found[262] = (3, [meaning])
    if text:
        found[270] = (2, list(text))
    if predictor != 1:
        found[317] = (3, [predictor])
    if fill != 1:
        found[266] = (3, [fill])
    place, size = (325, 324) if tile else (279, 273)
    found[place] = (4, [len(content) for content in contents])
    found |= {322: (3, [tile]), 323: (3, [tile])} if tile else {278: (4, [rows or height])}
    found |= {int(name[1:]): (3, list(values)) for name, values in tags.items()}
    word, entry, head = ("Q", 20, 16) if big else ("I", 12, 8)
    values = head + (8 if big else 2) + entry * (len(found) + 1) + (8 if big else 4)
    sizes = {kind: struct.calcsize(order + code) for kind, code in ((2, "B"), (3, "H"), (4, "I"))}
    long = sum(sizes[kind] * len(numbers) for kind, numbers in found.values()) + 4 * len(contents)
    starts = values + long + 8 + np.cumsum([0, *(len(content) for content in contents)])[:-1]
    found[size] = (4, starts.tolist())
    directory, extra = b"", b""
    for tag, (kind, numbers) in sorted(found.items()):
        raw = struct.pack(f"{order}{len(numbers)}{'BHI'[kind - 2]}", *numbers)
        directory += struct.pack(f"{order}HH{word}", tag, kind, len(numbers))
        if len(raw) <= (own := struct.calcsize(word)):
            directory += raw.ljust(own, b"\0")
        else:
            directory += struct.pack(order + word, values + len(extra))
            extra += raw
    start = (b"II" if order == "<" else b"MM") + (
        struct.pack(order + "HHHQ", 43, 8, 0, 16) if big else struct.pack(order + "HI", 42, 8)
    )
    count = struct.pack(order + ("Q" if big else "H"), len(found))
    content = start + count + directory + bytes(8 if big else 4) + extra
    return content.ljust(int(starts[0]), b"\0") + b"".join(contents)


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_file(
    samples: np.ndarray, bits: int = 8, kind: int = 0, *more: bytes, size: tuple[int, int] | None = None
) -> bytes:
    """A PNG of samples ``(H, W, C)`` and colour type ``kind``; ``more`` chunks stand before the pixels."""
    height, width = size or samples.shape[:2]
    rows = packed(samples.reshape(len(samples), -1), bits)
    step = len(rows) // len(samples)
    body = zlib.compress(b"".join(b"\0" + rows[i : i + step] for i in range(0, len(rows), step)))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(more) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
