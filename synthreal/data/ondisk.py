"""A pack too large for the device: images are read from the file batch by batch, labels too when they are large."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from synthreal.data.encoding import first_bad, label_tensor, stored_tensor, to_unit, torch_dtype
from synthreal.data.pack import Pack
from synthreal.data.resident import Resident
from synthreal.errors import UserError
from synthreal.spec import Batch, ImageSpec, Skipped


@dataclass(frozen=True)
class Fetched:
    """What one batch needs from the file, still on the host: made by the reading thread, moved by the caller."""

    indices: Tensor
    image: Tensor
    labels: Mapping[str, Tensor]


class OnDisk:
    """The first ``count`` images of a pack, left in the file.

    A batch takes two steps so that a thread can do the first: :meth:`fetch` reads on the host (pinned memory for a
    CUDA device), :meth:`upload` moves and scales. Labels that fit ``budget_bytes`` stay on the device, since a gaze
    vector is a thousand times smaller than its image; larger ones (masks) are read with the images.
    """

    def __init__(
        self,
        pack: Pack,
        *,
        device: torch.device,
        count: int | None = None,
        names: tuple[str, ...] = (),
        budget_bytes: int = 0,
    ) -> None:
        self.pack = pack
        self.device = device
        self.skipped: tuple[Skipped, ...] = pack.skipped
        self.label_names = names
        self._n = len(pack) if count is None else min(count, len(pack))
        dtypes = pack.label_dtypes
        sizes = {spec.name: self._n * int(np.prod(spec.shape)) * dtypes[spec.name].itemsize for spec in pack.labels}
        held = names if sum(sizes[name] for name in names) <= budget_bytes else ()
        self._read_names = tuple(name for name in names if name not in held)
        self._held = load(pack, device=device, count=count, names=held, images=False).labels

    def __len__(self) -> int:
        return self._n

    def fetch(self, indices: Tensor) -> Fetched:
        """Read images ``indices`` ``(B,)`` int64 on the host, in any order, repetitions allowed."""
        wanted, place = np.unique(indices.cpu().numpy(), return_inverse=True)
        if wanted.size and (wanted[0] < 0 or wanted[-1] >= self._n):
            raise IndexError(f"indices must be within 0..{self._n - 1}")
        image, labels = self.pack.read(wanted, self._read_names)
        refuse_bad(self.pack, wanted, image, labels)
        pin = self.device.type == "cuda"
        tensors = {name: label_tensor(values[place]) for name, values in labels.items()}
        return Fetched(
            _pinned(indices, pin),
            _pinned(stored_tensor(image[place]), pin),
            {name: _pinned(values, pin) for name, values in tensors.items()},
        )

    def upload(self, fetched: Fetched) -> Batch:
        """The fetched images as float32 ``(B, C, H, W)`` in [0, 1] and labels ``(B, *L)`` on the device."""
        image = to_unit(fetched.image.to(self.device, non_blocking=True))
        read = {name: values.to(self.device, non_blocking=True) for name, values in fetched.labels.items()}
        if self._held:
            rows = fetched.indices.to(self.device, non_blocking=True)
            read.update({name: values.index_select(0, rows) for name, values in self._held.items()})
        return Batch(image, {name: read[name] for name in self.label_names})

    def first(self, count: int) -> Resident:
        """The first ``count`` images (all where it holds fewer), held on the device."""
        return load(self.pack, device=self.device, count=min(count, self._n), names=self.label_names)


def load(
    pack: Pack, *, device: torch.device, count: int | None = None, names: tuple[str, ...] = (), images: bool = True
) -> Resident:
    """The first ``count`` images of a pack and the labels ``names``, moved to the device block by block.

    With ``images=False`` the image tensor is ``(0, C, H, W)``. A value that is not finite raises ``UserError``.
    """
    n = len(pack) if count is None else min(count, len(pack))
    kept: dict[str, Tensor] = {}
    shape = (n if images else 0, *pack.image.shape)
    image = torch.empty(shape, dtype=torch_dtype(pack.image.dtype), device=device)
    if not images and not names:
        return Resident(image, {}, pack.skipped)
    for start, pixels, labels in pack.blocks(n, names):
        rows = slice(start, start + len(pixels))
        refuse_bad(pack, np.arange(rows.start, rows.stop), pixels, labels)
        if images:
            image[rows] = stored_tensor(pixels).to(device)
        for name, values in labels.items():
            block = label_tensor(values)
            if name not in kept:
                kept[name] = torch.empty((n, *block.shape[1:]), dtype=block.dtype, device=device)
            kept[name][rows] = block.to(device)
    return Resident(image, kept, pack.skipped)


def agree(pack: Pack, image: ImageSpec) -> None:
    """Refuse a pack whose images are not the run's."""
    if not pack.image.alike(image):
        raise UserError(
            f"{pack.path}: holds images {pack.image} ({pack.image.meaning or pack.name}), this run uses {image} "
            f"({image.meaning or 'its own'}); give a pack of this domain"
        )


def refuse_bad(pack: Pack, indices: np.ndarray, image: np.ndarray, labels: Mapping[str, np.ndarray]) -> None:
    """Raise ``UserError`` for the first value read that is not finite or, of an image, outside [0, 1]."""
    bad = first_bad(image, unit=True)
    if bad is not None:
        where = f"{pack.path}: image {indices[bad]}"
        raise UserError(f"{where} has a pixel that is NaN, infinite or outside [0, 1]; prepare the pack again")
    for name, values in labels.items():
        if (bad := first_bad(values)) is not None:
            raise UserError(f"{pack.path}: label {name!r} of image {indices[bad]} is NaN or infinite; prepare it again")


def _pinned(tensor: Tensor, pin: bool) -> Tensor:
    return tensor.pin_memory() if pin and tensor.device.type == "cpu" else tensor
