"""The orientation that EXIF or a TIFF tag requests, and pictures turned as a viewer shows them."""

from __future__ import annotations

import struct
from io import BytesIO

import numpy as np
from PIL import Image, TiffImagePlugin

from synthreal.images import jpeg, png
from synthreal.images.tiff import TiffTags

TRANSPOSED = 5  # from here on height and width are exchanged
_FLIPPED = {2: (2,), 3: (1, 2), 4: (1,), 6: (2,), 7: (1, 2), 8: (1,)}  # axes of (C, H, W), after the exchange


def orientation(content: bytes) -> int:
    """The orientation of an image file, 1 to 8 as EXIF counts; 1, as stored, if it is missing or damaged."""
    block = content
    if content.startswith(png.SIGNATURE):
        block = png.exif(content)
    elif content.startswith(b"\xff\xd8\xff"):
        block = jpeg.exif(content)
    elif content[:4] == b"RIFF":
        with Image.open(BytesIO(content), formats=["WEBP"]) as opened:
            block = opened.info.get("exif", b"")
    block = block.removeprefix(b"Exif\0\0")
    if block[:4] not in TiffImagePlugin.PREFIXES:
        return 1
    try:
        return TiffTags(block).orientation
    except (ValueError, OverflowError, struct.error):
        return 1


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels ``(C, H, W)``, or ``(C, W, H)`` for orientations from 5 on, as a viewer shows them."""
    turned = pixels.transpose(0, 2, 1) if orientation >= TRANSPOSED else pixels
    return np.ascontiguousarray(np.flip(turned, _FLIPPED.get(orientation, ())))
