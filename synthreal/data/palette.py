"""True colours back into a palette of 256: exactly where there are few enough, by median cut otherwise."""

from __future__ import annotations

import numpy as np
from PIL import Image

_ENTRIES = 256


def with_palette(colour: np.ndarray, alpha: np.ndarray | None) -> tuple[Image.Image, bytes | None]:
    """An image of mode P, and the opacity of each of its entries (None without alpha).

    Opacity is kept exactly: pixels of different opacity share no entry. Where entries are too few for all colours, an
    opacity has the more of them the more pixels have it.

    Args:
        colour: ``(H, W, 3)`` uint8.
        alpha: ``(H, W)`` uint8, or None.
    """
    height, width = colour.shape[:2]
    index = np.empty((height, width), np.uint8)
    entries: list[np.ndarray] = []
    opacity: list[int] = []
    levels = [255] if alpha is None else np.unique(alpha).tolist()
    places = [np.full((height, width), True) if alpha is None else alpha == level for level in levels]
    packed = _packed(colour)
    exact = sum(len(np.unique(packed[where])) for where in places) <= _ENTRIES
    for level, where in zip(levels, places, strict=True):
        chosen = colour[where]
        share = 1 + (_ENTRIES - len(levels)) * len(chosen) // (height * width)
        found, place = _few(chosen, _ENTRIES if exact else share)
        index[where] = place + sum(map(len, entries))
        entries.append(found)
        opacity += [level] * len(found)
    image = Image.frombytes("P", (width, height), index.tobytes())
    image.putpalette(np.concatenate(entries).tobytes())
    return image, None if alpha is None else bytes(opacity)


def _few(colours: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """At most ``most`` colours ``(K, 3)`` for ``(N, 3)``, and which of them each becomes ``(N,)``."""
    levels, place = np.unique(_packed(colours), return_inverse=True)
    if len(levels) <= most:
        return np.stack([levels >> 16, levels >> 8 & 255, levels & 255], axis=1).astype(np.uint8), place
    cut = Image.fromarray(colours[None]).quantize(most, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    place = np.asarray(cut)[0].astype(np.int64)
    found = np.array(cut.getpalette(), np.uint8).reshape(-1, 3)[: place.max() + 1]
    return found, place


def _packed(colours: np.ndarray) -> np.ndarray:
    """Colours ``(..., 3)`` uint8 as numbers ``(...)``."""
    return np.asarray(colours.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32))
