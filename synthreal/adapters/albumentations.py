"""albumentations, both ways: the refiner as one of its transforms, and its domain adaptation on batches of tensors.

The latter is what people do to simulated images without a network. The library works on one image at a time, on the
host, in 8 bits where it matches histograms or pixel distributions.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from synthreal.adapters.images import refine_array
from synthreal.adapters.lazy import LazyRefine, missing
from synthreal.errors import UserError

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # or importing it asks the network for its version
try:
    import albumentations as A
    from albumentations.core.transforms_interface import BaseTransformInitSchema
except ImportError as error:
    raise missing("albumentations", "albumentations", error) from None


class Refine(A.ImageOnlyTransform):  # type: ignore[misc]
    """The refiner on ``image``, ``images``, ``volume`` and ``volumes``; masks, boxes, key points and labels stay.

    Images are ``(H, W)``, ``(H, W, 1)`` or ``(H, W, C)``, uint8 or float32 in [0, 1], and come back as they came; the
    images of ``images=`` pass through the network together. It pickles and serialises as the path of the run, which
    is read when an image comes; ``A.from_dict`` knows it once this module is imported.

    Args:
        run: run directory, or any folder with its two files.
        device: "cpu", "cuda" or "cuda:N"; "auto" is a GPU where there is one, but the CPU in worker processes.
        p: probability, of which ``A.Compose(seed=...)`` decides, as of noise maps.

    Raises:
        UserError: the folder holds no refiner; later, images it does not take, or CUDA in a forked worker.
        ValueError: an argument of another type (albumentations').
    """

    class InitSchema(BaseTransformInitSchema):  # type: ignore[misc]
        """What albumentations checks the arguments with."""

        run: str | Path
        device: str

    def __init__(self, run: str | Path, device: str = "auto", p: float = 1.0) -> None:
        super().__init__(p=p)
        self.run, self.device = str(run), device  # what serialisation reads
        self._refine = LazyRefine(run, device)

    def get_params(self) -> dict[str, Any]:
        """What this call draws: the seed of noise maps, so that a replay paints the same."""
        return {"noise_seed": int(self.random_generator.integers(2**63 - 1))}

    def apply(self, img: np.ndarray, *args: Any, noise_seed: int, **params: Any) -> np.ndarray:
        """Refine ``(H, W)`` or ``(H, W, C)``."""
        refined: np.ndarray = self.apply_to_images(img[None], noise_seed=noise_seed)[0]
        return refined

    def apply_to_images(self, images: np.ndarray, *args: Any, noise_seed: int, **params: Any) -> np.ndarray:
        """Refine ``(N, H, W)`` or ``(N, H, W, C)`` in one pass, each with noise of its own."""
        if len({np.shape(image) for image in images}) > 1:
            raise UserError("images of several sizes; albumentations takes those of one size in a call")
        return refine_array(self._refine, np.asarray(images), keys=torch.arange(len(images)), seed=noise_seed)


def fda(images: Tensor, references: Tensor, *, beta: float) -> Tensor:
    """Fourier domain adaptation (Yang and Soatto, CVPR 2020).

    The amplitudes of an image's low frequencies become those of its reference; the phases stay.

    Args:
        images: ``(B, C, H, W)`` in [0, 1].
        references: as many real images of the same shape.
        beta: half the side of the square of frequencies, as a share of the shorter side, 0 to 0.5.
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
    transform: Callable[..., dict[str, np.ndarray]] = getattr(A, name)(p=1.0, **options)
    x, y = (part.permute(0, 2, 3, 1).float().cpu().contiguous().numpy() for part in (images, references))
    adapted = [transform(image=image, references=[reference])["image"] for image, reference in zip(x, y, strict=True)]
    return torch.from_numpy(np.stack(adapted)).permute(0, 3, 1, 2).clamp(0, 1).to(images.device, images.dtype)
