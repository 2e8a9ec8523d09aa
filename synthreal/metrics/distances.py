"""Three distances to real images that are cheap enough to monitor during training."""

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
SIDE = 8


@torch.no_grad()
def realism(images: Tensor, real: Tensor, *, seed: int) -> dict[str, float]:
    """Distances between a set of images and real images; compare those of refined and of simulated images.

    It takes about a second for 500 crops of 35x55 px on one core, and at most five for larger images.

    Args:
        images: ``(N, C, H, W)`` in [0, 1], at least 8x8 px and 2 images. The first 500 are used; of images larger than
            91x91 px, as many as hold 4 million px.
        real: ``(M, C, H, W)`` in [0, 1], under the same conditions.
        seed: of the random network, patches and directions; only numbers of equal seeds are comparable.

    Returns:
        ``kid`` (random features; about 0 for images of one source, may be negative), ``sliced_wasserstein`` (mean of
        up to three pyramid levels, in standard deviations) and ``spectrum`` (dB). Lower is closer.

    Raises:
        UserError: too few or too small images, or images of different sizes.
    """
    check_images("realism", images, real, least=2, side=SIDE)
    count = max(2, min(COUNT, PX // images[0, 0].numel()))
    a, b = images[:count], real[:count]
    side, levels = min(images.shape[2:]), 1
    while levels < LEVELS and (side + 1) // 2 >= PATCH:
        side, levels = (side + 1) // 2, levels + 1
    generator = derived_generator(a.device, 0, "realism", seed)
    structure = sliced_wasserstein(a, b, generator=generator, levels=levels, patches=4096, projections=64)
    return {
        "kid": float(kid(random_features(a, seed=seed), random_features(b, seed=seed))),
        "sliced_wasserstein": float(structure.mean()),
        "spectrum": float(spectrum_distance(a, b)),
    }
