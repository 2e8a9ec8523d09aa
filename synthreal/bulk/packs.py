"""A pack refined into a pack: images in order, labels untouched."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from synthreal.bulk.batch import CUDA_PX
from synthreal.bulk.job import ExecutionSettings, Job
from synthreal.bulk.source import OnProgress, Outcome, Source, fingerprint
from synthreal.data.encoding import from_unit, stored_array, stored_tensor, to_unit
from synthreal.data.ondisk import refuse_bad
from synthreal.data.pack import Pack
from synthreal.data.writer import PackWriter
from synthreal.errors import UserError
from synthreal.files import completing, writing
from synthreal.inference.indexed import BLOCK, IndexedRefiner

GROUP = BLOCK
PART_PX = 1 << 22  # of a part file, at least one group


@dataclass(frozen=True)
class Rows:
    """Images ``(B, C, H, W)`` in stored dtype, the first of which has index ``start``."""

    start: int
    image: np.ndarray

    def __len__(self) -> int:
        return len(self.image)


class PackSource(Source[Rows, Tensor]):
    """The first ``limit`` images of a pack. A part holds refined images as they are stored, and nothing else.

    Args:
        path: the pack.
        limit: images at most; None is all.
        origin: what the header of the result says of where it comes from.
    """

    kind = "pack"

    def __init__(self, path: Path, limit: int | None, origin: dict[str, Any]) -> None:
        self.path = path
        self.pack = Pack(path)
        self.count = len(self.pack) if limit is None else min(limit, len(self.pack))
        self._origin, self._limit = origin, limit

    def identity(self) -> str:
        """Of the file."""
        return fingerprint([("", self.path)])

    def agree(self, channels: int, run: Path) -> None:
        """The pack's images have the refiner's channels."""
        if self.pack.image.channels != channels:
            raise UserError(
                f"{self.path}: holds images {self.pack.image}, the refiner of {run} takes {channels} channels; "
                "use a pack of its domain"
            )

    def sizes(self) -> list[tuple[int, int]]:
        """All are the same."""
        return [(self.pack.image.height, self.pack.image.width)] * min(self.count, BLOCK)

    def cut(self, batch: int, size: tuple[int, int]) -> tuple[int, int]:
        """Groups of 256, as resident sets are refined; fewer of large images, more where the batch is larger."""
        px = size[0] * size[1]
        group = max(batch, GROUP if px * GROUP <= CUDA_PX else CUDA_PX // px // batch * batch)
        return group, group * max(1, PART_PX // (group * px))

    def loads(self, start: int, stop: int, how: ExecutionSettings) -> Iterator[Rows]:
        """Groups of rows; labels are read with them to be checked before hours are spent."""
        for first in range(start, stop, how.group):
            rows = slice(first, min(first + how.group, stop))
            image, labels = self.pack.read(rows)
            refuse_bad(self.pack, np.arange(rows.start, rows.stop), image, labels)
            yield Rows(first, image)

    def refine(self, load: Rows, painter: IndexedRefiner, how: ExecutionSettings, samples: int) -> Tensor:
        """Refined images in stored dtype, the versions of each one after the other."""
        stored = stored_tensor(load.image).to(painter.device, non_blocking=True)
        image, index = to_unit(stored), torch.arange(load.start, load.start + len(load))
        versions = [
            from_unit(painter(image, index, full=how.group, version=version), self.pack.image.dtype)
            for version in range(samples)
        ]
        return versions[0] if samples == 1 else torch.stack(versions, dim=1).flatten(0, 1)

    @contextmanager
    def part(self, path: Path) -> Iterator[Callable[[Tensor], None]]:
        """Raw pixels."""
        with completing(path) as partial, writing(path), partial.open("wb") as file:
            yield lambda refined: _write(file, refined)
            file.flush()

    def assemble(self, job: Job, parts: list[Path], whole: Path, on_progress: OnProgress) -> Outcome:
        """Parts one after the other, with the labels of their rows."""
        pack, samples = self.pack, job.what.samples
        options = {**self._origin, "seed": job.what.seed, "samples": samples, "job": job.record()}
        writer = PackWriter(
            whole,
            image=pack.image,
            labels=pack.labels,
            role=pack.role,
            name=f"{pack.name} refined",
            options=options,
            versions=pack.header.versions,
            limit=self._limit,
            overwrite=True,
        )
        with writer:
            for item in pack.skipped:
                writer.skip(item)
            for block, part in enumerate(parts):
                rows = job.rows(block)
                pixels = np.fromfile(part, pack.image.dtype)
                shape = (len(rows) * samples, *pack.image.shape)
                if pixels.size != np.prod(shape):
                    raise UserError(f"{part}: damaged; delete it and run the same command again")
                labels = {name: np.repeat(values, samples, axis=0) for name, values in self._labels(rows).items()}
                writer.append(pixels.reshape(shape), labels)
                on_progress(rows.stop, self.count)
        return Outcome(refined=writer.n)

    def record(self, target: Path) -> dict[str, Any] | None:
        """It is in the header of the pack."""
        try:
            with Pack(target) as pack:
                found = pack.options.get("job")
                return {**found, "outcome": asdict(Outcome(len(pack)))} if isinstance(found, dict) else None
        except UserError:
            return None

    def close(self) -> None:
        """Close the file."""
        self.pack.close()

    def _labels(self, rows: range) -> dict[str, np.ndarray]:
        return self.pack.read_labels(slice(rows.start, rows.stop))


def _write(file: Any, refined: Tensor) -> None:
    file.write(stored_array(refined).data)
