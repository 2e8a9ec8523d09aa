"""Refining data sets in memory: every image in order, labels unchanged.

Noise maps are a function of (seed, index). Images are refined in index-aligned blocks of 256, and a partial last block
is padded with copies of its last image, because rounding depends on the batch size. A refined image therefore depends
only on the image, its index and the seed.
"""

from __future__ import annotations

import torch
from torch import Tensor

from synthreal.data.encoding import from_unit, to_unit
from synthreal.data.resident import Resident
from synthreal.inference.indexed import BLOCK, IndexedRefiner
from synthreal.inference.transform import Refine
from synthreal.spec import StoredDtype


def refine_block(transform: Refine, stored: Tensor, dtype: StoredDtype, *, start: int, seed: int) -> Tensor:
    """Refine a block of images ``(B, C, H, W)`` in stored dtype, B <= 256, with indices from ``start``."""
    refiner = IndexedRefiner(transform, seed=seed)
    index = torch.arange(start, start + len(stored))
    return from_unit(refiner(to_unit(stored.to(refiner.device)), index, full=BLOCK), dtype)


def refine_resident(transform: Refine, images: Resident, dtype: StoredDtype, *, seed: int = 0) -> Resident:
    """Refined images with the labels of the simulated ones."""
    refined = torch.empty_like(images.image)
    for start in range(0, len(images), BLOCK):
        rows = slice(start, start + BLOCK)
        refined[rows] = refine_block(transform, images.image[rows], dtype, start=start, seed=seed)
    return Resident(refined, images.labels)
