"""Do two sets of images hold as much fine and coarse structure? Compared frequency by frequency.

Source: Durall et al., "Watch your up-convolution: CNN based generative deep neural networks are failing to reproduce
spectral distributions", CVPR 2020: the azimuthal average of the power spectrum shows what networks leave in or out.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from synthreal.metrics.inputs import check_images, parts

ROUNDING = (1 / 255) ** 2 / 12
SIDE = 4


def spectrum_distance(a: Tensor, b: Tensor) -> Tensor:
    """Root mean square difference in dB between the mean spectra of two sets, over radii and channels.

    0 for equal spectra; 6.02 where one set has twice the contrast of the other at every frequency. Brightness does
    not count, nor does where things are.

    Args:
        a: images ``(N, C, H, W)`` in [0, 1], at least 4x4 px.
        b: images ``(M, C, H, W)`` in [0, 1].

    Returns:
        ``()`` dB, float64.

    Raises:
        UserError: the sets are empty or not images of one size.
    """
    check_images("spectrum_distance", a, b, least=1, side=SIDE)
    return (radial_spectrum(a) - radial_spectrum(b)).square().mean().sqrt()


@torch.no_grad()
def radial_spectrum(images: Tensor) -> Tensor:
    """Power in dB by radial frequency, ``(C, K)``, the mean over images: radius k/min(H, W) cycles per px, k from 1.

    Each image, less its mean, goes through a Hann window; power is averaged round the circle of each radius, corners
    included, and its logarithm over images. Less power than rounding to 8 bits makes counts as that much.
    """
    height, width = images.shape[2:]
    window = torch.outer(_hann(height), _hann(width)).to(images.device, torch.float32)
    rings = _rings(height, width).flatten().to(images.device)
    member = F.one_hot(rings)[:, 1:].float()
    member = member / member.sum(0)
    floor = ROUNDING * window.square().sum()
    total = torch.zeros(images.shape[1], member.shape[1], dtype=torch.float64, device=images.device)
    for part in parts(images):
        mean = (window * part).sum((2, 3), keepdim=True) / window.sum()
        power = torch.fft.fft2(window * (part - mean)).abs().square().flatten(2)
        total += (10 * torch.log10(torch.maximum(power @ member, floor))).double().sum(0)
    return total / len(images)


def _hann(size: int) -> Tensor:
    """The symmetric Hann window without its zeros, ``(size,)``."""
    return torch.hann_window(size + 2, periodic=False, dtype=torch.float64)[1:-1]


def _rings(height: int, width: int) -> Tensor:
    """The number of the ring that each frequency belongs to, ``(H, W)``; 0 is the mean alone."""
    rows, columns = (torch.fft.fftfreq(side, dtype=torch.float64) for side in (height, width))
    return (torch.hypot(rows[:, None], columns[None]) * min(height, width)).round().long()
