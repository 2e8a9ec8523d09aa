"""Refining a Ray Data data set, for people who have a cluster: ``refine_dataset(ds, run)``.

Rows keep all their other columns, the key among them; their order is Ray's. A row comes out the same on any machine of
the cluster that computes likewise, whatever batch Ray puts it in: batches are filled up, noise is a function of a
column. Nothing here restarts; for that, and for files that keep their names, there is ``synthreal refine``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from synthreal.errors import UserError

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
    seed: int = 0,
    precision: str | None = None,
) -> Dataset:
    """Refine a column of images with a pool of actors, lazily as Ray does everything.

    Args:
        ds: rows whose ``column`` is an image ``(H, W)`` or ``(H, W, 3)``, uint8 or uint16; sizes may differ.
        run: run directory, which every machine must be able to read.
        column: the images.
        index: a column of integers of which noise maps are a function; needed by a refiner that takes some.
        batch_size: images through the network at once.
        workers: actors, each with a refiner of its own.
        gpus: of each actor; 0 refines on the CPU.
        seed: of noise maps.
        precision: "auto", "float32" or "bfloat16"; None is the run's.

    Raises:
        UserError: Ray is missing, no such run, a column that is missing.
    """
    try:
        from ray.data import ActorPoolStrategy
    except ImportError as error:
        raise UserError(f"Ray is missing ({error}); pip install 'synthreal[ray]', or use synthreal refine") from None
    from synthreal.inference.transform import Refine

    refine = Refine.load(run, device="cpu")
    if refine.noise_channels and index is None:
        raise UserError(f"the refiner of {run} takes noise maps; name a column of integers with index=")
    known = ds.columns() or []
    for name in filter(None, (column, index)):
        if name not in known:
            raise UserError(f"the data set has no column {name!r}; it has {', '.join(map(repr, known)) or 'none'}")
    settings = {
        "run": str(Path(run).resolve()),
        "device": "cuda" if gpus else "cpu",
        "column": column,
        "index": index,
        "batch_size": batch_size,
        "seed": seed,
        "precision": precision,
    }
    return ds.map_batches(
        _Worker,
        fn_constructor_kwargs=settings,
        batch_size=batch_size,
        batch_format="numpy",
        compute=ActorPoolStrategy(size=workers),
        num_gpus=gpus or None,
    )


class _Worker:
    """A refiner in an actor."""

    def __init__(
        self,
        run: str,
        device: str,
        column: str,
        index: str | None,
        batch_size: int,
        seed: int,
        precision: str | None,
    ) -> None:
        from synthreal.inference.indexed import IndexedRefiner
        from synthreal.inference.transform import Refine

        refine = Refine.load(run, device=device, precision=precision)
        refine.micro_batch = batch_size
        self._painter = IndexedRefiner(refine, seed=seed)
        self._column, self._index, self._full = column, index, batch_size

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """A batch of rows with another image column."""
        from synthreal.data.encoding import stored_array

        given = batch[self._column]
        if not len(given):
            return batch
        images = [np.asarray(image) for image in given]
        places = batch[self._index].tolist() if self._index else list(range(len(images)))
        refined: list[np.ndarray] = list(images)
        for rows in _alike(images):
            planes = np.stack([_planes(images[row], self._painter.transform.channels) for row in rows])
            (found,) = self._painter.refine_stored(planes, [places[row] for row in rows], full=self._full)
            for row, pixels in zip(rows, stored_array(found), strict=True):
                refined[row] = pixels.transpose(1, 2, 0).reshape(images[row].shape)
        if given.dtype != object:
            return {**batch, self._column: np.stack(refined)}
        column = np.empty(len(refined), object)
        column[:] = refined
        return {**batch, self._column: column}


def _alike(images: list[np.ndarray]) -> Iterator[list[int]]:
    """Rows of images of one shape and dtype."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for row, image in enumerate(images):
        groups.setdefault((image.shape, image.dtype), []).append(row)
    yield from groups.values()


def _planes(image: np.ndarray, channels: int) -> np.ndarray:
    """``(C, H, W)`` of ``(H, W)`` or ``(H, W, C)``."""
    shown = image[..., None] if image.ndim == 2 else image
    fits = shown.ndim == 3 and shown.shape[-1] in ({1, 3} if channels == 1 else {channels})
    if not fits or shown.dtype not in (np.uint8, np.uint16):
        wanted = "(H, W) or (H, W, 3)" if channels == 1 else f"(H, W, {channels})"
        raise UserError(f"an image is {image.shape} {image.dtype}; the refiner takes {wanted}, uint8 or uint16")
    return np.ascontiguousarray(shown.transpose(2, 0, 1))
