"""Overlapping tiles that refine a large image without seams.

A refined pixel depends on the input within half the receptive field around it. Every tile is therefore refined with
that margin on each side and cropped, which removes all pixels that the padding of a layer has reached. At the border of
the image a tile has no margin, so the network pads it there as it pads the whole image.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from synthreal.errors import UserError


@dataclass(frozen=True)
class Tile:
    """Rows and columns of one tile.

    Attributes:
        window: the part of the image to refine, with margins.
        core: the part of the image without margins.
        core_in_window: the same part within the window.
    """

    window: tuple[slice, slice]
    core: tuple[slice, slice]
    core_in_window: tuple[slice, slice]


def tiles(height: int, width: int, *, side: int, margin: int) -> Iterator[Tile]:
    """Tiles of a ``height`` x ``width`` px image, row by row; every pixel lies in one core.

    Args:
        height: height of the image in px.
        width: width of the image in px.
        side: maximal side of a core in px; cores are nearly equal in size.
        margin: px refined around a core; at least half the receptive field.
    """
    for row in _cuts(height, side, margin):
        for column in _cuts(width, side, margin):
            window, core, core_in_window = zip(row, column, strict=True)
            yield Tile(window, core, core_in_window)


def margin_of(refiner: nn.Module) -> int:
    """The margin of tiles in px: half of ``refiner.receptive_field``, rounded up.

    A network with this attribute must also be equivariant to shifts (no strides).

    Raises:
        UserError: the network has no such attribute.
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
