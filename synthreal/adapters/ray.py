"""Refine a Ray Data data set on a cluster: ``refine_dataset(ds, run)``.

Rows keep all other columns; their order is Ray's. A row's result does not depend on the batch Ray puts it in: batches
are filled up, and noise maps and versions are a function of a column. Use ``synthreal refine`` for jobs that continue
after an interruption and for files that keep their names.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synthreal.data.encoding import stored_array
from synthreal.errors import UserError
from synthreal.inference.indexed import IndexedRefiner
from synthreal.inference.transform import Refine

if TYPE_CHECKING:
    from ray.data import Dataset


def refine_dataset(
    ds: Dataset,
    run: str | Path,
    *,
    column: str = "image",
    index: str | None = None,
    batch_size: int = 64,
    workers: int = 1,
    gpus: float = 0,
    versions: bool = False,
    seed: int = 0,
    precision: str | None = None,
) -> Dataset:
    """Refine a column of images with a pool of actors; lazy, like all of Ray Data.

    Args:
        ds: rows whose ``column`` is an image ``(H, W)`` or ``(H, W, 3)``, uint8 or uint16; sizes may differ.
        run: run directory, readable by every machine.
        column: name of the image column.
        index: a column of integers of which noise maps and versions are a function; required by either.
        batch_size: number of images per network pass.
        workers: number of actors, each with its own refiner.
        gpus: GPUs per actor; 0 refines on the CPU.
        versions: each refined image becomes one of three versions, equally likely, as in ``synthreal.Refine``.
        seed: seed of the noise maps and versions.
        precision: "auto", "float32" or "bfloat16"; None is that of the run.

    Raises:
        UserError: Ray is missing, no such run, no styles for ``versions``, or a column is missing.
    """
    try:
        from ray.data import ActorPoolStrategy
    except ImportError as error:
        raise UserError(f"cannot import Ray ({error}); pip install 'synthreal[ray]', or use synthreal refine") from None
    noisy = Refine.load(run, device="cpu", versions=versions).noise_channels
    if index is None and (noisy or versions):
        need = f"the refiner of {run} takes noise maps" if noisy else "versions=True chooses by index"
        raise UserError(f"{need}; name a column of integers with index=")
    columns = ds.columns() or []
    for name in filter(None, (column, index)):
        if name not in columns:
            raise UserError(f"the data set has no column {name!r}; it has {', '.join(map(repr, columns)) or 'none'}")
    device = "cuda" if gpus else "cpu"
    return ds.map_batches(
        _Actor,
        fn_constructor_args=(str(Path(run).resolve()), device, column, index, batch_size, versions, seed, precision),
        batch_size=batch_size,
        batch_format="numpy",
        compute=ActorPoolStrategy(size=workers),
        num_gpus=gpus or None,
    )


class _Actor:
    """A refiner in a process of Ray's."""

    def __init__(
        self,
        run: str,
        device: str,
        column: str,
        index: str | None,
        batch_size: int,
        versions: bool,
        seed: int,
        precision: str | None,
    ) -> None:
        refine = Refine.load(run, device=device, precision=precision)
        refine.micro_batch = batch_size
        self._refiner = IndexedRefiner(refine, seed=seed)
        self._column, self._index, self._batch_size = column, index, batch_size
        self._versions = None if versions else 1

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The batch with refined images."""
        images, refined = [np.asarray(image) for image in batch[self._column]], batch[self._column].copy()
        indices = batch[self._index].tolist() if self._index else list(range(len(images)))
        groups: dict[Any, list[int]] = defaultdict(list)
        for row, image in enumerate(images):
            groups[image.shape, image.dtype].append(row)
        for rows in groups.values():
            planes = np.stack([_channels_first(images[row], self._refiner.transform.channels) for row in rows])
            index = [indices[row] for row in rows]
            (result,) = self._refiner.refine_stored(planes, index, full=self._batch_size, versions=self._versions)
            for row, pixels in zip(rows, stored_array(result), strict=True):
                refined[row] = pixels.transpose(1, 2, 0).reshape(images[row].shape)
        return {**batch, self._column: refined}


def _channels_first(image: np.ndarray, channels: int) -> np.ndarray:
    """``(H, W)`` or ``(H, W, C)`` as ``(C, H, W)``."""
    shown = image[..., None] if image.ndim == 2 else image
    fits = shown.ndim == 3 and shown.shape[-1] in ({1, 3} if channels == 1 else {channels})
    if not fits or shown.dtype not in (np.uint8, np.uint16):
        expected = "(H, W) or (H, W, 3)" if channels == 1 else f"(H, W, {channels})"
        raise UserError(f"an image is {image.shape} {image.dtype}; the refiner takes {expected}, uint8 or uint16")
    return np.ascontiguousarray(shown.transpose(2, 0, 1))
