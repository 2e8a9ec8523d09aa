"""Refining data sets in memory: every image in order, labels unchanged.

Noise maps and styles are a function of (seed, index, version). Images are refined in index-aligned blocks of 256, and a
partial last block is padded with copies of its last image, because rounding depends on the batch size. A refined image
therefore depends only on the image, its index, the seed and the version.
"""

from __future__ import annotations

import torch

from synthreal.data.encoding import from_unit, to_unit
from synthreal.data.resident import Resident
from synthreal.inference.indexed import BLOCK, IndexedRefiner
from synthreal.inference.transform import Refine
from synthreal.spec import StoredDtype


def refine_resident(
    transform: Refine, images: Resident, dtype: StoredDtype, *, seed: int = 0, version: int = 0
) -> Resident:
    """A version of the refined images, as ``synthreal refine --samples`` makes it, with the labels of the images."""
    refiner = IndexedRefiner(transform, seed=seed)
    index, refined = torch.arange(len(images)), torch.empty_like(images.image)
    for start in range(0, len(images), BLOCK):
        rows = slice(start, start + BLOCK)
        unit = to_unit(images.image[rows].to(refiner.device))
        refined[rows] = from_unit(refiner(unit, index[rows], full=BLOCK, version=version), dtype)
    return Resident(refined, images.labels)
