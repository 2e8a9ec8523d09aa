"""What a kind of data set does in a job: it reads, stores and assembles; the job says which images and how."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from synthreal.bulk.job import ExecutionSettings, Job
from synthreal.data.folder import ordinary
from synthreal.inference.indexed import IndexedRefiner
from synthreal.spec import Skipped

Load = TypeVar("Load", bound=Sized)
Done = TypeVar("Done")

OnProgress = Callable[[int, int], None]  # told how much is done, and of how much


@dataclass(frozen=True)
class Outcome:
    """What came of a job: images refined, other files copied, and what failed."""

    refined: int
    copied: int = 0
    failed: tuple[Skipped, ...] = field(default=())


class Source(ABC, Generic[Load, Done]):
    """The data set IN of a job: ``count`` images in a fixed order.

    ``Load`` is what is read at once and refined together, ``Done`` what becomes of it.
    """

    kind: str
    path: Path
    count: int
    folder = False  # whether the result is a folder

    @abstractmethod
    def identity(self) -> str:
        """A hash that tells whether the data set is still the same: of names, sizes and times of change of files."""

    @abstractmethod
    def agree(self, channels: int, run: Path) -> None:
        """Refuse images that a refiner of so many channels cannot take. Raises ``UserError``."""

    @abstractmethod
    def sizes(self) -> list[tuple[int, int]]:
        """``(H, W)`` of the first images, 256 at most."""

    @abstractmethod
    def cut(self, batch: int, size: tuple[int, int]) -> tuple[int, int]:
        """Images refined together at most, and images of a block, for that batch size and images of that size."""

    @abstractmethod
    def loads(self, start: int, stop: int, how: ExecutionSettings) -> Iterator[Load]:
        """Read images ``start`` to ``stop``; called in the reading thread."""

    @abstractmethod
    def refine(self, load: Load, painter: IndexedRefiner, how: ExecutionSettings, samples: int) -> Done:
        """Refine what was read; called in the main thread."""

    @abstractmethod
    def part(self, path: Path) -> AbstractContextManager[Callable[[Done], None]]:
        """A part file being written, by a function that takes what was refined; used in the writing thread."""

    @abstractmethod
    def assemble(self, job: Job, parts: list[Path], whole: Path, on_progress: OnProgress) -> Outcome:
        """Make the result ``whole`` of all parts; tells images done and in all, of a folder files."""

    @abstractmethod
    def record(self, target: Path) -> dict[str, Any] | None:
        """The record that a finished job left with its result; None where there is none."""

    def close(self) -> None:
        """Close files and threads."""


def unreadable(path: Path) -> Skipped | None:
    """A file that cannot be copied, and why; None when it can."""
    try:
        ordinary(path).open("rb").close()
    except OSError as error:
        return Skipped(str(path), f"cannot be read ({error.strerror})")
    return None


def fingerprint(files: Iterable[tuple[str, Path]]) -> str:
    """Hash of names, sizes and times of change; a link to nothing has neither."""
    content = hashlib.sha256()
    for name, path in files:
        try:
            found = path.stat()
            state = f"{found.st_size}\0{found.st_mtime_ns}"
        except OSError:  # told when it is its turn
            state = ""
        content.update(os.fsencode(f"{name}\0{state}\n"))
    return content.hexdigest()
