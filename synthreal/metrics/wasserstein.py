"""How far apart two sets of images are, without a network that was trained on other pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from synthreal.errors import UserError
from synthreal.metrics.inputs import parts

if TYPE_CHECKING:
    from torch import Tensor

PATCH = 7
_BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)


@dataclass(frozen=True)
class Distance:
    """Sliced Wasserstein distances: ``levels (L,)``, the finest pyramid level first, and their ``mean ()``.

    In standard deviations of the patches' pixel values; Karras et al. print these numbers times 1000.
    """

    levels: Tensor

    @property
    def mean(self) -> Tensor:
        """Mean over the levels, ``()``."""
        return self.levels.mean()


def sliced_wasserstein(
    a: Tensor,
    b: Tensor,
    *,
    generator: torch.Generator,
    levels: int = 3,
    patches: int = 8192,
    projections: int = 128,
) -> Distance:
    """Sliced Wasserstein distance between the local structure of two sets (Karras et al. 2018, section 5).

    Each level of the Laplacian pyramid gives ``patches`` 7x7 patches a set, normalised per channel within the set,
    so brightness and contrast do not count and structure does. The patches are projected on random directions, and
    the distance is the mean absolute difference of the sorted projections. Both sets are sampled at the same
    random places (image, row and column as fractions), so the distance of a set to itself is exactly zero.

    Args:
        a: images ``(N, C, H, W)`` in [0, 1].
        b: images ``(M, C, H, W)`` in [0, 1]; M may differ from N.
        generator: chooses patches and directions, on the images' device.
        levels: pyramid levels; the coarsest, halved ``levels - 1`` times, must hold a 7x7 patch.
        patches: patches drawn from each set at each level.
        projections: random directions at each level.

    Raises:
        UserError: the sets are empty or of different sizes of image, or the images too small for ``levels``.
    """
    if a.shape[1:] != b.shape[1:] or not len(a) or not len(b):
        raise UserError(f"sliced_wasserstein: sets of {list(a.shape)} and {list(b.shape)}; give images of one size")
    side = min(a.shape[2:])
    for _ in range(levels - 1):
        side = (side + 1) // 2
    if levels < 1 or side < PATCH:
        raise UserError(
            f"sliced_wasserstein: levels is {levels}; the coarsest must keep {PATCH} px of {min(a.shape[2:])}"
        )
    draws = []
    for _ in range(levels):
        place = torch.rand(patches, 3, generator=generator, device=generator.device)
        axes = torch.randn(a.shape[1] * PATCH**2, projections, generator=generator, device=generator.device)
        draws.append((place, axes / axes.norm(dim=0)))
    places = [place for place, _ in draws]
    distances = []
    for (_, axes), one, other in zip(draws, _patches(a, places), _patches(b, places), strict=True):
        first, second = ((axes.T @ _normalised(patch).T).sort(1).values for patch in (one, other))
        distances.append((first - second).abs().mean())
    return Distance(torch.stack(distances))


def _smooth(image: Tensor, gain: float) -> Tensor:
    """The 5x5 binomial filter with mirrored borders, channel by channel."""
    channels = image.shape[1]
    line = torch.tensor(_BINOMIAL, dtype=image.dtype, device=image.device)
    kernel = (gain * torch.outer(line, line)).expand(channels, 1, 5, 5)
    return F.conv2d(F.pad(image, (2, 2, 2, 2), mode="reflect"), kernel, groups=channels)


def _laplacian(image: Tensor, levels: int) -> list[Tensor]:
    """Burt and Adelson's pyramid: details from fine to coarse, the remaining image last."""
    pyramid = []
    for _ in range(levels - 1):
        small = _smooth(image, 1.0)[:, :, ::2, ::2]
        raised = torch.zeros_like(image)
        raised[:, :, ::2, ::2] = small
        pyramid.append(image - _smooth(raised, 4.0))
        image = small
    return [*pyramid, image]


def _patches(images: Tensor, places: list[Tensor]) -> list[Tensor]:
    """Patches ``(P, C, 7, 7)`` of each pyramid level at its fractional places ``(P, 3)``."""
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
    """Patches as rows ``(P, C * 49)``, each channel of mean 0 and deviation 1 over the set."""
    centred = patch - patch.mean((0, 2, 3), keepdim=True)
    return (centred / patch.std((0, 2, 3), keepdim=True).clamp_min(1e-8)).flatten(1)
