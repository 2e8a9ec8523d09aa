"""A pack too large for the device: images, and labels when they are large, are read from the file batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from synthreal.data.encoding import first_bad, label_tensor, stored_tensor, to_unit
from synthreal.data.pack import Pack
from synthreal.data.resident import Block, Resident
from synthreal.data.seed import derived_generator
from synthreal.errors import UserError
from synthreal.spec import Batch


class HostBatch(NamedTuple):
    """The part of a batch that is read from the file, on the host, before it is moved to the device."""

    indices: Tensor
    image: Tensor
    labels: Mapping[str, Tensor]


class OnDisk:
    """The images ``rows`` of a pack, increasing ``(N,)``, read from the file when a batch needs them.

    A batch takes two steps, so that a thread can do the first: :meth:`fetch` reads on the host (into pinned memory for
    a CUDA device), :meth:`upload` moves and scales. The labels ``names`` are held on the device if they fit
    ``budget_bytes`` (most are far smaller than their image), else read with the images.
    """

    def __init__(
        self, pack: Pack, *, device: torch.device, rows: np.ndarray, names: tuple[str, ...], budget_bytes: int
    ) -> None:
        self.pack, self.device, self.label_names, self.skipped = pack, device, names, pack.skipped
        self.total, self._rows = len(pack), rows
        fits = len(rows) * pack.label_bytes(names) <= budget_bytes
        self._read_names = () if fits else names
        labels = pack.read_labels(rows, names if fits else ())
        refuse_bad(pack, rows, None, labels)
        self._held = {name: label_tensor(values).to(device) for name, values in labels.items()}

    def __len__(self) -> int:
        return len(self._rows)

    def fetch(self, indices: Tensor) -> HostBatch:
        """Read the images ``indices`` ``(B,)`` int64 on the host; any order, repetitions allowed."""
        wanted, place = np.unique(indices.cpu().numpy(), return_inverse=True)
        if wanted.size and (wanted[0] < 0 or wanted[-1] >= len(self)):
            raise IndexError(f"indices must be within 0..{len(self) - 1}")
        rows = self._rows[wanted]
        image, labels = self.pack.read(rows, self._read_names)
        refuse_bad(self.pack, rows, image, labels)
        read = {name: self._pinned(label_tensor(values[place])) for name, values in labels.items()}
        return HostBatch(self._pinned(indices), self._pinned(stored_tensor(image[place])), read)

    def _pinned(self, tensor: Tensor) -> Tensor:
        return tensor.pin_memory() if self.device.type == "cuda" and tensor.device.type == "cpu" else tensor

    def select(self, indices: Tensor) -> Batch:
        """Images ``indices`` ``(B,)`` int64 and their labels, as :meth:`upload` gives them."""
        return self.upload(self.fetch(indices))

    def upload(self, fetched: HostBatch) -> Batch:
        """The fetched images as float32 ``(B, C, H, W)`` in [0, 1] and labels ``(B, *L)`` on the device."""
        read = {name: values.to(self.device, non_blocking=True) for name, values in fetched.labels.items()}
        if self._held:
            rows = fetched.indices.to(self.device, non_blocking=True)
            read.update({name: values.index_select(0, rows) for name, values in self._held.items()})
        image = to_unit(fetched.image.to(self.device, non_blocking=True))
        return Batch(image, {name: read[name] for name in self.label_names})

    def first(self, count: int) -> Resident:
        """The first ``count`` images, or all if there are fewer, held on the device."""
        return load(self.pack, device=self.device, rows=self._rows[:count], names=self.label_names)


def choose_rows(n: int, count: int | None) -> np.ndarray:
    """``count`` of ``n`` rows (None: all), increasing int64: a random choice that a larger count contains.

    A reader yields one person after another, so its first rows are no sample. The seed is 0 in every run.
    """
    if count is None or count >= n:
        return np.arange(n)
    order = torch.randperm(n, generator=derived_generator("cpu", 0, "count"))
    return np.sort(order[:count].numpy())


def load(pack: Pack, *, device: torch.device, rows: np.ndarray, names: tuple[str, ...] = ()) -> Resident:
    """The images ``rows`` of a pack, increasing ``(N,)``, and the labels ``names``, checked and held on the device."""

    def blocks() -> Iterator[Block]:
        for block, image, labels in pack.blocks(rows, names):
            refuse_bad(pack, block, image, labels)
            yield stored_tensor(image), {name: label_tensor(values) for name, values in labels.items()}

    return Resident.from_blocks(blocks(), len(rows), device, pack.skipped, len(pack))


def refuse_bad(pack: Pack, indices: np.ndarray, image: np.ndarray | None, labels: Mapping[str, np.ndarray]) -> None:
    """Raise ``UserError`` for the first non-finite value, or pixel outside [0, 1], of the images ``indices``."""
    if image is not None and (bad := first_bad(image, unit=True)) is not None:
        where = f"{pack.path}: image {indices[bad]}"
        raise UserError(f"{where} has a pixel that is NaN, infinite or outside [0, 1]; prepare the pack again")
    for name, values in labels.items():
        if (bad := first_bad(values)) is not None:
            where = f"{pack.path}: label {name!r} of image {indices[bad]}"
            raise UserError(f"{where} is NaN or infinite in float32; prepare the pack again")
