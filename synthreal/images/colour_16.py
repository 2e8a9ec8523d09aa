"""Colour of 16 bits, which Pillow reduces to 8: OpenCV decodes it, and encodes it as PNG."""

from __future__ import annotations

import numpy as np
from PIL import Image

_REVERSED = [2, 1, 0, 3]  # OpenCV's order of channels: blue, green, red, alpha


def read_colour_16(opened: Image.Image) -> np.ndarray:
    """16-bit colour as ``(C, H, W)`` uint16: red, green, blue, alpha; of grey with alpha, the grey three times.

    Raises ``ValueError`` if OpenCV does not read the file.
    """
    import cv2

    content = opened.fp.getvalue()  # type: ignore[attr-defined]
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # the error says enough
    try:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    finally:
        cv2.utils.logging.setLogLevel(level)
    if pixels is None or pixels.dtype != np.uint16 or pixels.shape[2:] not in ((3,), (4,)):
        raise ValueError("16-bit pixels that OpenCV does not read; save it as a plain 16-bit PNG")
    planes = pixels[..., _REVERSED[: pixels.shape[2]]].transpose(2, 0, 1)
    return planes if opened.mode in ("LA", "RGBA") else planes[:3]


def png_16(pixels: np.ndarray) -> bytes:
    """Colour ``(H, W, C)`` uint16, with alpha or without, as a PNG."""
    import cv2

    done, content = cv2.imencode(".png", pixels[..., _REVERSED[: pixels.shape[-1]]])
    if not done:
        raise ValueError("OpenCV does not write 16-bit colour as PNG")
    return bytes(content)
