"""The refiner as a function for Hugging Face ``datasets``: ``map`` and ``set_transform``.

The library asks for no base class, so nothing of it is imported.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from synthreal.adapters.images import refine_images
from synthreal.adapters.lazy import LazyRefine, fresh_seed, picked
from synthreal.errors import UserError
from synthreal.inference.pretrained import CONFIG, WEIGHTS
from synthreal.inference.value_range import check_probability


class Refine:
    """The refiner on one column of batched examples; the other columns, and features, stay.

    ``dataset.map(Refine(run), batched=True)`` or ``dataset.set_transform(Refine(run))``. Images are PIL images (the
    ``Image`` feature) or, for ``Array2D`` and ``Array3D`` features, what ``with_format("numpy")`` or ``"torch"`` gives:
    ``(H, W)``, ``(H, W, C)`` or ``(C, H, W)``, uint8 or float in [0, 1]; they come back as they came, but tensors as
    arrays, or ``map`` would forget their feature. Images of one size pass through the network together. The fingerprint
    is a function of the run's path, its weights and these arguments: ``map`` finds its cache again, and not after
    another fit.

    Args:
        run: run directory, or any folder with its two files.
        column: the images.
        p: probability of each image.
        seed: picks and noise maps are a function of ``(seed, index)``, so that ``map`` needs ``with_indices=True``
            where there are any; None draws them anew at every call, which suits ``set_transform``.
        device: "cpu", "cuda" or "cuda:N"; "auto" is a GPU where there is one, but the CPU in worker processes.

    Raises:
        UserError: the folder holds no refiner; later, images it does not take, a missing column or missing indices, or
            CUDA in a forked worker.
    """

    def __init__(
        self,
        run: str | Path,
        column: str = "image",
        *,
        p: float = 1.0,
        seed: int | None = 0,
        device: str | torch.device = "auto",
    ) -> None:
        self.column, self.p, self.seed = column, check_probability(p), seed
        self._refine = LazyRefine(run, device)
        content = b"".join((Path(run) / name).read_bytes() for name in (CONFIG, WEIGHTS))
        self.digest = hashlib.sha256(content).hexdigest()  # pickled, hence part of the fingerprint

    def __call__(self, examples: Any, indices: Sequence[int] | None = None) -> Any:
        """Examples as a mapping of columns to lists; the same with refined images."""
        if not isinstance(examples, Mapping):
            raise UserError(
                f"examples come as {type(examples).__name__} instead of columns by name; call map without "
                "input_columns, of a data set with_format None, 'numpy' or 'torch'"
            )
        if self.column not in examples:
            raise UserError(f"column {self.column!r} is not there; choose of {', '.join(examples)} with column=...")
        images = examples[self.column]
        if isinstance(images, str | bytes) or not hasattr(images, "__len__"):
            raise UserError("one example instead of a batch; call map(..., batched=True)")
        if len(images) and isinstance(images[0], list):
            raise UserError(f"column {self.column!r} holds nested lists; use dataset.with_format('numpy') or 'torch'")
        if indices is None and self.seed is not None and (self.p < 1 or self._refine.noise_channels):
            raise UserError(
                "picks and noise maps are a function of (seed, index): call map(..., with_indices=True), or give "
                "seed=None to draw them anew at every call"
            )
        keys = torch.arange(len(images)) if indices is None else torch.tensor(indices)
        seed = fresh_seed() if self.seed is None else self.seed
        picks = picked(self.p, keys, seed)
        rows: list[int] = picks.nonzero().flatten().tolist()
        found = [image.numpy(force=True) if isinstance(image, Tensor) else image for image in images]
        names = [f"{self.column} of row {key}" for key in keys[picks].tolist()]
        painted = refine_images(self._refine, [found[row] for row in rows], keys=keys[picks], seed=seed, names=names)
        for row, image in zip(rows, painted, strict=True):
            found[row] = image
        return examples | {self.column: found}  # type: ignore[operator]  # dict and LazyBatch have it
