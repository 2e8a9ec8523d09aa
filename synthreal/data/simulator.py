"""A simulator as a data set: endless batches that are a function of a seed and a position.

Two streams come from one seed. Training asks for ``draw(position, n)``, one generator per position. A data set of a
fixed size is made of **blocks of 256**: image ``i`` is row ``i % 256`` of block ``i // 256``, each block drawn with its
own generator, so image ``i`` is the same whether a hundred or a million are drawn. The device is part of the function:
torch's CUDA generator draws other numbers than its CPU generator.

Drawn images pass through the stored dtype of the domain: a refiner must not tell simulated from real images by grey
levels that no file could hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from synthreal.data.encoding import from_unit, to_unit, torch_dtype
from synthreal.data.resident import Resident
from synthreal.data.seed import derived_generator
from synthreal.errors import UserError
from synthreal.spec import Batch, DatasetSpec, ImageSpec

BLOCK = 256
_CHECK_EVERY_CUDA = 16
_SLACK = 1e-3


class SimulatorSource:
    """A simulator opened in a role.

    Values that are not finite, and pixels outside [0, 1], raise ``UserError``: on the CPU at once, on CUDA, where
    looking costs a synchronisation, at the first draw, then at most 16 draws later.

    Args:
        spec: a data set with ``render``; its role ``real`` drops the labels.
        options: its options.
        seed: of everything it draws.
        device: where it draws.
        image: the run's images; what is drawn must have this shape and takes its levels.
    """

    def __init__(self, spec: DatasetSpec, options: Any, seed: int, device: torch.device, image: ImageSpec) -> None:
        if spec.render is None:
            raise TypeError(f"data set {spec.name!r} is read from files; it cannot draw")
        self.spec = spec
        self.options = options
        self.seed = seed
        self.device = torch.device(device)
        self.image = image
        self.labels = spec.carried
        self._render = spec.render
        self._draws = 0
        self._bad = torch.zeros((), dtype=torch.bool, device=self.device)

    def draw(self, position: int, n: int) -> Batch:
        """``n`` images float32 ``(n, C, H, W)`` in [0, 1] with labels: a function of (seed, position, n) alone."""
        stored, labels = self._stored(n, derived_generator(self.device, position, *self._stream, "draw"))
        return Batch(to_unit(stored), labels)

    def blocks(self, count: int) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        """The first ``count`` images of the fixed data set of this seed with their labels, in stored dtype.

        They come on the device, 256 at a time (the last time what is left): what a pack is written from.
        """
        for start in range(0, count, BLOCK):
            generator = derived_generator(self.device, start // BLOCK, *self._stream, "block")
            stored, labels = self._stored(BLOCK, generator, True)
            rows = slice(count - start)
            yield stored[rows], {name: values[rows] for name, values in labels.items()}

    def to_resident(self, count: int) -> Resident:
        """The same images, held on the device."""
        if count < 1:
            raise ValueError(f"{count} images of a drawn data set: ask for at least 1")
        image = torch.empty((count, *self.image.shape), dtype=torch_dtype(self.image.dtype), device=self.device)
        kept: dict[str, Tensor] = {}
        done = 0
        for pixels, labels in self.blocks(count):
            rows = slice(done, done + len(pixels))
            image[rows] = pixels
            for name, values in labels.items():
                if name not in kept:
                    kept[name] = values.new_empty((count, *values.shape[1:]))
                kept[name][rows] = values
            done = rows.stop
        return Resident(image, kept)

    @property
    def _stream(self) -> tuple[str | int, ...]:
        return (self.spec.name, self.spec.role, self.seed)

    def _stored(self, n: int, generator: torch.Generator, look: bool = False) -> tuple[Tensor, dict[str, Tensor]]:
        """One call of ``render``, checked and quantised; ``look`` forces the check for finite values now."""
        with torch.no_grad():
            batch = self._render(self.options, n, generator)
            where = f"data set {self.spec.name!r}"
            if not isinstance(batch, Batch) or not isinstance(batch.image, Tensor):
                raise UserError(f"{where}: render returns a {type(batch).__name__}; return a Batch of tensors")
            if len(batch.image) != n or not batch.image.is_floating_point():
                raise UserError(
                    f"{where}: render returns {len(batch.image)} images in {batch.image.dtype}, asked for {n}; "
                    "return so many float images in [0, 1]"
                )
            if batch.image.shape != (n, *self.image.shape):
                found = "x".join(map(str, batch.image.shape[1:]))
                raise UserError(
                    f"{where}: draws images {found}, this run uses {self.image}; use a simulator of this domain"
                )
            missing = [label for label in self.labels if label.name not in batch.labels]
            if missing:
                raise UserError(
                    f"{where}: render returns no label {missing[0].name!r}; return it or drop its LabelSpec"
                )
            labels = {label.name: batch.labels[label.name] for label in self.labels}
            for label in self.labels:
                if (shape := labels[label.name].shape) != (n, *label.shape):
                    raise UserError(
                        f"{where}: label {label.name!r} is {tuple(shape[1:])}, its LabelSpec says {label.shape}; "
                        "make them equal"
                    )
            self._watch(batch.image, labels.values(), look)
            return from_unit(batch.image, self.image.dtype), labels

    def _watch(self, image: Tensor, labels: Iterable[Tensor], look: bool) -> None:
        low, high = image.aminmax()
        self._bad |= ~((low >= -_SLACK) & (high <= 1 + _SLACK))  # a NaN is neither
        for values in labels:
            if values.is_floating_point():
                self._bad |= ~torch.isfinite(values).all()
        due = self.device.type != "cuda" or self._draws % _CHECK_EVERY_CUDA == 0
        self._draws += 1
        if (due or look) and bool(self._bad):
            raise UserError(
                f"data set {self.spec.name!r}: drew a NaN, an infinite value or a pixel outside [0, 1]; "
                "correct render or its options"
            )
