"""albumentations: the refiner as a transform, and the library's domain adaptations on batches of tensors.

The adaptations are the usual alternatives to a refiner. They process one image at a time on the CPU, in 8 bits where
they match histograms or pixel distributions.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from synthreal.adapters.images import refine_images
from synthreal.adapters.lazy import LazyRefine, missing_library

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # no request to PyPI on import
try:
    import albumentations as A
    from albumentations.core.transforms_interface import BaseTransformInitSchema
except ImportError as error:
    raise missing_library("albumentations", "albumentations", error) from None


class Refine(A.ImageOnlyTransform):  # type: ignore[misc]
    """Refine ``image``, ``images``, ``volume`` and ``volumes``; masks, boxes, key points and labels do not change.

    Images are ``(H, W)``, ``(H, W, 1)`` or ``(H, W, C)``, uint8 or float32 in [0, 1]; results have the same form. The
    images of ``images=`` pass through the network together. It pickles and serialises as the path of the run, which is
    loaded on first use; ``A.from_dict`` knows the class once this module is imported.

    Args:
        run: run directory, or any folder with its two files.
        device: "cpu", "cuda" or "cuda:N"; "auto" is a GPU if there is one, but the CPU in worker processes.
        p: probability of a call; ``A.Compose(seed=...)`` seeds it and the noise maps.

    Raises:
        UserError: the folder holds no refiner; when called, an invalid image, or CUDA in a forked worker.
        ValueError: an argument of the wrong type (from albumentations).
    """

    class InitSchema(BaseTransformInitSchema):  # type: ignore[misc]
        """The schema with which albumentations validates the arguments."""

        run: str | Path
        device: str

    def __init__(self, run: str | Path, device: str = "auto", p: float = 1.0) -> None:
        super().__init__(p=p)
        self.run, self.device = str(run), device  # read by serialisation
        self._refine = LazyRefine(run, device)

    def get_params(self) -> dict[str, Any]:
        """Draw the seed of noise maps, which a replay uses again."""
        return {"noise_seed": int(self.random_generator.integers(2**63 - 1))}

    def apply(self, img: np.ndarray, *args: Any, noise_seed: int, **params: Any) -> np.ndarray:
        """Refine ``(H, W)`` or ``(H, W, C)``."""
        refined: np.ndarray = self.apply_to_images(img[None], noise_seed=noise_seed)[0]
        return refined

    def apply_to_images(self, images: np.ndarray, *args: Any, noise_seed: int, **params: Any) -> np.ndarray:
        """Refine ``(N, H, W)`` or ``(N, H, W, C)`` in one pass, with different noise maps for each image."""
        return np.stack(refine_images(self._refine, list(images), keys=torch.arange(len(images)), seed=noise_seed))


def fda(images: Tensor, references: Tensor, *, beta: float) -> Tensor:
    """Fourier domain adaptation (Yang and Soatto, CVPR 2020).

    The low frequencies of ``images``, ``(B, C, H, W)`` in [0, 1], take the amplitudes of ``references``, real images of
    the same shape, and keep their phases. ``beta`` in [0, 0.5] is half the side of the square of these frequencies,
    as a fraction of the shorter side of an image.
    """
    return _each("FDA", images, references, beta_limit=(beta, beta))


def histogram(images: Tensor, references: Tensor, *, blend: float) -> Tensor:
    """Histogram matching: each image takes the histogram of its reference, channel by channel, in 8 bits.

    ``blend`` in [0, 1] is the weight of the matched image; the other arguments are those of :func:`fda`.
    """
    return _each("HistogramMatching", images, references, blend_ratio=(blend, blend))


def pixel_distribution(images: Tensor, references: Tensor, *, transform: str, blend: float) -> Tensor:
    """Pixel distribution adaptation: each image takes the pixel statistics of its reference, in 8 bits.

    ``transform`` is "pca", "standard" (mean and deviation) or "minmax"; the other arguments are those of
    :func:`histogram`. Blending is done here, because albumentations 2.0.8 mixes images in [0, 255] with adapted images
    in [0, 1]: with a blend other than 1 it returns black for 8-bit and white for float images.
    """
    options = {"transform_type": transform, "blend_ratio": (1.0, 1.0)}
    return torch.lerp(images, _each("PixelDistributionAdaptation", images, references, **options), blend)


def _each(name: str, images: Tensor, references: Tensor, **options: Any) -> Tensor:
    """Apply a transform to each image and its reference, as float32 ``(H, W, C)`` in [0, 1]."""
    transform = getattr(A, name)(p=1.0, metadata_key="references", **options)
    x, y = (part.permute(0, 2, 3, 1).float().cpu().contiguous().numpy() for part in (images, references))
    adapted = [transform(image=image, references=[reference])["image"] for image, reference in zip(x, y, strict=True)]
    return torch.from_numpy(np.stack(adapted)).permute(0, 3, 1, 2).clamp(0, 1).to(images.device, images.dtype)
