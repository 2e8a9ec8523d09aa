"""albumentations' domain adaptation on batches of tensors: what people do to simulated images without a network.

The library works on one image at a time, on the host, in 8 bits where it matches histograms or pixel distributions.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from synthreal.errors import UserError


def fda(images: Tensor, references: Tensor, *, beta: float) -> Tensor:
    """Fourier domain adaptation (Yang and Soatto, CVPR 2020).

    The amplitudes of an image's low frequencies become those of its reference; the phases stay.

    Args:
        images: ``(B, C, H, W)`` in [0, 1].
        references: as many real images of the same shape.
        beta: half the side of the square of frequencies, as a share of the shorter side, 0 to 0.5.

    Raises:
        UserError: albumentations is not installed.
    """
    return _each("FDA", images, references, beta_limit=(beta, beta), metadata_key="references")


def histogram(images: Tensor, references: Tensor, *, blend: float) -> Tensor:
    """Histogram matching: each image gets the grey levels of its reference, channel by channel, in 8 bits.

    ``blend`` in [0, 1] is the share of the matched image in the result; otherwise as :func:`fda`.
    """
    return _each("HistogramMatching", images, references, blend_ratio=(blend, blend), metadata_key="references")


def pixel_distribution(images: Tensor, references: Tensor, *, transform: str, blend: float) -> Tensor:
    """Pixel distribution adaptation: the pixels of each image get the moments of its reference's, in 8 bits.

    ``transform`` is "pca", "standard" (mean and deviation) or "minmax"; otherwise as :func:`histogram`. The blending is
    ours: albumentations 2.0.8 mixes images of [0, 255] with adapted ones of [0, 1], so that it returns black for 8-bit
    images and white for float ones of any other blend than 1.
    """
    adapted = _each(
        "PixelDistributionAdaptation",
        images,
        references,
        transform_type=transform,
        blend_ratio=(1.0, 1.0),
        metadata_key="references",
    )
    return torch.lerp(images, adapted, blend)


def _each(name: str, images: Tensor, references: Tensor, **options: Any) -> Tensor:
    """Every image with the reference of its row, as float32 ``(H, W, C)`` in [0, 1]."""
    transform: Callable[..., dict[str, np.ndarray]] = getattr(_library(), name)(p=1.0, **options)
    x, y = (part.permute(0, 2, 3, 1).float().cpu().contiguous().numpy() for part in (images, references))
    adapted = [transform(image=image, references=[reference])["image"] for image, reference in zip(x, y, strict=True)]
    return torch.from_numpy(np.stack(adapted)).permute(0, 3, 1, 2).clamp(0, 1).to(images.device, images.dtype)


def _library() -> Any:
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # or importing it asks the network for its version
    try:
        import albumentations
    except ImportError as error:
        raise UserError(
            f"albumentations is missing ({error}); pip install albumentations, or leave its arms out"
        ) from None
    return albumentations
