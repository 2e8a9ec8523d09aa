"""Random patches: R and D are local, so they can be trained on crops and applied to whole images.

The losses are means over patches of the discriminator's map and over pixels, so a crop weighs as much as an image and
lambda keeps its meaning. What changes is the share of pixels that see padding: those closer to a border than half the
receptive field of R. Patches should be much larger than that, or R should replicate its borders.
"""

from __future__ import annotations

import torch
from torch import Tensor


def random_patches(images: Tensor, side: int, generator: torch.Generator, *, rank: int = 0, size: int = 1) -> Tensor:
    """One square crop of each image, at a uniformly random place: ``(B, C, H, W) -> (B, C, side, side)``.

    Args:
        images: ``(B, C, H, W)``, both sides at least ``side``.
        side: in px.
        generator: draws the places; on the images' device.
        rank: of this process. Each process draws the places of the whole mini-batch, from generators in the same state,
            and takes its own.
        size: number of processes.
    """
    count, _, height, width = images.shape
    unit = torch.rand((2, count * size, 1), generator=generator, device=images.device)
    unit = unit[:, rank * count : (rank + 1) * count]
    along = torch.arange(side, device=images.device)
    row = (unit[0] * (height - side + 1)).long() + along
    column = (unit[1] * (width - side + 1)).long() + along
    image = torch.arange(count, device=images.device)[:, None, None]
    return images[image, :, row[:, :, None], column[:, None, :]].permute(0, 3, 1, 2)
