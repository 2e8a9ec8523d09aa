"""The interface of a kind of data set in a job."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sized
from pathlib import Path
from typing import Generic, TypeVar

from synthreal.bulk.job import ExecutionSettings, Job, Outcome, WorkFolder
from synthreal.inference.indexed import IndexedRefiner

Load = TypeVar("Load", bound=Sized)

OnProgress = Callable[[int, int], None]  # called with the number done and the total


class Source(ABC, Generic[Load]):
    """The input of a job: images in a fixed order, in blocks, which consist of loads.

    Attributes:
        kind: "pack", "folder" or "shards".
        path: the input as the user named it.
        root: the folder of its files.
        names: its files below ``root``.
        count: number of images.
        folder: whether the result is a folder.
    """

    kind: str
    path: Path
    root: Path
    names: list[str]
    count: int
    folder = False

    def identity(self) -> str:
        """Hash of names, sizes and modification times of the files."""
        content = hashlib.sha256()
        for name in self.names:
            try:
                status = (self.root / name).stat()
                state = f"{status.st_size}\0{status.st_mtime_ns}"
            except OSError:  # reported when the file is read
                state = ""
            content.update(os.fsencode(f"{name}\0{state}\n"))
        return content.hexdigest()

    @abstractmethod
    def check_channels(self, channels: int, run: Path) -> None:
        """Raise ``UserError`` if a refiner with ``channels`` channels cannot take the images."""

    @abstractmethod
    def sizes(self) -> list[tuple[int, int]]:
        """``(H, W)`` of the first images, 256 at most."""

    @abstractmethod
    def block_size(self, batch: int, size: tuple[int, int]) -> int:
        """Images of a block, given the batch size and the size of the largest of the first images."""

    def blocks(self, length: int) -> list[range]:
        """The images of every block of ``length`` images."""
        return [range(start, min(start + length, self.count)) for start in range(0, self.count, length)]

    @abstractmethod
    def loads(self, block: int, rows: range, settings: ExecutionSettings) -> Iterator[Load]:
        """Read a block; called in the reading thread."""

    @abstractmethod
    def refine(self, load: Load, refiner: IndexedRefiner, job: Job) -> None:
        """Refine a load in place; called in the main thread."""

    @abstractmethod
    def write(self, load: Load, work: WorkFolder) -> None:
        """Write a refined load, and after the last load of a block its ``done`` file; called in the writing thread."""

    @abstractmethod
    def assemble(self, job: Job, work: WorkFolder, on_progress: OnProgress) -> Outcome:
        """Complete ``work.whole`` once every block is finished."""

    @abstractmethod
    def close(self) -> None:
        """Close files and threads."""
