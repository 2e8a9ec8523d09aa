"""A data set held whole on the run's device: a batch takes an index select and a scaling."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from synthreal.data.encoding import content_sha256, stored_array, to_unit
from synthreal.spec import Batch, Skipped

Block = tuple[Tensor, Mapping[str, Tensor]]  # stored images (B, C, H, W) and labels (B, *L)
_IMAGE = "/image"  # no label has this name
_BLOCK = 8192
PREDICT = 512
PREDICT_PX = 1 << 20


@dataclass(frozen=True)
class Resident:
    """Images ``(N, C, H, W)`` in stored dtype (uint16 as int16 bits) and labels ``(N, *L)`` by name on one device.

    ``total`` is the number of images of the pack that they were chosen from; None for other images.
    """

    image: Tensor
    labels: Mapping[str, Tensor] = field(default_factory=dict)
    skipped: tuple[Skipped, ...] = ()
    total: int | None = None

    @classmethod
    def from_blocks(
        cls,
        blocks: Iterable[Block],
        count: int,
        device: torch.device,
        skipped: tuple[Skipped, ...] = (),
        total: int | None = None,
    ) -> Resident:
        """Copy ``count`` >= 1 stored images and labels, given in blocks, to the device."""
        held: dict[str, Tensor] = {}
        start = 0
        for image, labels in blocks:
            for name, values in {_IMAGE: image, **labels}.items():
                if name not in held:
                    held[name] = torch.empty((count, *values.shape[1:]), dtype=values.dtype, device=device)
                held[name][start : start + len(image)] = values.to(device)
            start += len(image)
        return cls(held.pop(_IMAGE), held, skipped, total)

    def __len__(self) -> int:
        return len(self.image)

    @property
    def device(self) -> torch.device:
        """The device of the images."""
        return self.image.device

    def select(self, indices: Tensor) -> Batch:
        """Images ``indices`` ``(B,)`` int64, in that order, as float32 ``(B, C, H, W)`` in [0, 1] with their labels."""
        indices = indices.to(self.device, non_blocking=True)
        labels = {name: values.index_select(0, indices) for name, values in self.labels.items()}
        return Batch(to_unit(self.image.index_select(0, indices)), labels)

    def first(self, count: int) -> Resident:
        """The first ``count`` images, or all if there are fewer; memory is shared."""
        labels = {name: values[:count] for name, values in self.labels.items()}
        return Resident(self.image[:count], labels, self.skipped)

    def sha256(self) -> str:
        """Hash of the content, equal to :meth:`synthreal.data.pack.Pack.sha256` of a pack of the same content."""
        blocks = (slice(start, start + _BLOCK) for start in range(0, len(self), _BLOCK))
        return content_sha256(
            (stored_array(self.image[rows]), {name: values[rows].cpu().numpy() for name, values in self.labels.items()})
            for rows in blocks
        )


def prediction_batches(data: Resident, indices: Tensor | None = None) -> Sequence[Tensor]:
    """The indices of ``data`` (None: all), in order, in batches for prediction: 512 images or 1 Mpx at most."""
    rows = torch.arange(len(data)) if indices is None else indices
    batches: Sequence[Tensor] = rows.split(max(1, min(PREDICT, PREDICT_PX // data.image.shape[-2:].numel())))
    return batches
