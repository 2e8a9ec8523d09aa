"""Refining images so that each comes out the same whatever is refined beside it.

Arithmetic rounds by batch size, so a batch is always full: the missing images of a last one are copies, which are
thrown away. Noise maps are a function of (seed, index, version, pixel). So what becomes of an image is a function of
the image, its index, the seed and the size of the batch, to the bit, on a machine that computes likewise.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from synthreal.core.refiner import micro_batches
from synthreal.data.encoding import from_unit, stored_tensor, to_unit
from synthreal.device import resolve_micro_batch
from synthreal.inference.luma import luma, replace_luma
from synthreal.inference.tiles import margin_of, tiles
from synthreal.inference.transform import Refine
from synthreal.spec import StoredDtype

Window = tuple[slice, slice]
BLOCK = 256  # images of a whole block


class IndexedRefiner:
    """A refiner for images that have an index.

    Args:
        transform: the refiner; ``transform.micro_batch`` images pass through it at once.
        seed: of noise maps.
        tile: images of more than ``tile * tile`` px are refined in tiles that keep at most ``tile`` px a side; None
            refines every image whole.
    """

    def __init__(self, transform: Refine, *, seed: int, tile: int | None = None) -> None:
        self.transform = transform
        self.tile = tile
        self.device = next((parameter.device for parameter in transform.parameters()), torch.device("cpu"))
        self._seed = seed

    def tiled(self, height: int, width: int) -> bool:
        """Whether images of that size are refined in tiles."""
        return self.tile is not None and height * width > self.tile * self.tile

    def __call__(self, image: Tensor, index: Tensor, *, full: int, version: int = 0) -> Tensor:
        """Refine ``(B, C, H, W)`` float32 in [0, 1] on the device.

        Args:
            image: the images.
            index: ``(B,)`` int64, their places in the data set.
            full: the number the batch is filled up to with copies, at least B.
            version: which of the refined versions that noise gives of an image.
        """
        if self.tiled(*image.shape[-2:]):
            return torch.cat([self._in_tiles(image[i : i + 1], index[i : i + 1], version) for i in range(len(image))])
        parts = []
        micro = resolve_micro_batch(self.transform.micro_batch, self.device, image.shape[-2], image.shape[-1])
        for rows in micro_batches(full, micro):
            if not (real := len(image[rows])):
                break
            missing = rows.stop - rows.start - real
            part = _filled(image[rows], missing)
            noise = self._noise(_filled(index[rows], missing), image.shape, version)
            parts.append(self.transform(part, noise)[:real])
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def stored(self, pixels: np.ndarray, index: Sequence[int], *, full: int, versions: int = 1) -> list[Tensor]:
        """Refine stored pixels ``(B, C, H, W)`` uint8 or uint16 into as many versions of the same dtype.

        A refiner of one channel refines the luma of three and keeps their chroma.
        """
        dtype: StoredDtype = "uint16" if pixels.dtype == np.uint16 else "uint8"
        image = to_unit(stored_tensor(pixels).to(self.device))
        before = luma(image) if self.transform.channels == 1 and pixels.shape[1] == 3 else None
        refined, places = [], torch.tensor(list(index))
        for version in range(versions):
            after = self(image if before is None else before, places, full=full, version=version)
            refined.append(from_unit(after if before is None else replace_luma(image, before, after), dtype))
        return refined

    def _in_tiles(self, image: Tensor, index: Tensor, version: int) -> Tensor:
        assert self.tile is not None
        margin = margin_of(self.transform.refiner)
        refined = torch.empty_like(image)
        for tile in tiles(image.shape[-2], image.shape[-1], side=self.tile, margin=margin):
            part = image[(..., *tile.window)].contiguous()
            noise = self._noise(index, image.shape, version, tile.window)
            refined[(..., *tile.kept)] = self.transform(part, noise)[(..., *tile.inside)]
        return refined

    def _noise(self, index: Tensor, shape: torch.Size, version: int, window: Window | None = None) -> Tensor | None:
        size = (shape[-2], shape[-1])
        return self.transform.noise_of(index.to(self.device), size, seed=self._seed, version=version, window=window)


def _filled(values: Tensor, missing: int) -> Tensor:
    return torch.cat([values, values[-1:].expand(missing, *values.shape[1:])]) if missing else values
