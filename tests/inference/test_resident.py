"""Refinement of images in memory: order, labels and noise."""

from __future__ import annotations

import torch

from synthreal.core.noise import indexed_noise
from synthreal.data.encoding import to_unit
from synthreal.data.resident import Resident
from synthreal.data.seed import derive_seed
from synthreal.inference.resident import refine_resident
from synthreal.inference.transform import Refine

N = 300  # more than one block of 256, and not a multiple of it
IMAGE = torch.randint(0, 256, (N, 1, 12, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_images_keep_their_order_and_labels_and_their_index_gives_the_noise(noisy):
    refine, given = Refine.load(noisy), Resident(IMAGE.clone(), {"count": torch.arange(N)})
    refined = refine_resident(refine, given, "uint8", seed=3)
    assert torch.equal(refined.labels["count"], torch.arange(N)) and torch.equal(given.image, IMAGE)
    noise = indexed_noise(torch.arange(N), (1, 12, 16), derive_seed(0, "refine", 3))
    assert (refine(to_unit(IMAGE), noise) - to_unit(refined.image)).abs().max() <= 0.51 / 255
    assert (to_unit(refined.image) - to_unit(IMAGE)).abs().mean() > 0.01


def test_a_refined_image_does_not_depend_on_the_images_after_it(noisy):
    refine = Refine.load(noisy)
    whole = refine_resident(refine, Resident(IMAGE), "uint8").image
    for n in (1, 255, 257):
        assert torch.equal(refine_resident(refine, Resident(IMAGE[:n]), "uint8").image, whole[:n])
