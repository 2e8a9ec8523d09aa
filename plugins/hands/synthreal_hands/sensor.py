"""The errors of a structured-light depth sensor, one function per error.

Such a sensor projects dots and, for each window of its image, finds the shift against a reference pattern (disparity =
FX * baseline / depth, px). This causes its errors: depth is quantised in disparity, so quantisation and noise grow with
the square of depth; a window across an edge matches either side, so silhouettes are ragged in blocks; background that
a nearer surface hides from the projector is missing (shadow); some windows across an edge average both sides (mixed
pixels) or find no match (dropouts); and each window smooths its content.

Depth is ``(n, H, W)`` mm on the grid of a crop; inf means background or not measured. Displacements and shadows are in
px of the sensor's frame, and one px of the crop spans ``pitch (n, 1, 1)`` of them; "beside an edge" means within one px
of the crop.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, max_pool2d, pad

from synthreal_hands.cube import FX

INF = float("inf")
BLOTS = 14  # holes are about this fraction of the crop: 14 per side
FRAYED_STD = 0.88  # measured deviation of the field that is thresholded to holes


def disparity(depth: Tensor, baseline: Tensor) -> Tensor:
    """Disparity FX * baseline / depth in px of the frame, 0 for inf; ``baseline (n, 1, 1)`` mm."""
    return FX * baseline / depth


def displace_edges(depth: Tensor, amount: Tensor, pitch: Tensor, window: int, generator: torch.Generator) -> Tensor:
    """Sample the depth at randomly displaced positions: silhouettes become ragged, surfaces barely change.

    Args:
        depth: ``(n, H, W)`` mm.
        amount: standard deviation of the displacement ``(n, 1, 1)``, px of the frame.
        pitch: px of the frame per px of the crop.
        window: px of the crop per correlation window; they share a displacement.
        generator: for the displacements.
    """
    n, height, width = depth.shape
    shift = torch.stack([block_noise(depth, window, generator) for _ in range(2)]) * (amount / pitch)
    rows = torch.arange(height, device=depth.device)[:, None] + shift[0]
    columns = torch.arange(width, device=depth.device) + shift[1]
    place = rows.round().clamp(0, height - 1) * width + columns.round().clamp(0, width - 1)
    return depth.flatten(1).gather(1, place.flatten(1).long()).view(n, height, width)


def block_noise(like: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Standard normal noise ``(n, H, W)`` that is constant over squares of ``side`` px."""
    n, height, width = like.shape
    small = torch.randn((n, 1, -(-height // side), -(-width // side)), generator=generator, device=like.device)
    return interpolate(small, scale_factor=side, mode="nearest")[:, 0, :height, :width]


def smooth(depth: Tensor, share: Tensor) -> Tensor:
    """Blend measured depth with ``share (n, 1, 1)`` of the mean of its neighbours within 20 mm."""
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


def shadow_mask(depth: Tensor, baseline: Tensor, pitch: Tensor) -> Tensor:
    """Pixels that a nearer surface hides from the projector: ``(n, H, W)`` bool.

    The projector is ``baseline`` mm to the right and sees column u at u - disparity. A pixel is hidden if it is left of
    a surface in the image but not from the projector.
    """
    columns = torch.arange(depth.shape[-1], device=depth.device) * pitch
    seen = columns - disparity(depth, baseline)
    from_right = seen.flip(-1).cummin(-1).values.flip(-1)
    return seen > from_right + 0.5 * pitch


def edge_mask(depth: Tensor, step: float = 12.0) -> Tensor:
    """Pixels beside a depth jump of more than ``step`` mm; background is far: ``(n, H, W)`` bool."""
    far = torch.where(torch.isfinite(depth), depth, 1e5)[:, None]
    near = -max_pool2d(-far, 3, stride=1, padding=1)
    return (max_pool2d(far, 3, stride=1, padding=1) - near > step)[:, 0]


def mix_edges(depth: Tensor, share: Tensor, generator: torch.Generator) -> Tensor:
    """Move a ``share (n, 1, 1)`` of the pixels beside a jump between its sides; at a silhouette, up to 60 mm back."""
    measured = torch.isfinite(depth)
    back = max_pool2d(torch.where(measured, depth, -INF)[:, None], 3, stride=1, padding=1)[:, 0]
    lone = avg_pool2d(measured[:, None].float(), 3, stride=1, padding=1, count_include_pad=False)[:, 0] < 1
    far = torch.where(lone, back + 60, back)
    pick, between = torch.rand((2, *depth.shape), generator=generator, device=depth.device)
    chosen = edge_mask(depth) & measured & (pick < share)
    return torch.where(chosen, depth + between * (far - depth), depth)


def add_noise(depth: Tensor, noise: Tensor, step: Tensor, baseline: Tensor, generator: torch.Generator) -> Tensor:
    """Add noise to the disparity and quantise it; in depth, both grow with the square of depth.

    Args:
        depth: ``(n, H, W)`` mm.
        noise: standard deviation ``(n, 1, 1)``, px of disparity, half of it shared by 2x2 neighbours.
        step: quantisation step of the disparity ``(n, 1, 1)`` px.
        baseline: mm.
        generator: for the noise.
    """
    noise = noise * (0.5 * block_noise(depth, 1, generator) + 0.866 * block_noise(depth, 2, generator))
    found = disparity(depth, baseline) + noise
    found = (found / step).round() * step
    return torch.where(torch.isfinite(depth), FX * baseline / found.clamp_min(1e-3), depth)


def drop_pixels(depth: Tensor, holes: Tensor, lost: Tensor, generator: torch.Generator) -> Tensor:
    """Remove measurements in holes and beside jumps.

    Args:
        depth: ``(n, H, W)`` mm.
        holes: mean share of the image that holes cover, ``(n, 1, 1)``.
        lost: share of the pixels beside a jump that are missing, ``(n, 1, 1)``.
        generator: for both.
    """
    n, height, width = depth.shape
    coarse = torch.randn((n, 1, BLOTS, BLOTS), generator=generator, device=depth.device)
    blot = interpolate(coarse, size=(height, width), mode="bicubic", align_corners=False)[:, 0]
    frayed = blot + 0.15 * torch.randn(depth.shape, generator=generator, device=depth.device)
    rank = 0.5 * (1 + torch.erf(frayed / (FRAYED_STD * 2**0.5)))  # about uniform
    pick = torch.rand(depth.shape, generator=generator, device=depth.device)
    gone = (rank < holes) | (edge_mask(depth) & (pick < lost))
    return torch.where(gone, INF, depth)
