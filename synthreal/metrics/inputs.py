"""What every measure asks of its sets of images, and how it walks through them in bounded memory."""

from __future__ import annotations

import torch
from torch import Tensor

from synthreal.errors import UserError

PART_VALUES = 1 << 22


def check_images(who: str, *sets: Tensor, least: int, side: int = 1) -> None:
    """Refuse what ``who`` cannot measure.

    Args:
        who: the function that asks, named in the message.
        sets: images ``(N, C, H, W)`` float32, of one size and on one device; N may differ.
        least: the fewest images a set may hold.
        side: the fewest px of height and width.

    Raises:
        UserError: anything else.
    """
    for images in sets:
        if images.ndim != 4 or images.dtype != torch.float32:
            given = f"{images.dtype} {list(images.shape)}"
            raise UserError(f"{who}: takes float32 images (N, C, H, W) in [0, 1], given {given}")
    shapes = " and ".join(str(list(images.shape)) for images in sets)
    if len({images.shape[1:] for images in sets}) > 1:
        raise UserError(f"{who}: given {shapes}; give images of one size")
    if len({images.device for images in sets}) > 1:
        raise UserError(f"{who}: given images on {' and '.join(str(images.device) for images in sets)}; use one device")
    if any(len(images) < least for images in sets):
        raise UserError(f"{who}: given {shapes}; give at least {least} images in each set")
    if min(sets[0].shape[2:]) < side:
        raise UserError(f"{who}: given {shapes}; give images of at least {side}x{side} px")


def parts(images: Tensor, maps: int = 16) -> tuple[Tensor, ...]:
    """Images ``(N, C, H, W)`` in order, in parts small enough that ``maps`` maps of their size take 16 MiB."""
    values = maps * images.shape[2] * images.shape[3]
    cut: tuple[Tensor, ...] = images.split(max(1, PART_VALUES // max(1, values)))
    return cut
