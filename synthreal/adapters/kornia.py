"""The refiner as an augmentation of kornia."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from synthreal.adapters.lazy import LazyRefine, missing_library
from synthreal.inference.value_range import check_probability

try:
    from kornia.augmentation import IntensityAugmentationBase2D
except ImportError as error:
    raise missing_library("kornia", "kornia", error) from None


class Refine(IntensityAugmentationBase2D):
    """Refine ``(B, C, H, W)`` float in [0, 1], alone or in ``AugmentationSequential``; other keys do not change.

    Each image is refined with probability ``p``; the others cost nothing. Calling again with ``params=`` gives the same
    images, including noise maps and versions. The network runs on the images' device, without gradients, and is not
    part of the pipeline's parameters and state. It pickles as the path of the run.

    Args:
        run: run directory, or any folder with its two files.
        p: probability with which an image is refined.
        same_on_batch: refine all images of a batch or none, with the same noise maps, version and style.
        keepdim: return ``(C, H, W)`` for ``(C, H, W)``; otherwise kornia adds the batch.
        versions: each refined image becomes one of three versions, equally likely, as in ``synthreal.Refine``.

    Raises:
        UserError: the folder holds no refiner, or no styles for ``versions``, or ``p`` is not a probability; when
            called, an invalid image, or CUDA in a forked worker.
    """

    def __init__(
        self,
        run: str | Path,
        p: float = 1.0,
        same_on_batch: bool = False,
        keepdim: bool = False,
        versions: bool = False,
    ) -> None:
        super().__init__(p=check_probability(p), same_on_batch=same_on_batch, keepdim=keepdim)
        self.flags = {"run": str(run), "versions": versions}
        self._refine = LazyRefine(run, device=None, versions=versions)

    def generate_parameters(self, batch_shape: tuple[int, ...]) -> dict[str, Tensor]:
        """Draw the key of each image's noise maps and version, ``(B,)`` int64."""
        drawn = torch.randint(2**63 - 1, (1 if self.same_on_batch else batch_shape[0],), device=self.device)
        return {"noise_key": drawn.expand(batch_shape[0])}

    def apply_transform(
        self, input: Tensor, params: dict[str, Tensor], flags: dict[str, Any], transform: Tensor | None = None
    ) -> Tensor:
        """Refine the picked images."""
        picks = params["batch_prob"] > 0.5  # evaluated on the device of the parameters, so as not to wait for a GPU
        keys = params["noise_key"].to(picks.device)
        if picks.all():
            return self._refine(input, keys=keys, seed=0)
        out = input.clone()
        picked = picks.nonzero()[:, 0]
        rows = picked.to(input.device, non_blocking=input.is_cuda)
        if len(rows):
            out[rows] = self._refine(input[rows], keys=keys[picked], seed=0)
        return out
