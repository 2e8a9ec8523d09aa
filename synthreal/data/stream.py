"""Endless batches from any source, as a pure function of a seed and a position.

The seed gives each epoch of a finite source a permutation. The permutations are joined end to end, and batch ``p`` of
``B`` images takes the entries ``p * B`` to ``(p + 1) * B - 1``. Every image comes once per epoch, a batch may span
epochs, and it may be larger than the data set. A run resumes from the position alone.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from synthreal.data.ondisk import HostBatch, OnDisk
from synthreal.data.seed import derived_generator
from synthreal.data.simulator import SimulatorSource
from synthreal.data.source import Source
from synthreal.spec import Batch

_AHEAD = 2


class Stream(AbstractContextManager["Stream"]):
    """Batches of ``batch_size`` images on ``device`` (None: the device of the source).

    The global batch has ``batch_size * world_size`` images, of which rank r takes the r-th ``batch_size``: together the
    processes see the images that one process would. Stored images are read for this rank alone; a simulator renders the
    whole batch in one call. The streams of one run need different seeds, or sources of equal size have the same order.

    For a source on disk a thread reads the next two batches while the device computes; its errors are raised by the
    :meth:`batch` that needs the result. Close the stream, or use it as a context manager, to end the thread.
    """

    def __init__(
        self,
        source: Source,
        batch_size: int,
        seed: int,
        device: torch.device | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if batch_size < 1 or not 0 <= rank < world_size:
            raise ValueError(f"batch_size {batch_size}, rank {rank} of {world_size}: not a share of a batch")
        self.source, self.batch_size, self.seed = source, batch_size, seed
        self.device = source.device if device is None else device
        self.rank, self.world_size = rank, world_size
        self._epoch = -1
        self._order = torch.empty(0, dtype=torch.int64)
        self._ahead: dict[int, Future[HostBatch]] = {}
        self._reader = ThreadPoolExecutor(1, "synthreal-read") if isinstance(source, OnDisk) else None

    def batch(self, position: int) -> Batch:
        """Batch ``position`` (>= 0): float32 ``(B, C, H, W)`` in [0, 1] and its labels."""
        if position < 0:
            raise ValueError(f"position {position} is negative")
        source = self.source
        if isinstance(source, SimulatorSource):
            whole = source.draw(position, self.batch_size * self.world_size)
            rows = slice(self.rank * self.batch_size, (self.rank + 1) * self.batch_size)
            batch = Batch(whole.image[rows], {name: values[rows] for name, values in whole.labels.items()})
        elif isinstance(source, OnDisk):
            batch = source.upload(self._read(source, position))
        else:
            batch = source.select(self._indices(position, source.device))
        if self.device == source.device:
            return batch
        labels = {name: values.to(self.device) for name, values in batch.labels.items()}
        return Batch(batch.image.to(self.device), labels)

    def close(self) -> None:
        """End the reading thread, after which a source on disk gives no more batches."""
        if self._reader is not None:
            self._reader.shutdown(wait=True, cancel_futures=True)
            self._ahead.clear()

    def __exit__(self, *error: object) -> None:
        self.close()

    def _read(self, source: OnDisk, position: int) -> HostBatch:
        """The batch as read from the file. Requests the next batches, and cancels requests for any others."""
        assert self._reader is not None, "a source on disk has a reading thread"
        upcoming = range(position, position + 1 + _AHEAD)
        for other in self._ahead.keys() - set(upcoming):
            self._ahead.pop(other).cancel()
        for other in upcoming:
            if other not in self._ahead:
                self._ahead[other] = self._reader.submit(source.fetch, self._indices(other, torch.device("cpu")))
        return self._ahead.pop(position).result()

    def _indices(self, position: int, device: torch.device) -> Tensor:
        """The indices ``(B,)`` int64 of this rank's batch, on ``device``."""
        assert not isinstance(self.source, SimulatorSource), "a simulator has no indices"
        n = len(self.source)
        start = (position * self.world_size + self.rank) * self.batch_size
        stop = start + self.batch_size
        epochs = range(start // n, (stop - 1) // n + 1)
        return torch.cat([self._permutation(i, n, device)[max(0, start - i * n) : stop - i * n] for i in epochs])

    def _permutation(self, epoch: int, n: int, device: torch.device) -> Tensor:
        """The order of one epoch, made on the CPU so that it is the same on every device; the last one is cached."""
        if epoch != self._epoch:
            generator = derived_generator("cpu", epoch, "epoch", self.seed)
            self._order = torch.randperm(n, generator=generator).to(device)
            self._epoch = epoch
        return self._order
