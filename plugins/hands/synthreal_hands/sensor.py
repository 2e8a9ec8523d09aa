"""What a structured-light sensor makes of a depth image: each of its known faults, one function each.

Such a sensor projects dots and finds, for windows of its image, the shift (disparity = FX * baseline / depth, px)
against a reference pattern. From that follow all its faults: depth is quantised in disparity, so steps grow with the
square of depth, and so does noise; a window that straddles an edge belongs to either side, so silhouettes are ragged in
blocks; background that the projector cannot see behind a nearer surface is missing (shadow); windows over an edge now
and then average both sides (mixed pixels) or find nothing (dropouts, more often on grazing surfaces); and windows
smooth what lies inside them.

Depth is ``(n, H, W)`` mm on a crop's grid, inf where the ray meets nothing in reach; inf also means "not measured".
Displacements and shadows are px of the sensor's frame, which a crop may sample more coarsely (``pitch (n, 1, 1)`` is
how many of them one crop px spans); "beside an edge" means one px of the crop, whatever its size.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, max_pool2d, pad

from synthreal_hands.cube import FX

INF = float("inf")
BLOTS = 14  # a side of the crop is about so many blots wide
FRAYED_STD = 0.88  # deviation of the field whose lowest places are holes, measured


def disparity(depth: Tensor, baseline: Tensor) -> Tensor:
    """Px of the frame: FX * baseline / depth, 0 for inf. ``baseline (n, 1, 1)`` mm."""
    return FX * baseline / depth


def ragged(depth: Tensor, amount: Tensor, pitch: Tensor, window: int, generator: torch.Generator) -> Tensor:
    """Every pixel takes the depth of a place displaced at random: silhouettes become ragged, surfaces hardly change.

    Args:
        depth: ``(n, H, W)`` mm.
        amount: standard deviation of the displacement ``(n, 1, 1)``, px of the frame.
        pitch: px of the frame in one of the crop.
        window: px of the crop that a correlation window spans, and that share a displacement.
        generator: of the displacements.
    """
    n, height, width = depth.shape
    shift = torch.stack([field(depth, window, generator) for _ in range(2)]) * (amount / pitch)
    rows = torch.arange(height, device=depth.device)[:, None] + shift[0]
    columns = torch.arange(width, device=depth.device) + shift[1]
    place = rows.round().clamp(0, height - 1) * width + columns.round().clamp(0, width - 1)
    return depth.flatten(1).gather(1, place.flatten(1).long()).view(n, height, width)


def field(like: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Normal noise ``(n, H, W)`` of deviation 1 that is constant over squares of ``side`` px of the crop."""
    n, height, width = like.shape
    small = torch.randn((n, 1, -(-height // side), -(-width // side)), generator=generator, device=like.device)
    return interpolate(small, scale_factor=side, mode="nearest")[:, 0, :height, :width]


def smooth(depth: Tensor, share: Tensor) -> Tensor:
    """Mix each measured depth with ``share (n, 1, 1)`` of the mean of its measured neighbours within 20 mm."""
    total, count = torch.zeros_like(depth), torch.zeros_like(depth)
    grown = pad(depth, (1, 1, 1, 1), value=INF)
    height, width = depth.shape[-2:]
    for row in range(3):
        for column in range(3):
            other = grown[:, row : row + height, column : column + width]
            near = (other - depth).abs() < 20
            total = total + torch.where(near, other, 0)
            count = count + near
    mean = total / count.clamp_min(1)
    return torch.where(count > 0, depth + share * (mean - depth), depth)


def shadowed(depth: Tensor, baseline: Tensor, pitch: Tensor) -> Tensor:
    """Where a nearer surface keeps the projector's light away: ``(n, H, W)`` bool.

    The projector sits to the right at ``baseline`` mm and sees column u at u - disparity. Whatever lies to the left of
    a nearer surface and is not left of it for the projector is hidden.
    """
    columns = torch.arange(depth.shape[-1], device=depth.device) * pitch
    seen = columns - disparity(depth, baseline)
    from_right = seen.flip(-1).cummin(-1).values.flip(-1)
    return seen > from_right + 0.5 * pitch


def edges(depth: Tensor, step: float = 12.0) -> Tensor:
    """Pixels beside a jump of more than ``step`` mm, nothing being far: ``(n, H, W)`` bool."""
    far = torch.where(torch.isfinite(depth), depth, 1e5)[:, None]
    near = -max_pool2d(-far, 3, stride=1, padding=1)
    return (max_pool2d(far, 3, stride=1, padding=1) - near > step)[:, 0]


def mixed(depth: Tensor, share: Tensor, generator: torch.Generator) -> Tensor:
    """A ``share (n, 1, 1)`` of the pixels beside a jump lie between both sides of it; past the edge of all, 60 mm."""
    measured = torch.isfinite(depth)
    back = max_pool2d(torch.where(measured, depth, -INF)[:, None], 3, stride=1, padding=1)[:, 0]
    lone = avg_pool2d(measured[:, None].float(), 3, stride=1, padding=1, count_include_pad=False)[:, 0] < 1
    far = torch.where(lone, back + 60, back)
    pick, between = torch.rand((2, *depth.shape), generator=generator, device=depth.device)
    chosen = edges(depth) & measured & (pick < share)
    return torch.where(chosen, depth + between * (far - depth), depth)


def grain(depth: Tensor, noise: Tensor, step: Tensor, baseline: Tensor, generator: torch.Generator) -> Tensor:
    """Noise and quantisation of the disparity: both grow with the square of depth.

    Args:
        depth: ``(n, H, W)`` mm.
        noise: standard deviation ``(n, 1, 1)``, px of disparity, half of it shared by 2x2 neighbours.
        step: quantum of disparity ``(n, 1, 1)`` px.
        baseline: mm.
        generator: of the noise.
    """
    noise = noise * (0.5 * field(depth, 1, generator) + 0.866 * field(depth, 2, generator))
    found = disparity(depth, baseline) + noise
    found = (found / step).round() * step
    return torch.where(torch.isfinite(depth), FX * baseline / found.clamp_min(1e-3), depth)


def dropouts(depth: Tensor, holes: Tensor, lost: Tensor, generator: torch.Generator) -> Tensor:
    """Missing measurements: blots of ``holes`` and a share ``lost`` of the pixels beside a jump, both ``(n, 1, 1)``.

    ``holes`` is the share of the image that blots cover, on average.
    """
    n, height, width = depth.shape
    coarse = torch.randn((n, 1, BLOTS, BLOTS), generator=generator, device=depth.device)
    blot = interpolate(coarse, size=(height, width), mode="bicubic", align_corners=False)[:, 0]
    frayed = blot + 0.15 * torch.randn(depth.shape, generator=generator, device=depth.device)
    rank = 0.5 * (1 + torch.erf(frayed / (FRAYED_STD * 2**0.5)))  # about uniform
    pick = torch.rand(depth.shape, generator=generator, device=depth.device)
    gone = (rank < holes) | (edges(depth) & (pick < lost))
    return torch.where(gone, INF, depth)
