"""Procedural noise and per-image filters, as small matrix products over a batch."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


def smoothstep(x: Tensor, low: float | Tensor, high: float | Tensor) -> Tensor:
    """0 below ``low``, 1 above ``high``, a cubic in between; anti-aliases the edge of a signed distance."""
    t = ((x - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)


@functools.lru_cache(maxsize=64)
def _spline(size: int, cells: int, device: torch.device) -> Tensor:
    """Weights ``(size, cells + 3)`` of a cubic B-spline with ``cells`` cells over ``size`` pixels."""
    place = (torch.arange(size, dtype=torch.float32) + 0.5) * cells / size + 1
    gap = (place[:, None] - torch.arange(cells + 3, dtype=torch.float32)).abs()
    inner, outer = 2 / 3 - gap**2 + gap**3 / 2, (2 - gap).clamp_min(0) ** 3 / 6
    weight: Tensor = torch.where(gap < 1, inner, outer).to(device)
    return weight / weight.square().sum(1, keepdim=True).sqrt()


def noise(n: int, height: int, width: int, cells: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Smooth Gaussian noise ``(n, H, W)`` of unit variance with a grain of about ``size / cells`` pixels."""
    rows, columns = cells
    device = generator.device
    grid = torch.randn(n, rows + 3, columns + 3, generator=generator, device=device)
    return _spline(height, rows, device) @ grid @ _spline(width, columns, device).T


def gaussian(sigma: Tensor, size: int) -> Tensor:
    """Blur along one axis as a matrix: sigma ``(n, 1, 1)`` px to ``(n, size, size)``, whose rows sum to 1."""
    place = torch.arange(size, device=sigma.device, dtype=sigma.dtype)
    gap = place[:, None] - place[None, :]
    weight = torch.exp(-gap.square() / (2 * sigma.clamp_min(0.05).square()))
    return weight / weight.sum(2, keepdim=True)


def blur(image: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """Gaussian blur of ``(n, H, W)`` with sigmas ``(n, 1, 1)`` px per image, renormalised at the edges."""
    return gaussian(down, image.shape[1]) @ image @ gaussian(across, image.shape[2]).transpose(1, 2)


def quantise(image: Tensor) -> Tensor:
    """Round ``(n, H, W)`` to 8 bits, ``(n, 1, H, W)``, so that a stored pack equals the rendered images."""
    return (image.clamp(0, 1) * 255).round().div(255).unsqueeze(1)
