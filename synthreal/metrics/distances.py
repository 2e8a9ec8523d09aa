"""How far from real, in three numbers cheap enough to follow while fitting."""

from __future__ import annotations

import torch
from torch import Tensor

from synthreal.data.seed import derived_generator
from synthreal.metrics.features import random_features
from synthreal.metrics.inputs import check_images
from synthreal.metrics.mmd import kid
from synthreal.metrics.spectrum import spectrum_distance
from synthreal.metrics.wasserstein import PATCH, sliced_wasserstein

COUNT = 500
PX = 1 << 22
LEVELS = 3
PATCHES = 4096
PROJECTIONS = 64
SIDE = 8


@torch.no_grad()
def realism(images: Tensor, real: Tensor, *, seed: int) -> dict[str, float]:
    """How far images are from real ones: ask it of refined images, and once of simulated ones to compare with.

    About a second for 500 crops of 35x55 px on one core, and no more than five for larger images.

    Args:
        images: ``(N, C, H, W)`` in [0, 1], at least 8x8 px and 2 images; the first 500 count, of images beyond
            91x91 px as many as hold 4 million px.
        real: ``(M, C, H, W)`` in [0, 1], likewise.
        seed: of the random network, patches and directions; compare numbers of equal seeds only.

    Returns:
        ``kid`` (random features, about 0 for images of one source, may be negative), ``sliced_wasserstein`` (mean of
        up to three pyramid levels, standard deviations) and ``spectrum`` (dB); the lower the closer.

    Raises:
        UserError: too few or too small images, or sets of different sizes of image.
    """
    check_images("realism", images, real, least=2, side=SIDE)
    height, width = images.shape[2:]
    count = max(2, min(COUNT, PX // (height * width)))
    a, b = images[:count], real[:count]
    side, levels = min(height, width), 1
    while levels < LEVELS and (side + 1) // 2 >= PATCH:
        side, levels = (side + 1) // 2, levels + 1
    structure = sliced_wasserstein(
        a,
        b,
        generator=derived_generator(a.device, 0, "realism", seed),
        levels=levels,
        patches=PATCHES,
        projections=PROJECTIONS,
    )
    return {
        "kid": float(kid(random_features(a, seed=seed), random_features(b, seed=seed))),
        "sliced_wasserstein": float(structure.mean),
        "spectrum": float(spectrum_distance(a, b)),
    }
