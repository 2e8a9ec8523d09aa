"""A pupil detector without learning, the same for simulated, refined and camera images.

An iris is a dark disc of known size: 11.8 mm are about 17 px in a crop at the scale of MPIIGaze. At another scale, such
as UnityEyes', the detector is less accurate (``detector_error_px`` measures it). Each pixel is scored by how well the
surrounding grey-level gradients point away from it on an ellipse of the size of the limbus and on a circle of the size
of the pupil, and by how dark the disc is. The magnitude of a gradient saturates, so that lashes, glints and contrast
have little influence. The upper limbus is mostly hidden and the shadow of the lid resembles it, so arcs near the top
have a low weight. A weak prior on the position of the eye separates the iris from a brow or a corner. The prior does
not enter the final position; otherwise displacements would be underestimated.

The score is a convolution with a small bank of templates, similar to the means of gradients of Timm and Barth (VISAPP
2011). A parabola along each axis then refines the best pixel.
"""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

LIMBUS = ((7.0, 8.5), (8.7, 8.7), (8.7, 7.5))  # px, semi-axes: seen from the side, frontal, from above or below
PUPIL = 3.5  # px, radius; the ring is wide enough for 2.5 to 4.5
REACH = 12  # px, half size of the templates
PUPIL_WEIGHT, DARK_WEIGHT = 0.5, 0.1
PRIOR = ((27.2, 7.0), (13.5, 5.0), 0.15)  # px, mean and deviation of x and of y; weight
BORDER = (2, 8, 9, 9)  # px excluded at the top, bottom, left and right
SEARCH = 2  # px, maximum distance of the prior-free optimum from the best pixel
LID_PULL = 0.35  # px, downward bias caused by the hidden upper limbus, measured on simulated eyes


@torch.no_grad()
def locate_pupil(image: Tensor) -> Tensor:
    """Find the pupil centre of each eye crop.

    Args:
        image: ``(B, C, 35, 55)`` in [0, 1]; channels are averaged.

    Returns:
        ``(B, 1, 2)`` float32: x and y in px, pixel centres at integers.
    """
    grey = _blur(image.float().mean(1, keepdim=True))
    evidence = F.pad(_directions(grey), (REACH,) * 4)
    level = F.pad(_standardise(grey), (REACH,) * 4, mode="replicate")
    top, bottom, left, right = BORDER
    height, width = grey.shape[-2:]
    window = torch.cat((evidence, level), 1)[..., top : height + 2 * REACH - bottom, left : width + 2 * REACH - right]
    response = F.conv2d(window, _templates().to(grey.device))
    score = response[:, : len(LIMBUS)].amax(1) + response[:, len(LIMBUS) :].sum(1)

    rows = torch.arange(score.shape[1], device=grey.device)
    columns = torch.arange(score.shape[2], device=grey.device)
    (x0, x_spread), (y0, y_spread), weight = PRIOR
    off_centre = ((columns + left - x0) / x_spread).square() + ((rows + top - y0) / y_spread).square()[:, None]
    y, x = _peak(score - weight / 2 * off_centre)
    near = ((rows - y[:, None]).abs() <= SEARCH)[:, :, None] & ((columns - x[:, None]).abs() <= SEARCH)[:, None, :]
    y, x = _peak(score.masked_fill(~near, -torch.inf))
    dy, dx = _vertex(score, y, x)
    return torch.stack((x + left + dx, y + top + dy - LID_PULL), dim=-1)[:, None]


@cache
def _templates() -> Tensor:
    """Convolution weights ``(K + 2, 3, 25, 25)`` over gx, gy and grey level: K limbus ellipses, pupil, darkness."""
    steps = torch.arange(-REACH, REACH + 1.0)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    bank = [_ring(x, y, *axes, lidded=True) for axes in LIMBUS]
    bank.append(PUPIL_WEIGHT * _ring(x, y, PUPIL, PUPIL, lidded=False))
    disc = (x.square() + y.square() < 36).float()
    bank.append(torch.stack((torch.zeros_like(x), torch.zeros_like(x), -DARK_WEIGHT * disc / disc.sum())))
    return torch.stack(bank)


def _ring(x: Tensor, y: Tensor, half_width: float, half_height: float, lidded: bool) -> Tensor:
    """Outward normals ``(3, 25, 25)`` along an ellipse, one px wide, weights summing to 1; the third channel is 0."""
    radius = ((x / half_width).square() + (y / half_height).square()).sqrt().clamp_min(1e-3)
    nx, ny = x / half_width**2, y / half_height**2
    steepness = (nx.square() + ny.square()).sqrt().clamp_min(1e-6)
    across, down = nx / steepness, ny / steepness
    distance = (radius - 1) * radius / steepness
    weight = torch.exp(-distance.square() / 2)
    if lidded:
        weight = weight * torch.where(down < -0.2, across.abs() ** 3, across.abs())
    weight = weight / weight.sum()
    return torch.stack((weight * across, weight * down, torch.zeros_like(x)))


def _blur(grey: Tensor, sigma: float = 0.8) -> Tensor:
    offsets = torch.arange(-3.0, 4.0, device=grey.device)
    kernel = torch.exp(-offsets.square() / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    padded = F.pad(grey, (3, 3, 3, 3), mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel.view(1, 1, 1, 7)), kernel.view(1, 1, 7, 1))


def _directions(grey: Tensor, limit: float = 3.0) -> Tensor:
    """Gradients ``(B, 2, H, W)`` whose magnitude saturates at 1 above ``limit`` times the image's RMS gradient."""
    padded = F.pad(grey, (1, 1, 1, 1), mode="replicate")
    gx = padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]
    gy = padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]
    power = gx.square() + gy.square()
    typical = limit**2 * power.mean((1, 2, 3), keepdim=True)
    return torch.cat((gx, gy), 1) * (power + typical + 1e-12).rsqrt()


def _standardise(grey: Tensor) -> Tensor:
    spread, mean = torch.std_mean(grey, (1, 2, 3), keepdim=True)
    return (grey - mean) / (spread + 1e-6)


def _peak(score: Tensor) -> tuple[Tensor, Tensor]:
    """Row and column, each ``(B,)``, of the largest score ``(B, H, W)``."""
    index = score.flatten(1).argmax(1)
    return index // score.shape[2], index % score.shape[2]


def _vertex(score: Tensor, y: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Offsets ``(B,)`` in y and x to the vertex of the parabola through a peak and its neighbours, at most 0.5 px."""
    batch, (height, width) = torch.arange(len(score), device=score.device), score.shape[1:]

    def offset(before: Tensor, after: Tensor, top: Tensor) -> Tensor:
        bend = before - 2 * top + after
        return torch.where(bend < 0, (before - after) / (2 * bend.clamp_max(-1e-12)), 0.0).clamp(-0.5, 0.5)

    here = score[batch, y, x]
    up, down = score[batch, (y - 1).clamp_min(0), x], score[batch, (y + 1).clamp_max(height - 1), x]
    before, after = score[batch, y, (x - 1).clamp_min(0)], score[batch, y, (x + 1).clamp_max(width - 1)]
    return offset(up, down, here), offset(before, after, here)
