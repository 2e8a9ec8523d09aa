"""Ordinary augmentation: what people do to simulated images in the first place."""

from __future__ import annotations

import torch
from torch import Tensor


def augmented(
    images: Tensor,
    generator: torch.Generator,
    *,
    blur_px: float,
    noise: float,
    brightness: float,
    contrast: float,
) -> Tensor:
    """Images ``(B, C, H, W)`` in [0, 1], blurred, brightened, stretched and noisy; each draws its own strength.

    Args:
        images: what to change.
        generator: of the strengths and the noise, on the images' device.
        blur_px: largest deviation of a Gaussian blur, px.
        noise: largest deviation of independent noise.
        brightness: largest change of brightness, either way.
        contrast: largest relative change of the contrast about the image's mean, either way.
    """
    import kornia

    count, device = len(images), images.device
    strength = torch.rand(count, 4, generator=generator, device=device)
    static = torch.randn(images.shape, generator=generator, device=device)
    if blur_px > 0:
        side = 2 * max(1, round(3 * blur_px)) + 1
        reach = min(side, *(2 * ((size - 1) // 2) + 1 for size in images.shape[-2:]))
        sigma = (strength[:, :1] * blur_px).clamp_min(1e-2).expand(-1, 2)
        images = kornia.filters.gaussian_blur2d(images, (reach, reach), sigma)
    bright, stretched = ((2 * strength[:, i] - 1) * most for i, most in ((1, brightness), (2, contrast)))
    images = kornia.enhance.adjust_contrast_with_mean_subtraction(images, 1 + stretched)
    images = kornia.enhance.adjust_brightness(images, bright)
    return (images + noise * strength[:, 3].view(-1, 1, 1, 1) * static).clamp(0, 1)
