"""The refiner as a function for ``map`` and ``set_transform`` of Hugging Face ``datasets``; needs no import of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from synthreal.adapters.images import refine_some
from synthreal.adapters.lazy import Device, LazyRefine
from synthreal.errors import UserError
from synthreal.inference.pretrained import CONFIG, STYLES, WEIGHTS
from synthreal.inference.value_range import check_probability


class Refine:
    """Refine one column of batched examples; other columns and the features do not change.

    ``dataset.map(Refine(run), batched=True)`` or ``dataset.set_transform(Refine(run))``. Images are PIL images (the
    ``Image`` feature) or, for ``Array2D`` and ``Array3D`` features, the arrays of ``with_format("numpy")`` or
    ``"torch"``: ``(H, W)``, ``(H, W, C)`` or ``(C, H, W)``, uint8 or float in [0, 1]. Results have the same form, but
    tensors become arrays, because ``map`` would lose their feature. None, a missing image, remains None. The
    fingerprint depends on the run's path, its weights (with ``versions`` also its styles) and these arguments, so that
    ``map`` finds its cache, but not after another fit.

    Args:
        run: run directory, or any folder with its two files.
        column: name of the image column.
        p: probability with which an image is refined.
        versions: each refined image becomes one of three versions, equally likely, as in ``synthreal.Refine``.
        seed: picks, noise maps and versions are a function of ``(seed, index)`` and need ``with_indices=True``; None
            draws them at every call, which suits ``set_transform``.
        device: "cpu", "cuda" or "cuda:N"; "auto" is a GPU if there is one, but the CPU in worker processes.

    Raises:
        UserError: the folder holds no refiner, or no styles for ``versions``; when called, an invalid image, a missing
            column or missing indices, or CUDA in a forked worker.
    """

    def __init__(
        self,
        run: str | Path,
        column: str = "image",
        *,
        p: float = 1.0,
        versions: bool = False,
        seed: int | None = 0,
        device: Device = "auto",
    ) -> None:
        self.column, self.p, self.seed = column, check_probability(p), seed
        self._refine = LazyRefine(run, device, versions=versions)
        names = (CONFIG, WEIGHTS, STYLES) if versions else (CONFIG, WEIGHTS)
        content = b"".join((Path(run) / name).read_bytes() for name in names)
        self.digest = hashlib.sha256(content).hexdigest()  # pickled, and therefore part of the fingerprint

    def __call__(self, examples: Any, indices: Sequence[int] | None = None) -> Any:
        """Refine a batch, a mapping of columns to lists."""
        if not isinstance(examples, Mapping):
            raise UserError(
                f"examples are {type(examples).__name__} instead of columns by name; call map without input_columns, "
                "on a data set with_format None, 'numpy' or 'torch'"
            )
        if self.column not in examples:
            raise UserError(f"no column {self.column!r}; choose one of {', '.join(examples)} with column=...")
        images = examples[self.column]
        if isinstance(images, str | bytes) or not hasattr(images, "__len__"):
            raise UserError("one example instead of a batch; call map(..., batched=True)")
        if len(images) and isinstance(images[0], list):
            raise UserError(f"column {self.column!r} holds nested lists; use dataset.with_format('numpy') or 'torch'")
        drawn = self.p < 1 or self._refine.versions or self._refine.noise_channels
        if indices is None and self.seed is not None and drawn:
            raise UserError(
                "a seed needs map(..., with_indices=True); seed=None draws picks, noise and versions at every call"
            )
        keys = torch.arange(len(images)) if indices is None else torch.tensor(indices)
        results = [image.numpy(force=True) if isinstance(image, Tensor) else image for image in images]
        rows = [row for row, image in enumerate(results) if image is not None]
        names = [f"{self.column} of row {key}" for key in keys[rows].tolist()]
        arrays = [results[row] for row in rows]
        refined = refine_some(self._refine, arrays, p=self.p, keys=keys[rows], seed=self.seed, names=names)
        for row, image in zip(rows, refined, strict=True):
            results[row] = image
        return examples | {self.column: results}  # type: ignore[operator]  # dict and LazyBatch have it
