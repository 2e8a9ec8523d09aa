"""Refining a pack into a pack: the order and the labels stay the same."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from synthreal.bulk.batch import CUDA_PX
from synthreal.bulk.job import ChunkResult, ExecutionSettings, Job, OnProgress, WorkFolder, split
from synthreal.data.encoding import from_unit, stored_array, stored_tensor, to_unit
from synthreal.data.ondisk import refuse_bad
from synthreal.data.pack import Pack
from synthreal.data.writer import PackWriter
from synthreal.errors import UserError
from synthreal.files import atomic_write
from synthreal.inference.indexed import BLOCK, IndexedRefiner


@dataclass
class Rows:
    """The images of a block, ``(B, C, H, W)`` in stored dtype, and their refined versions one after another."""

    block: int
    first: int
    image: np.ndarray
    refined: Tensor | None = None

    def __len__(self) -> int:
        return len(self.image)


class PackSource:
    """The first ``limit`` images of a pack; ``origin`` goes into the header of the result.

    A ``done`` file holds the refined pixels of a block.
    """

    kind = "pack"
    folder = False

    def __init__(self, path: Path, limit: int | None, origin: dict[str, Any]) -> None:
        self.path, self.root, self.names = path, path.parent, [path.name]
        self.pack = Pack(path)
        self.count = len(self.pack) if limit is None else min(limit, len(self.pack))
        self._origin, self._limit = origin, limit

    def check_channels(self, channels: int, run: Path) -> None:
        """Raise ``UserError`` if a refiner with ``channels`` channels cannot take the images."""
        if self.pack.image.channels != channels:
            raise UserError(
                f"{self.path}: holds images {self.pack.image}, the refiner of {run} takes {channels} channels; "
                "use a pack of its domain"
            )

    def sizes(self) -> list[tuple[int, int]]:
        """``(H, W)`` of the first 256 images."""
        return [(self.pack.image.height, self.pack.image.width)] * min(self.count, BLOCK)

    def block_size(self, batch: int, size: tuple[int, int]) -> int:
        """Images of a block: 256 as in resident sets, fewer if they are large, but at least a batch."""
        px = size[0] * size[1]
        return max(batch, BLOCK if px * BLOCK <= CUDA_PX else CUDA_PX // px // batch * batch)

    def blocks(self, length: int) -> list[range]:
        """The images of every block."""
        return split(self.count, length)

    def loads(self, block: int, rows: range, settings: ExecutionSettings) -> Iterator[Rows]:
        """Read a block at once, and its labels, so that bad ones end the job early."""
        image, labels = self.pack.read(slice(rows.start, rows.stop))
        refuse_bad(self.pack, np.arange(rows.start, rows.stop), image, labels)
        yield Rows(block, rows.start, image)

    def pixels(self, load: Rows) -> list[np.ndarray]:
        """The images of a block, in stored dtype."""
        return [load.image]

    def refine(self, load: Rows, refiner: IndexedRefiner, job: Job) -> None:
        """Refine a block; its images pass through the network in smaller batches."""
        image = to_unit(stored_tensor(load.image).to(refiner.device, non_blocking=True))
        index = torch.arange(load.first, load.first + len(load))
        versions = [
            from_unit(refiner(image, index, full=job.settings.block, version=version), self.pack.image.dtype)
            for version in range(job.spec.samples)
        ]
        load.refined = torch.stack(versions, dim=1).flatten(0, 1)

    def write(self, load: Rows, work: WorkFolder) -> None:
        """Write the ``done`` file."""
        assert load.refined is not None, "refine() comes first"
        with atomic_write(work.done_path(load.block)) as partial:
            stored_array(load.refined).tofile(partial)

    def assemble(self, job: Job, work: WorkFolder, on_progress: OnProgress) -> ChunkResult:
        """Concatenate the blocks and add the labels, once every block is finished."""
        pack, samples = self.pack, job.spec.samples
        writer = PackWriter(
            work.whole,
            image=pack.image,
            labels=pack.labels,
            role=pack.role,
            name=f"{pack.name} refined",
            options={**self._origin, "seed": job.spec.seed, "samples": samples, "job": job.model_dump()},
            versions=pack.header.versions,
            limit=self._limit,
            overwrite=True,
        )
        with writer:
            for item in pack.skipped:
                writer.skip(item)
            for block, rows in enumerate(self.blocks(job.settings.block)):
                path, shape = work.done_path(block), (len(rows) * samples, *pack.image.shape)
                if path.stat().st_size != math.prod(shape) * np.dtype(pack.image.dtype).itemsize:
                    raise UserError(f"{path}: damaged; delete it and run the same command again")
                pixels = np.fromfile(path, pack.image.dtype)
                labels = pack.read_labels(slice(rows.start, rows.stop))
                repeated = {name: np.repeat(values, samples, axis=0) for name, values in labels.items()}
                writer.append(pixels.reshape(shape), repeated)
                on_progress(rows.stop, self.count)
        return ChunkResult(refined=writer.n)

    def close(self) -> None:
        """Close the file."""
        self.pack.close()
