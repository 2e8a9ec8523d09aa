"""Refining resident sets: every image in order, labels untouched.

Noise maps are a function of (seed, index), and work is cut into index-aligned blocks of 256 images of which a last
partial one is filled up with copies of its last image: arithmetic rounds by batch size. So what becomes of an image is
a function of that image, its index and the seed alone, however many follow.
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
    """Refine images ``(B, C, H, W)`` in stored dtype, B <= 256, the first of which has index ``start``."""
    refiner = IndexedRefiner(transform, seed=seed)
    index = torch.arange(start, start + len(stored))
    return from_unit(refiner(to_unit(stored.to(refiner.device)), index, full=BLOCK), dtype)


def refine_resident(transform: Refine, images: Resident, dtype: StoredDtype, *, seed: int = 0) -> Resident:
    """The refined images with the labels of the simulated ones."""
    refined = torch.empty_like(images.image)
    for start in range(0, len(images), BLOCK):
        rows = slice(start, start + BLOCK)
        refined[rows] = refine_block(transform, images.image[rows], dtype, start=start, seed=seed)
    return Resident(refined, images.labels)
