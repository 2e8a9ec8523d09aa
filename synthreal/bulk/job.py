"""A job: what is refined and how, fixed at the start, and the folder of parts beside the result.

``OUT.parts/job.json`` is the plan, ``OUT.parts/<id>/`` holds a part file per block; the id is a hash of the plan, so
parts of another job are never taken for this one's. Everything that can change a bit of the result is in the plan.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from synthreal.bulk.ranks import sign
from synthreal.errors import UserError
from synthreal.files import write_text, writing

FORMAT = 1


@dataclass(frozen=True)
class JobSpec:
    """What a job refines; another value is another job."""

    kind: str
    images: int
    input: str
    refiner: str
    seed: int
    samples: int
    limit: int | None


@dataclass(frozen=True)
class ExecutionSettings:
    """How: settings that round differently, or cut the work differently.

    Attributes:
        batch_size: images through the network at once.
        px: their px at most: of pictures larger than the first ones fewer go at once.
        group: images refined together at most.
        block: images of a part file.
        precision: "float32" or "bfloat16".
        threads: of torch.
        tile: the side above which images are refined in tiles.
        compiled: whether the network is.
        device: its type.
        torch: version.
    """

    batch_size: int
    px: int
    group: int
    block: int
    precision: str
    threads: int
    tile: int | None
    compiled: bool
    device: str
    torch: str

    def full(self, height: int, width: int) -> int:
        """Pictures of that size that go through the network at once."""
        return max(1, min(self.batch_size, self.px // (height * width)))


@dataclass(frozen=True)
class Job:
    """A plan."""

    what: JobSpec
    how: ExecutionSettings

    @property
    def id(self) -> str:
        """Sixteen hex digits of the plan."""
        return hashlib.sha256(json.dumps(self.record(), sort_keys=True).encode()).hexdigest()[:16]

    @property
    def blocks(self) -> int:
        """How many there are."""
        return -(-self.what.images // self.how.block)

    def rows(self, block: int) -> range:
        """The images of a block."""
        return range(block * self.how.block, min((block + 1) * self.how.block, self.what.images))

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return {"synthreal_job": FORMAT, "what": asdict(self.what), "how": asdict(self.how)}

    @classmethod
    def of(cls, record: dict[str, Any]) -> Job:
        """From JSON. Raises ``KeyError`` or ``TypeError`` when it is none."""
        if record["synthreal_job"] != FORMAT:
            raise KeyError("synthreal_job")
        return cls(JobSpec(**record["what"]), ExecutionSettings(**record["how"]))


_WORDS = {
    "kind": "another kind of input",
    "images": "another number of images",
    "input": "an input that has changed since, or another one",
    "refiner": "another refiner",
    "batch_size": "--batch-size",
    "torch": "PyTorch",
}


def difference(job: Job, what: JobSpec, asked: dict[str, Any]) -> str | None:
    """Why a job is not the one wanted now, in words; None when it is.

    Args:
        job: the one that was begun.
        what: what is wanted.
        asked: settings of ``How`` that were asked for; others are as they were.
    """
    for part, wanted in ((job.what, asdict(what)), (job.how, asked)):
        for field in fields(part):
            name, then = field.name, getattr(part, field.name)
            if name not in wanted or wanted[name] == then:
                continue
            word = _WORDS.get(name, f"--{name}")
            return word if word.startswith("an") else f"{word} {_shown(then)}, not {_shown(wanted[name])}"
    return None


def _shown(value: object) -> str:
    return "none" if value is None else str(value)


class Parts:
    """The folder beside a result that holds the plan and the finished parts of its job."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = target.with_name(target.name + ".parts")
        self._lock: int | None = None

    def __enter__(self) -> Parts:
        return self

    def __exit__(self, *error: object) -> None:
        if self._lock is not None:
            os.close(self._lock)

    def claim(self) -> None:
        """Make the folder and keep it for this process.

        Raises:
            UserError: another process has it, or it is no folder of parts.
        """
        import fcntl

        with writing(self.path):
            self.path.mkdir(exist_ok=True)
        ours = {"lock", "job.json"}
        if not (self.path / "job.json").exists() and (
            others := [found.name for found in self.path.iterdir() if found.name not in ours and not _passing(found)]
        ):
            raise UserError(
                f"{self.path}: is in the way and holds {others[0]}, no parts; move it or choose another OUT"
            )
        with writing(self.path):
            self._lock = os.open(self.path / "lock", os.O_WRONLY | os.O_CREAT)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"{self.target}: another process is refining into it; wait for it, or stop it") from None

    def read(self) -> Job | None:
        """The plan; None when there is none.

        Raises:
            UserError: it is damaged, or of another version of this library.
        """
        path = self.path / "job.json"
        try:
            return Job.of(json.loads(path.read_text(encoding="utf-8")))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, KeyError, TypeError):
            raise UserError(f"{path}: no plan of this version of synthreal; delete {self.path}") from None

    def begin(self, job: Job) -> None:
        """Write the plan, without parts of an earlier one."""
        self._remove_parts()
        write_text(self.path / "job.json", json.dumps(job.record(), indent=1) + "\n")
        self.open(job)

    def open(self, job: Job) -> None:
        """Make the folder of a job's parts."""
        with writing(self.path):
            self.folder(job).mkdir(exist_ok=True)

    def folder(self, job: Job) -> Path:
        """Where a job's parts are."""
        return self.path / job.id

    def part(self, job: Job, block: int) -> Path:
        """The part file of a block."""
        return self.folder(job) / f"{block:08d}.part"

    def done(self, job: Job) -> set[int]:
        """The blocks that have their part."""
        return {int(found.stem) for found in self.folder(job).glob("*.part") if found.stem.isdigit()}

    def any(self) -> bool:
        """Whether there is a part of any job."""
        return next(self.path.glob("*/*.part"), None) is not None

    def discard(self) -> None:
        """Remove the folder; the plan last, so that what is left of a removal is known for what it is."""
        if not self.path.is_dir():
            return
        self._remove_parts()
        for name in ("lock", "job.json"):
            (self.path / name).unlink(missing_ok=True)
        try:
            self.path.rmdir()
        except OSError:  # a process that is just ending shows its last sign of life
            shutil.rmtree(self.path, ignore_errors=True)

    def signs(self, world: int) -> list[Path]:
        """The signs of life of the other processes."""
        return [found for number in range(1, world) if (found := sign(self.path, number)).exists()]

    def _remove_parts(self) -> None:
        for found in self.path.iterdir():
            if found.is_dir():
                shutil.rmtree(found)


def _passing(path: Path) -> bool:
    return path.suffix in (".alive", ".partial")
