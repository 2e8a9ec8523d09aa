"""Sliced Wasserstein distance between the local structure of two sets of images, without a trained network."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from synthreal.errors import UserError
from synthreal.metrics.inputs import check_images, parts

PATCH = 7
_BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)


def sliced_wasserstein(
    a: Tensor, b: Tensor, *, generator: torch.Generator, levels: int = 3, patches: int = 8192, projections: int = 128
) -> Tensor:
    """Sliced Wasserstein distance between the local structure of two sets (Karras et al. 2018, section 5).

    From each level of the Laplacian pyramid, ``patches`` 7x7 patches per set are drawn and normalised per channel
    within the set, so that brightness and contrast do not matter. They are projected onto random directions; the
    distance is the mean absolute difference of the sorted projections. Both sets are sampled at the same random
    positions (image, row and column as fractions), so the distance of a set to itself is exactly zero.

    Args:
        a: images ``(N, C, H, W)`` in [0, 1].
        b: images ``(M, C, H, W)`` in [0, 1].
        generator: draws patches and directions; on the device of the images.
        levels: pyramid levels; the coarsest, halved ``levels - 1`` times, must contain a 7x7 patch.
        patches: patches drawn from each set at each level.
        projections: random directions at each level.

    Returns:
        The distance at each level, ``(L,)``, the finest first, in standard deviations of the pixel values in patches
        (Karras et al. print these numbers times 1000).

    Raises:
        UserError: empty sets, images of different sizes, or images too small for ``levels``.
    """
    check_images("sliced_wasserstein", a, b, least=1)
    side = min(a.shape[2:])
    for _ in range(levels - 1):
        side = (side + 1) // 2
    if levels < 1 or side < PATCH:
        need = f"the coarsest must have {PATCH} of the {min(a.shape[2:])} px"
        raise UserError(f"sliced_wasserstein: levels is {levels}; {need}")
    places, directions = [], []
    for _ in range(levels):
        places.append(torch.rand(patches, 3, generator=generator, device=generator.device))
        axes = torch.randn(a.shape[1] * PATCH**2, projections, generator=generator, device=generator.device)
        directions.append(axes / axes.norm(dim=0))
    distances = []
    for axes, *pair in zip(directions, _patches(a, places), _patches(b, places), strict=True):
        first, second = ((axes.T @ _normalised(patch).T).sort(1).values for patch in pair)
        distances.append((first - second).abs().mean())
    return torch.stack(distances)


def _smooth(image: Tensor, gain: float) -> Tensor:
    """Apply the 5x5 binomial filter with mirrored borders to every channel."""
    channels = image.shape[1]
    line = torch.tensor(_BINOMIAL, dtype=image.dtype, device=image.device)
    kernel = (gain * torch.outer(line, line)).expand(channels, 1, 5, 5)
    return F.conv2d(F.pad(image, (2, 2, 2, 2), mode="reflect"), kernel, groups=channels)


def _laplacian(image: Tensor, levels: int) -> list[Tensor]:
    """The Laplacian pyramid of Burt and Adelson: details from fine to coarse, the remaining image last."""
    pyramid = []
    for _ in range(levels - 1):
        small = _smooth(image, 1.0)[:, :, ::2, ::2]
        raised = torch.zeros_like(image)
        raised[:, :, ::2, ::2] = small
        pyramid.append(image - _smooth(raised, 4.0))
        image = small
    return [*pyramid, image]


def _patches(images: Tensor, places: list[Tensor]) -> list[Tensor]:
    """Patches ``(P, C, 7, 7)`` of each pyramid level at its fractional positions ``(P, 3)``."""
    taken = [images.new_empty(len(place), images.shape[1], PATCH, PATCH) for place in places]
    start = 0
    for part in parts(images):
        for patch, band, place in zip(taken, _laplacian(part, len(places)), places, strict=True):
            size = torch.tensor((len(images), *(side - PATCH + 1 for side in band.shape[2:])), device=place.device)
            index, row, column = torch.minimum((place * size).long(), size - 1).unbind(1)
            here = (index >= start) & (index < start + len(part))
            windows = band.unfold(2, PATCH, 1).unfold(3, PATCH, 1)
            patch[here] = windows[index[here] - start, :, row[here], column[here]]
        start += len(part)
    return taken


def _normalised(patch: Tensor) -> Tensor:
    """Patches as rows ``(P, C * 49)`` whose channels have mean 0 and deviation 1 over the set."""
    centred = patch - patch.mean((0, 2, 3), keepdim=True)
    return (centred / patch.std((0, 2, 3), keepdim=True).clamp_min(1e-8)).flatten(1)
