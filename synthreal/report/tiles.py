"""Images of a page as data URLs: sheets as they are, tiles enlarged, differences in false colour on one scale."""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from synthreal.report.drift import Drifted
from synthreal.train.contact_sheet import pixels_of

SHARP = 200  # px of a tile's longer side at least, so that it is crisp on dense screens
HEAT = ((0, 0, 4), (81, 18, 124), (183, 55, 121), (252, 137, 97), (252, 253, 191))
STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
MOST, LEAST = 40, 6  # sheets on the slider
SHEET_BYTES = 3 << 20


@dataclass(frozen=True)
class Tile:
    """One image before and after, and what changed.

    Attributes:
        row: its number among the simulated images.
        value: how far it moved, with unit.
        pictures: (what it is, data URL) of simulated, refined and difference.
    """

    row: int
    value: str
    pictures: tuple[tuple[str, str], ...]


def scale_of(drifted: Drifted) -> float:
    """The difference at which false colour ends: one scale for all tiles, which 1 % of their pixels may exceed."""
    rows = list(drifted.worst + drifted.best)
    values = _difference(drifted, rows).flatten().numpy()
    high = float(np.quantile(values, 0.99))
    return next((step for step in STEPS if step >= high), 1.0)


def tiles(drifted: Drifted, rows: Sequence[int], *, scale: float, colormap: str | None) -> list[Tile]:
    """The tiles of some rows.

    Args:
        drifted: the images.
        rows: which of them, in this order.
        scale: from :func:`scale_of`.
        colormap: of the domain, for simulated and refined images.
    """
    found = []
    for row in rows:
        before, after = (
            pixels_of(images[row][None], colormap=colormap)[0] for images in (drifted.simulated, drifted.refined)
        )
        heat = _heat((_difference(drifted, [row])[0] / scale).clamp(0, 1).numpy())
        pictures = zip(("simulated", "refined", "difference"), map(_url, (before, after, heat)), strict=True)
        value = amount(float(drifted.by[row]), drifted.unit)
        found.append(Tile(row, value, tuple(pictures)))
    return found


def amount(value: float, unit: str) -> str:
    """How far an image moved, as people read it."""
    return f"{value:.2f} {unit}" if unit else f"{value:.3f}"


def heat_css() -> str:
    """The false colours as the stops of a CSS gradient."""
    return ", ".join(f"rgb({red} {green} {blue})" for red, green, blue in HEAT)


def chosen_sheets(sheets: Sequence[tuple[int, Path]]) -> list[tuple[int, Path]]:
    """The sheets a page holds, evenly spaced with the first and the last: 40, fewer of large ones, 6 at least."""
    if not sheets:
        return []
    mean = sum(path.stat().st_size for _, path in sheets) / len(sheets)
    most = min(MOST, max(LEAST, int(SHEET_BYTES / max(1, mean))))
    if len(sheets) <= most:
        return list(sheets)
    return [sheets[round(i * (len(sheets) - 1) / (most - 1))] for i in range(most)]


def data_url(png: bytes) -> str:
    """A PNG file in the page itself."""
    return f"data:image/png;base64,{b64encode(png).decode('ascii')}"


def _difference(drifted: Drifted, rows: Sequence[int]) -> Tensor:
    """|R(x) - x|, the mean over channels: ``(len(rows), H, W)``."""
    return (drifted.refined[list(rows)] - drifted.simulated[list(rows)]).abs().mean(1)


def _heat(share: np.ndarray) -> np.ndarray:
    places = np.linspace(0, 1, len(HEAT))
    channels = [np.interp(share, places, [stop[c] for stop in HEAT]) for c in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def _url(pixels: np.ndarray) -> str:
    height, width = pixels.shape[:2]
    times = max(1, math.ceil(SHARP / max(height, width)))
    picture = Image.fromarray(pixels).resize((width * times, height * times), Image.Resampling.NEAREST)
    file = BytesIO()
    picture.save(file, format="PNG", optimize=True)
    return data_url(file.getvalue())
