"""A job: its fixed inputs and settings, and the work folder ``OUT.parts`` beside the result.

``OUT.parts/job.json`` describes the job with everything that can change a bit of the result. ``OUT.parts/whole`` is the
result under construction. A block of images is finished when its file ``OUT.parts/BLOCK.done`` exists; a restart skips
it and computes the others again, from their first image. Nothing appears at OUT before the result is complete.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from synthreal.errors import UserError
from synthreal.files import read_bounded, refuse_link, write_errors, write_text
from synthreal.spec import Skipped

Count = Annotated[int, Field(ge=1, lt=2**63)]
MAX_RECORD_BYTES = 256 << 20  # a failed file has a few hundred
OnProgress = Callable[[int, int], None]  # called with the number done and the total


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class JobSpec(_Record):
    """The inputs of a job; any other value makes another job."""

    kind: str
    images: int
    input: str
    seed: int
    samples: int
    refiner: str  # depends on the samples, so a difference of theirs is reported first
    limit: int | None


class ExecutionSettings(_Record):
    """Settings that change how results round, or how the work is divided.

    Images of more than tile * tile px are refined in tiles (None: never); ``px`` limits the pixels of a batch, so that
    larger images pass in smaller batches; ``block`` counts the images of a block.
    """

    precision: Literal["float32", "bfloat16"]
    threads: Count
    tile: Count | None
    device: str
    torch: str
    batch_size: Count
    px: Count
    block: Count
    compiled: bool


class ChunkResult(BaseModel):
    """Numbers of refined images and copied files, and the failed files."""

    model_config = ConfigDict(extra="forbid")

    refined: int = Field(0, ge=0)
    copied: int = Field(0, ge=0)
    failed: list[Skipped] = []

    def __iadd__(self, other: ChunkResult) -> ChunkResult:
        self.refined += other.refined
        self.copied += other.copied
        self.failed += other.failed
        return self


class Job(_Record):
    """Inputs and settings, and the outcome of a finished job."""

    synthreal_job: Literal[1] = 1  # version of this record
    spec: JobSpec
    settings: ExecutionSettings
    outcome: ChunkResult | None = None

    def difference(self, spec: JobSpec, fixed: dict[str, Any]) -> str | None:
        """The first difference to a request for ``spec`` with some ``fixed`` settings, in words; None if it fits."""
        before = {**self.spec.model_dump(), **self.settings.model_dump()}
        for name, value in {**spec.model_dump(), **fixed}.items():
            if value != before[name]:
                option = _OPTIONS.get(name, f"--{name}")
                return _OTHERS.get(name) or f"{option} {_text(before[name])}, not {_text(value)}"
        return None


def split(count: int, length: int) -> list[range]:
    """Blocks of ``length`` images."""
    return [range(start, min(start + length, count)) for start in range(0, count, length)]


_OTHERS = {  # values that say nothing to a user
    "kind": "another kind of input",
    "images": "another number of images",
    "input": "an input that has changed since, or another one",
    "refiner": "another refiner",
}
_OPTIONS = {"batch_size": "--batch-size", "torch": "PyTorch"}


def _text(value: object) -> str:
    return "none" if value is None else str(value)


class WorkFolder:
    """The folder ``OUT.parts``, which one process can lock until it calls :meth:`close`."""

    def __init__(self, target: Path) -> None:
        self.path = target.with_name(target.name + ".parts")
        self.whole = self.path / f"whole{target.suffix}"
        self._target, self._record = target, self.path / "job.json"
        self._lock: int | None = None

    def close(self) -> None:
        """Release the lock."""
        if self._lock is not None:
            os.close(self._lock)

    def claim(self) -> None:
        """Create the folder and lock it for this process.

        Raises:
            UserError: another process has locked it, or the folder is not a work folder.
        """
        import fcntl

        with write_errors(self.path):
            self.path.mkdir(exist_ok=True)
            foreign = [path.name for path in self.path.iterdir() if not path.name.startswith(("lock", "whole", "."))]
        if foreign and not self._record.exists():
            raise UserError(f"{self.path}: exists and holds {foreign[0]}, not a job; move it or choose another OUT")
        for path in chain((self.path, self.path / "lock", self.whole), self.whole.rglob("*")):
            refuse_link(path)
        with write_errors(self.path):
            self._lock = os.open(self.path / "lock", os.O_WRONLY | os.O_CREAT)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"{self._target}: another process is refining into it; wait for it, or stop it") from None

    def read(self) -> Job | None:
        """The interrupted job; None if there is none. Raises ``UserError`` if its record is damaged."""
        try:
            return Job.model_validate_json(read_bounded(self._record, MAX_RECORD_BYTES))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError):
            raise UserError(
                f"{self._record}: not the record of a job of this version of synthreal; delete {self.path}"
            ) from None

    def begin(self, job: Job) -> None:
        """Remove an earlier job and record this one."""
        self._clear(but="lock")
        write_text(self._record, job.model_dump_json(indent=1) + "\n")

    def done_path(self, block: int) -> Path:
        """The file of a finished block."""
        return self.path / f"{block:08d}.done"

    def done(self) -> set[int]:
        """The finished blocks."""
        return {int(path.stem) for path in self.path.glob("[0-9]" * 8 + ".done")}

    def is_empty(self) -> bool:
        """Whether a killed job has left nothing but the folder."""
        return self.path.is_dir() and not any(self.path.iterdir())

    def discard(self) -> None:
        """Remove the folder."""
        if self.path.is_dir():
            self._clear()
            shutil.rmtree(self.path, ignore_errors=True)

    def _clear(self, but: str = "") -> None:
        """Remove everything but one file; the record last, so that a folder is recognised after a kill."""
        with write_errors(self.path):
            for path in sorted(self.path.iterdir(), key=self._record.__eq__):
                if path.is_dir():
                    shutil.rmtree(path)
                elif path.name != but:
                    path.unlink()
