"""Images of the page as data URLs: contact sheets, and examples of refined images with their difference."""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from synthreal.report.drift import RefinedImages
from synthreal.train.contact_sheet import pixels_of

HEAT = "magma"  # matplotlib's colormap of differences
SHARP_PX = 200  # the longer side of an example is enlarged to at least this
SCALES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
MOST_SHEETS, FEWEST_SHEETS = 40, 6
SHEETS_BYTES = 3 << 20


@dataclass(frozen=True)
class Example:
    """An image and how far refining moved it; captions and data URLs of its three pictures."""

    row: int
    value: str
    pictures: tuple[tuple[str, str], ...]


def difference_scale(images: RefinedImages, rows: Sequence[int]) -> float:
    """The difference at which the colormap ends, common to all examples; 1 % of their pixels may exceed it."""
    high = np.quantile(_difference(images, rows).numpy(), 0.99)
    return next((scale for scale in SCALES if scale >= high), 1.0)


def draw_examples(images: RefinedImages, rows: Sequence[int], *, scale: float, colormap: str | None) -> list[Example]:
    """Examples of some rows: simulated, refined and difference; ``colormap`` is that of the domain."""
    from matplotlib import colormaps

    examples = []
    for row in rows:
        pair = (pixels_of(found[row][None], colormap=colormap)[0] for found in (images.simulated, images.refined))
        heat = colormaps[HEAT](_difference(images, [row])[0].numpy() / scale, bytes=True)[..., :3]
        pictures = zip(("simulated", "refined", "difference"), map(_url, (*pair, heat)), strict=True)
        examples.append(Example(row, amount_text(float(images.distance[row]), images.unit), tuple(pictures)))
    return examples


def amount_text(value: float, unit: str) -> str:
    """How far an image moved: 1.23 px, or 0.123 without a unit."""
    return f"{value:.2f} {unit}" if unit else f"{value:.3f}"


def heat_gradient() -> str:
    """The colormap of differences as the colours of a CSS gradient."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return ", ".join(map(to_hex, colormaps[HEAT](np.linspace(0, 1, 8))))


def select_sheets(sheets: Sequence[tuple[int, Path]]) -> list[tuple[int, Path]]:
    """Evenly spaced sheets, with the first and the last: 40 at most, fewer of large files, but at least 6."""
    if not sheets:
        return []
    mean = sum(path.stat().st_size for _, path in sheets) / len(sheets)
    count = min(len(sheets), MOST_SHEETS, max(FEWEST_SHEETS, int(SHEETS_BYTES / mean)))
    return [sheets[i] for i in np.linspace(0, len(sheets) - 1, count).round().astype(int)]


def data_url(kind: str, content: bytes) -> str:
    """An image file as a data URL; ``kind`` is "png" or "svg+xml"."""
    return f"data:image/{kind};base64,{b64encode(content).decode('ascii')}"


def _difference(images: RefinedImages, rows: Sequence[int]) -> Tensor:
    """|R(x) - x|, averaged over channels: ``(len(rows), H, W)``."""
    return (images.refined[list(rows)] - images.simulated[list(rows)]).abs().mean(1)


def _url(pixels: np.ndarray[Any, Any]) -> str:
    height, width = pixels.shape[:2]
    factor = max(1, math.ceil(SHARP_PX / max(height, width)))
    file = BytesIO()
    Image.fromarray(pixels).resize((width * factor, height * factor), Image.Resampling.NEAREST).save(file, "PNG")
    return data_url("png", file.getvalue())
