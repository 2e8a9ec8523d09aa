"""Overlapping tiles of a large image, whose seams cannot be seen because there are none.

A refined pixel depends on the input within half the receptive field around it. A tile is therefore refined with that
margin on every side and cropped: what a layer pads at a cut never reaches the pixels that are kept. Where a tile ends
at the image's own border there is no margin, so there the network pads as it pads the whole image, in any mode.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from synthreal.errors import UserError


@dataclass(frozen=True)
class Tile:
    """One tile: rows and columns of the image to refine, those to keep, and where these lie within the refined."""

    window: tuple[slice, slice]
    kept: tuple[slice, slice]
    inside: tuple[slice, slice]


def tiles(height: int, width: int, *, side: int, margin: int) -> Iterator[Tile]:
    """Tiles that together keep every pixel of a ``height`` x ``width`` image once, row by row.

    Args:
        height: of the image in px.
        width: of the image in px.
        side: px a tile keeps at most along either direction; tiles are of nearly equal size.
        margin: px around the kept ones that are refined with them; at least half the receptive field.
    """
    for row in _cuts(height, side, margin):
        for column in _cuts(width, side, margin):
            window, kept, inside = zip(row, column, strict=True)
            yield Tile(window, kept, inside)


def margin_of(refiner: nn.Module) -> int:
    """Px around a pixel that can change what it is refined to: half of ``refiner.receptive_field``, rounded up.

    So neighbouring tiles overlap by at least the receptive field.

    A network that has this attribute promises also that shifting an image shifts the result (no strides).

    Raises:
        UserError: the network does not say its receptive field.
    """
    field = getattr(refiner, "receptive_field", None)
    if not isinstance(field, int):
        raise UserError(
            f"the refiner {type(refiner).__name__} has no attribute `receptive_field`, so its tiles would show seams; "
            "give it one, or refine whole images with --tile none"
        )
    return (field + 1) // 2


def _cuts(length: int, side: int, margin: int) -> Iterator[tuple[slice, slice, slice]]:
    count = -(-length // side)
    each = -(-length // count)
    for start in range(0, length, each):
        stop = min(start + each, length)
        low, high = max(0, start - margin), min(length, stop + margin)
        yield slice(low, high), slice(start, stop), slice(start - low, stop - low)
