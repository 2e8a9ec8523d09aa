"""Distance between the power spectra of two sets of images, by spatial frequency.

Source: Durall et al., "Watch your up-convolution: CNN based generative deep neural networks are failing to reproduce
spectral distributions", CVPR 2020: the azimuthal average of the power spectrum shows artefacts of generators.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from synthreal.metrics.inputs import check_images, parts

ROUNDING = (1 / 255) ** 2 / 12
SIDE = 4


def spectrum_distance(a: Tensor, b: Tensor) -> Tensor:
    """Root mean square difference in dB between the mean spectra of two sets, over radii and channels: ``()`` float64.

    It is 0 for equal spectra and 6.02 if one set has twice the contrast of the other at every frequency. It does not
    depend on brightness or on positions.

    Args:
        a: images ``(N, C, H, W)`` in [0, 1], at least 4x4 px.
        b: images ``(M, C, H, W)`` in [0, 1].

    Raises:
        UserError: empty sets, or images of different sizes.
    """
    check_images("spectrum_distance", a, b, least=1, side=SIDE)
    return (radial_spectrum(a) - radial_spectrum(b)).square().mean().sqrt()


@torch.no_grad()
def radial_spectrum(images: Tensor) -> Tensor:
    """Mean power spectrum of images in dB, ``(C, K)``, at radial frequencies k / min(H, W) cycles per px, k from 1.

    Each image, less its mean, is multiplied by a Hann window without its zeros. Power is averaged over all frequencies
    of a radius, corners included, then its logarithm over images. Power below that of 8-bit rounding is raised to it.
    """
    height, width = images.shape[2:]
    hann = [torch.hann_window(side + 2, periodic=False, dtype=torch.float64)[1:-1] for side in (height, width)]
    window = torch.outer(*hann).to(images.device, torch.float32)
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


def _rings(height: int, width: int) -> Tensor:
    """Index of the ring of each frequency, ``(H, W)``; ring 0 holds the mean alone."""
    rows, columns = (torch.fft.fftfreq(side, dtype=torch.float64) for side in (height, width))
    return (torch.hypot(rows[:, None], columns[None]) * min(height, width)).round().long()
