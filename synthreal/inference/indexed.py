"""Refining images with an index, independently of the images beside them.

Arithmetic rounds differently for other batch sizes, so batches are always full: the last one is filled up with copies,
whose results are dropped. Noise maps are a function of (seed, index, version, pixel), the real image whose style an
image takes is one of (seed, index, version). So a refined image is a function of the image, its index, the version, the
seed and the batch size, to the bit on machines with the same arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from synthreal.core.noise import indexed_choice
from synthreal.core.refiner import equal_slices
from synthreal.core.style_bank import VERSION_COUNT, StyleBank
from synthreal.data.encoding import from_unit, stored_tensor, to_unit
from synthreal.data.seed import derive_seed
from synthreal.device import resolve_micro_batch
from synthreal.inference.luma import luma, replace_luma
from synthreal.inference.tiles import margin_of, tiles
from synthreal.inference.transform import Refine
from synthreal.spec import StoredDtype

Window = tuple[slice, slice]
BLOCK = 256  # images of a full block


def version_by_index(refined: Tensor, index: Tensor, styles: StyleBank, *, seed: int, blend: float) -> Tensor:
    """Refined images ``(B, C, H, W)`` in [0, 1], each as one of three versions, equally likely.

    Version and style are a function of (seed, index); ``index`` is ``(B,)`` int64, on the CPU so as not to wait for a
    GPU. The style is that of ``synthreal refine --samples 3`` for the seed, index and version.
    """
    versions = indexed_choice(index, VERSION_COUNT, derive_seed(0, "version", seed))
    rows = [indexed_choice(index, len(styles), derive_seed(version, "style", seed)) for version in range(VERSION_COUNT)]
    return styles.adapt_each(refined, torch.stack(rows).gather(0, versions[None])[0], versions, blend=blend)


class IndexedRefiner:
    """A refiner for images that have an index; ``transform.micro_batch`` images pass through it at once.

    Images of more than ``tile * tile`` px are refined in tiles with sides of at most ``tile`` px. Versions above 0 are
    also in the style of a random real image, for which the folder of the refiner must hold styles.
    """

    def __init__(self, transform: Refine, *, seed: int, tile: int | None = None) -> None:
        self.transform = transform
        self.tile = tile
        self.device = next((parameter.device for parameter in transform.parameters()), torch.device("cpu"))
        self._seed = seed
        styles = None if transform.about is None else transform.about.styles
        self._styles = None if styles is None else styles.to(self.device)

    def is_tiled(self, height: int, width: int) -> bool:
        """Whether images of that size are refined in tiles."""
        return self.tile is not None and height * width > self.tile * self.tile

    def __call__(self, image: Tensor, index: Tensor, *, full: int, version: int | None = 0) -> Tensor:
        """Refine ``(B, C, H, W)`` float32 in [0, 1] with indices ``(B,)`` int64, on the device.

        The batch is filled up with copies to ``full`` images; ``version`` selects the noise maps and the style. None is
        :func:`version_by_index`, with the noise maps of version 0.
        """
        index = index.to(self.device)
        if self.is_tiled(*image.shape[-2:]):
            return torch.cat([self._in_tiles(image[i : i + 1], index[i : i + 1], version) for i in range(len(image))])
        refined = []
        micro = resolve_micro_batch(self.transform.micro_batch, self.device, image.shape[-2], image.shape[-1])
        for rows in equal_slices(full, micro):
            if not (real := len(image[rows])):
                break
            missing = rows.stop - rows.start - real
            batch, indices = _fill_up(image[rows], missing), _fill_up(index[rows], missing)
            noise = self._noise(indices, image.shape, version)
            refined.append(self._styled(self.transform(batch, noise), indices, version)[:real])
        return refined[0] if len(refined) == 1 else torch.cat(refined)

    def refine_stored(
        self, pixels: np.ndarray, index: Sequence[int], *, full: int, versions: int | None = 1
    ) -> list[Tensor]:
        """Refine stored pixels ``(B, C, H, W)`` uint8 or uint16 into ``versions`` tensors of the same dtype.

        None is one tensor, whose images are each one of three versions, see :func:`version_by_index`.
        A refiner of one channel refines the luma of colour images, whose chroma stays the same.
        """
        dtype: StoredDtype = "uint16" if pixels.dtype == np.uint16 else "uint8"
        image = to_unit(stored_tensor(pixels).to(self.device))
        before = luma(image) if self.transform.channels == 1 and pixels.shape[1] == 3 else None
        refined, indices = [], torch.tensor(index)
        for version in (None,) if versions is None else range(versions):
            after = self(image if before is None else before, indices, full=full, version=version)
            refined.append(from_unit(after if before is None else replace_luma(image, before, after), dtype))
        return refined

    def _in_tiles(self, image: Tensor, index: Tensor, version: int | None) -> Tensor:
        assert self.tile is not None
        margin = margin_of(self.transform.refiner)
        refined = torch.empty_like(image)
        for tile in tiles(image.shape[-2], image.shape[-1], side=self.tile, margin=margin):
            window = image[(..., *tile.window)].contiguous()
            noise = self._noise(index, image.shape, version, tile.window)
            refined[(..., *tile.core)] = self.transform(window, noise)[(..., *tile.core_in_window)]
        return self._styled(refined, index, version)

    def _styled(self, refined: Tensor, index: Tensor, version: int | None) -> Tensor:
        if version == 0:
            return refined
        about = self.transform.about
        assert about is not None and self._styles is not None, "without styles there is only version 0"
        blend = about.config.evaluation.histogram.blend
        if version is None:
            return version_by_index(refined, index, self._styles, seed=self._seed, blend=blend)
        rows = indexed_choice(index, len(self._styles), derive_seed(version, "style", self._seed))
        return self._styles.adapt(refined, rows, version, blend=blend)

    def _noise(
        self, index: Tensor, shape: torch.Size, version: int | None, window: Window | None = None
    ) -> Tensor | None:
        size = (shape[-2], shape[-1])
        return self.transform.noise_of(index, size, seed=self._seed, version=version or 0, window=window)


def _fill_up(values: Tensor, missing: int) -> Tensor:
    return torch.cat([values, values[-1:].expand(missing, *values.shape[1:])]) if missing else values
