"""Overlapping tiles that refine a large image without seams.

A refined pixel depends on the input within half the receptive field around it. Every tile is therefore refined with
that margin on each side and cropped, which removes all pixels that the padding of a layer has reached. At the border of
the image a tile has no margin, so the network pads it there as it pads the whole image.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from synthreal.core.refiner import equal_slices
from synthreal.errors import UserError


@dataclass(frozen=True)
class Tile:
    """Rows and columns of one tile: ``window`` is refined, with margins; its ``core`` is used."""

    window: tuple[slice, slice]
    core: tuple[slice, slice]
    core_in_window: tuple[slice, slice]


def tiles(height: int, width: int, *, side: int, margin: int) -> Iterator[Tile]:
    """Tiles of a ``height`` x ``width`` px image, row by row; every pixel lies in one core.

    Cores are equal, except that those of the last row and column may be shorter. Their sides are at most ``side`` px;
    ``margin`` px around them are refined, too.
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
    for core in equal_slices(length, side):
        low, high = max(0, core.start - margin), min(length, core.stop + margin)
        yield slice(low, high), core, slice(core.start - low, core.stop - low)
