"""Validation of image sets, and iteration over them in bounded memory."""

from __future__ import annotations

import torch
from torch import Tensor

from synthreal.errors import UserError

PART_VALUES = 1 << 22


def check_images(who: str, *sets: Tensor, least: int, side: int = 1) -> None:
    """Raise unless all sets hold ``least`` float32 images ``(N, C, H, W)`` of one size, at least ``side`` px."""
    if any(images.ndim != 4 or images.dtype != torch.float32 for images in sets):
        remedy = "float32 images (N, C, H, W) in [0, 1]"
    elif len({images.shape[1:] for images in sets}) > 1:
        remedy = "images of one size"
    elif min(map(len, sets)) < least:
        remedy = f"at least {least} images in each set"
    elif min(sets[0].shape[2:]) < side:
        remedy = f"images of at least {side}x{side} px"
    else:
        return
    shapes = " and ".join(f"{images.dtype} {list(images.shape)}" for images in sets)
    raise UserError(f"{who}: given {shapes}; give {remedy}")


def parts(images: Tensor, maps: int = 16) -> tuple[Tensor, ...]:
    """Split images ``(N, C, H, W)`` so that ``maps`` float32 maps of a part take at most 16 MiB."""
    values = maps * images.shape[2] * images.shape[3]
    return tuple(images.split(max(1, PART_VALUES // max(1, values))))
