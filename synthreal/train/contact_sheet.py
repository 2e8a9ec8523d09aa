"""Images for display: single PNGs, and contact sheets of captioned rows."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from synthreal.files import atomic_write

_GAP = 3
_CAPTION = 92  # minimum width of the caption column, px
_TARGET = 112  # desired size of the longer side of an image on the sheet, px


def contact_sheet(rows: Sequence[tuple[str, Tensor]], *, colormap: str | None = None) -> Image.Image:
    """An RGB picture of captioned rows of images ``(N, C, H, W)`` in [0, 1], enlarged by an integer factor.

    All rows share ``(C, H, W)``; the colormap "viridis" shows a single channel in false colour, on the [0, 1] scale.
    """
    height, width = rows[0][1].shape[-2:]
    scale = max(1, round(_TARGET / max(height, width)))
    columns = max(images.shape[0] for _, images in rows)
    cell_h, cell_w = height * scale + _GAP, width * scale + _GAP
    font = ImageFont.load_default(size=14)
    left = max(_CAPTION, *(round(font.getlength(caption)) + 14 for caption, _ in rows))
    sheet = Image.new("RGB", (left + columns * cell_w, len(rows) * cell_h + _GAP), "white")
    pen = ImageDraw.Draw(sheet)
    for row, (caption, images) in enumerate(rows):
        pen.text((6, _GAP + row * cell_h + cell_h // 2 - 10), caption, fill="black", font=font)
        for column, pixels in enumerate(pixels_of(images, colormap=colormap)):
            picture = Image.fromarray(pixels).resize((width * scale, height * scale), Image.Resampling.NEAREST)
            sheet.paste(picture, (left + column * cell_w, _GAP + row * cell_h))
    return sheet


def save_sheet(path: Path, rows: Sequence[tuple[str, Tensor]], *, colormap: str | None = None) -> None:
    """Write a contact sheet as PNG, atomically."""
    with atomic_write(path) as partial:
        contact_sheet(rows, colormap=colormap).save(partial, format="PNG")


def png(image: Tensor, *, colormap: str | None = None) -> bytes:
    """One image ``(C, H, W)`` in [0, 1] as an RGB PNG, uncompressed and without metadata.

    Images of equal shape give files of equal size, so that only the pixels distinguish them.
    """
    file = BytesIO()
    Image.fromarray(pixels_of(image[None], colormap=colormap)[0]).save(file, format="PNG", compress_level=0)
    return file.getvalue()


def pixels_of(images: Tensor, *, colormap: str | None = None) -> np.ndarray:
    """Images ``(N, C, H, W)`` in [0, 1] as RGB ``(N, H, W, 3)`` uint8.

    Of two channels the first is shown as grey, of four the first three as RGB.
    """
    levels = (images.detach().float().clamp(0, 1) * 255).round().byte().cpu().permute(0, 2, 3, 1).numpy()
    channels = levels.shape[-1]
    if channels == 1 and colormap is not None:
        return np.asarray(_PALETTES[colormap][levels[..., 0]])
    return np.asarray(levels[..., :3] if channels >= 3 else levels[..., :1].repeat(3, axis=-1))


def _gradient(stops: Sequence[tuple[int, int, int]]) -> np.ndarray:
    places = np.linspace(0, 255, len(stops))
    channels = [np.interp(np.arange(256), places, [stop[c] for stop in stops]) for c in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


_PALETTES = {
    "viridis": _gradient([(68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)]),
}
