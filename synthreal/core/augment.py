"""Ordinary augmentation of images: blur, brightness, contrast and noise."""

from __future__ import annotations

import torch
from torch import Tensor

from synthreal.core.features import gaussian_side


def augment_images(
    images: Tensor,
    generator: torch.Generator,
    *,
    blur_px: float,
    noise: float,
    brightness: float,
    contrast: float,
) -> Tensor:
    """Blur images, change their brightness and contrast and add noise; every image draws its own strengths.

    Args:
        images: ``(B, C, H, W)`` in [0, 1].
        generator: draws strengths and noise; on the device of the images.
        blur_px: largest standard deviation of the Gaussian blur, px.
        noise: largest standard deviation of the noise, which is independent for every pixel.
        brightness: largest change of brightness, up or down.
        contrast: largest relative change of contrast around the mean of the image, up or down.
    """
    import kornia

    count, device = len(images), images.device
    strength = torch.rand(count, 4, generator=generator, device=device)
    static = torch.randn(images.shape, generator=generator, device=device)
    if blur_px > 0:
        reach = min(gaussian_side(blur_px), *(2 * ((size - 1) // 2) + 1 for size in images.shape[-2:]))
        sigma = (strength[:, :1] * blur_px).clamp_min(1e-2).expand(-1, 2)
        images = kornia.filters.gaussian_blur2d(images, (reach, reach), sigma)
    shift, stretch = ((2 * strength[:, i] - 1) * most for i, most in ((1, brightness), (2, contrast)))
    images = kornia.enhance.adjust_contrast_with_mean_subtraction(images, 1 + stretch)
    images = kornia.enhance.adjust_brightness(images, shift)
    return (images + noise * strength[:, 3].view(-1, 1, 1, 1) * static).clamp(0, 1)
