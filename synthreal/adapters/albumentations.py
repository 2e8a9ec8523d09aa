"""The refiner as a transform of albumentations."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

from synthreal.adapters.images import refine_images
from synthreal.adapters.lazy import LazyRefine, missing_library

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # no request to PyPI on import
try:
    import albumentations as A
    from albumentations.core.transforms_interface import BaseTransformInitSchema
except ImportError as error:
    raise missing_library("albumentations", "'synthreal[albumentations]'", error) from None


class Refine(A.ImageOnlyTransform):  # type: ignore[misc]
    """Refine ``image``, ``images``, ``volume`` and ``volumes``; masks, boxes, key points and labels do not change.

    Images are ``(H, W)``, ``(H, W, 1)`` or ``(H, W, C)``, uint8 or float32 in [0, 1]; results have the same form. The
    images of ``images=`` pass through the network together. It pickles and serialises as the path of the run, which is
    loaded on first use; ``A.from_dict`` knows the class once this module is imported.

    Args:
        run: run directory, or any folder with its two files.
        device: "cpu", "cuda" or "cuda:N"; "auto" is a GPU if there is one, but the CPU in worker processes.
        p: probability of a call; ``A.Compose(seed=...)`` seeds it, the noise maps and the versions.
        versions: each refined image becomes one of three versions, equally likely, as in ``synthreal.Refine``.

    Raises:
        UserError: the folder holds no refiner, or no styles for ``versions``; when called, an invalid image, or CUDA in
            a forked worker.
        ValueError: an argument of the wrong type (from albumentations).
    """

    class InitSchema(BaseTransformInitSchema):  # type: ignore[misc]
        """The schema with which albumentations validates the arguments."""

        run: str | Path
        device: str
        versions: bool

    def __init__(self, run: str | Path, device: str = "auto", p: float = 1.0, versions: bool = False) -> None:
        super().__init__(p=p)
        self.run, self.device, self.versions = str(run), device, versions  # read by serialisation
        self._refine = LazyRefine(run, device, versions=versions)

    def get_params(self) -> dict[str, Any]:
        """Draw the seed of noise maps and versions, which a replay uses again."""
        return {"noise_seed": int(self.random_generator.integers(2**63 - 1))}

    def apply(self, img: np.ndarray, *args: Any, noise_seed: int, **params: Any) -> np.ndarray:
        """Refine ``(H, W)`` or ``(H, W, C)``."""
        refined: np.ndarray = self.apply_to_images(img[None], noise_seed=noise_seed)[0]
        return refined

    def apply_to_images(self, images: np.ndarray, *args: Any, noise_seed: int, **params: Any) -> np.ndarray:
        """Refine ``(N, H, W)`` or ``(N, H, W, C)`` in one pass; each image has noise maps and a version of its own."""
        return np.stack(refine_images(self._refine, list(images), keys=torch.arange(len(images)), seed=noise_seed))
