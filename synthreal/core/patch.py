"""Random patches: R and D are local, so they can learn on crops and refine whole images.

The losses are means over patches of the discriminator's map and over pixels, so a crop weighs as much as an image, and
lambda keeps its meaning. What changes is the share of pixels that see padding: those nearer to a border than half R's
receptive field. Patches should be well above it, or R replicate its borders.
"""

from __future__ import annotations

import torch
from torch import Tensor

from synthreal.distributed.processes import SINGLE_PROCESS, Processes


def random_patches(
    images: Tensor, side: int, generator: torch.Generator, processes: Processes = SINGLE_PROCESS
) -> Tensor:
    """One square crop of each image, every place equally likely: ``(B, C, H, W) -> (B, C, side, side)``.

    Args:
        images: ``(B, C, H, W)``, both sides at least ``side``.
        side: in px.
        generator: of the places, on the images' device.
        processes: those of the run. Each draws the places of the whole mini-batch, from generators in the same state,
            and takes its own.
    """
    count, _, height, width = images.shape
    unit = torch.rand((2, count * processes.size, 1), generator=generator, device=images.device)[
        :, processes.rows(count)
    ]
    along = torch.arange(side, device=images.device)
    row = (unit[0] * (height - side + 1)).long() + along
    column = (unit[1] * (width - side + 1)).long() + along
    image = torch.arange(count, device=images.device)[:, None, None]
    return images[image, :, row[:, :, None], column[:, None, :]].permute(0, 3, 1, 2)
