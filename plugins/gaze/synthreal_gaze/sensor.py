"""Batched JPEG quantisation and histogram equalisation."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

BLOCK = 8
LUMINANCE = (  # ITU-T T.81, table K.1
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)


@functools.lru_cache(maxsize=8)
def _transform(size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Matrices from pixels to block coefficients ``(8, S, size)`` and back ``(8, size, S)``, one per grid offset."""
    k, i = torch.arange(BLOCK)[:, None], torch.arange(BLOCK)[None, :]
    dct = torch.cos(math.pi * (2 * i + 1) * k / (2 * BLOCK)) / 2
    dct[0] /= math.sqrt(2)
    blocks = math.ceil((size + BLOCK - 1) / BLOCK)
    whole = torch.block_diag(*[dct] * blocks)
    place = torch.arange(blocks * BLOCK)[None, :] - torch.arange(BLOCK)[:, None]
    extend = torch.nn.functional.one_hot(place.clamp(0, size - 1), size).float()
    keep = torch.nn.functional.one_hot(torch.arange(size) + torch.arange(BLOCK)[:, None], blocks * BLOCK).float()
    return (whole @ extend).to(device), (keep @ whole.T).to(device)


@functools.lru_cache(maxsize=8)
def _steps(down: int, across: int, device: torch.device) -> Tensor:
    """The luminance table tiled over the blocks: ``(8 down, 8 across)``."""
    return torch.tensor(LUMINANCE, dtype=torch.float32).repeat(down, across).to(device)


def jpeg(image: Tensor, coarseness: Tensor, offset: Tensor) -> Tensor:
    """Quantise the DCT coefficients of 8x8 blocks, as JPEG does. Edges are replicated.

    Args:
        image: ``(n, H, W)`` in [0, 1].
        coarseness: ``(n, 1, 1)``, factor on the standard luminance table; 1 is quality 50, 0.4 is quality 80.
        offset: ``(n, 2)`` integers 0 to 7, the offset of the block grid (a crop is not aligned to the grid).

    Returns:
        ``(n, H, W)``, not clamped.
    """
    rows, rows_back = _transform(image.shape[1], image.device)
    columns, columns_back = _transform(image.shape[2], image.device)
    down, across = offset.unbind(1)
    step = coarseness * _steps(rows.shape[1] // BLOCK, columns.shape[1] // BLOCK, image.device)
    coefficient = rows[down] @ (image * 255 - 128) @ columns[across].transpose(1, 2)
    coefficient = (coefficient / step).round() * step
    return (rows_back[down] @ coefficient @ columns_back[across].transpose(1, 2) + 128) / 255


def equalise(image: Tensor) -> Tensor:
    """Equalise the histogram of each image, as in MPIIGaze's crops: ``(n, H, W)`` in [0, 1] to the same, in 8 bits.

    The result is that of OpenCV's ``equalizeHist``, which made those crops, to the bit: a level becomes the share of
    pixels that are not brighter, the darkest becomes 0, and an image of one level is unchanged. kornia's ``equalize``
    has another formula, with up to 69 of 255 levels of difference on simulated eyes, and is no faster.
    """
    pixels = image[0].numel()
    level = (image.clamp(0, 1) * 255).round().long().flatten(1)
    ones = torch.ones_like(level, dtype=torch.float32)
    count = torch.zeros(len(image), 256, device=image.device).scatter_add_(1, level, ones)
    below = count.cumsum(1)
    darkest = torch.where(count > 0, below, float(pixels)).amin(1, keepdim=True)
    scale = torch.full_like(darkest, 255.0) / (pixels - darkest)  # 255.0 / tensor would round twice
    table = ((below - darkest) * scale).round()
    return torch.where(darkest < pixels, table.gather(1, level), level).div(255).view(image.shape)
