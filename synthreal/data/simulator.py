"""A simulator as a data set: endless batches that are a function of a seed and a position.

There are two streams per seed. Training calls ``draw(position, n)``, which has a generator per position. A data set of
fixed size is made of **blocks of 256**, each with a generator of its own, so image ``i`` (row ``i % 256`` of block
``i // 256``) does not depend on the size of the set. It does depend on the device: CUDA has another generator.

Simulated images are rounded to the levels of the domain's stored dtype: otherwise a discriminator could tell simulated
from real images by grey levels that no file can hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from synthreal.data.encoding import from_unit, quantize
from synthreal.data.resident import Block, Resident
from synthreal.data.seed import derived_generator
from synthreal.errors import UserError
from synthreal.spec import Batch, DatasetSpec, ImageSpec

BLOCK = 256
_SLACK = 1e-3
_VALUES = "render returns a NaN, an infinite value or a pixel outside [0, 1]; correct it"


class SimulatorSource:
    """A simulator opened in a role.

    Every batch must have images of the shape of ``image``, the labels, and pixels in [0, 1]; labels are finite in the
    first batch and in blocks. On a GPU the host does not wait for the comparison of the pixels of later batches:
    :meth:`check_drawn` reports it.
    """

    def __init__(self, spec: DatasetSpec, options: Any, seed: int, device: torch.device, image: ImageSpec) -> None:
        assert spec.render is not None, "a simulator has render"
        self.spec, self.options, self.seed, self.device, self.image = spec, options, seed, device, image
        self.labels, self._render, self._checked = spec.available_labels, spec.render, False
        self._outside = torch.zeros((), dtype=torch.bool, device=device)  # whether a drawn pixel was not in [0, 1]

    def draw(self, position: int, n: int) -> Batch:
        """``n`` images float32 ``(n, C, H, W)`` in [0, 1] with labels: a function of (seed, position, n) alone."""
        image, labels = self._rendered("draw", position, n, check=not self._checked)
        self._checked = True
        self._outside |= _is_outside(image)
        if self.device.type == "cpu":
            self.check_drawn()
        return Batch(quantize(image, self.image.dtype), labels)

    def check_drawn(self) -> None:
        """Raise ``UserError`` if a pixel of any batch drawn so far was outside [0, 1]; waits for the device."""
        if self._outside:
            raise UserError(f"data set {self.spec.name!r}: {_VALUES}")

    def blocks(self, count: int) -> Iterator[Block]:
        """The first ``count`` images of the data set of this seed, in stored dtype, with labels, in blocks of 256."""
        for start in range(0, count, BLOCK):
            image, labels = self._rendered("block", start // BLOCK, BLOCK, check=True)
            rows = slice(count - start)
            yield from_unit(image[rows], self.image.dtype), {name: values[rows] for name, values in labels.items()}

    def to_resident(self, count: int) -> Resident:
        """The images of :meth:`blocks` (``count`` >= 1), held on the device."""
        return Resident.from_blocks(self.blocks(count), count, self.device)

    def _rendered(self, stream: str, index: int, n: int, *, check: bool) -> tuple[Tensor, dict[str, Tensor]]:
        """The images and labels of one call of ``render``."""
        generator = derived_generator(self.device, index, self.spec.name, self.spec.role, self.seed, stream)
        with torch.no_grad():
            batch = self._render(self.options, n, generator)
        self._check_form(batch, n)
        if check:
            self._check_values(batch)
        return batch.image, {label.name: batch.labels[label.name] for label in self.labels}

    def _check_form(self, batch: Any, n: int) -> None:
        where = f"data set {self.spec.name!r}"
        if not isinstance(batch, Batch) or not isinstance(batch.image, Tensor):
            raise UserError(f"{where}: render returns a {type(batch).__name__}; return a Batch of tensors")
        image = batch.image
        if image.shape != (n, *self.image.shape) or not image.is_floating_point():
            raise UserError(
                f"{where}: render returns {image.dtype} images {tuple(image.shape)}, this run uses "
                f"{(n, *self.image.shape)}; return float images in [0, 1], or choose a simulator of this domain"
            )
        for label in self.labels:
            values = batch.labels.get(label.name)
            if not isinstance(values, Tensor):
                name = f"label {label.name!r} as a tensor"
                raise UserError(f"{where}: render returns no {name}; return it or drop its LabelSpec")
            if values.shape != (n, *label.shape):
                shapes = f"of shape {tuple(values.shape[1:])}, its LabelSpec has {label.shape}"
                raise UserError(f"{where}: render returns label {label.name!r} {shapes}; make them equal")

    def _check_values(self, batch: Batch) -> None:
        finite = all(torch.isfinite(batch.labels[label.name]).all() for label in self.labels)
        if _is_outside(batch.image) or not finite:
            raise UserError(f"data set {self.spec.name!r}: {_VALUES}")


def _is_outside(image: Tensor) -> Tensor:
    """Whether a pixel is not in [0, 1], as a bool tensor ``()``; NaN is outside."""
    low, high = image.aminmax()
    return ~((low >= -_SLACK) & (high <= 1 + _SLACK))
