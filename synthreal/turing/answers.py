"""The answers of a visual Turing test on disk: turing.jsonl, one line an answer, only ever appended to.

A line is one write to a file opened for appending, under a lock and followed by fsync, so that several processes can
share the file and what a rater was told is recorded stays recorded. Before its own line each looks at the others': an
answer that stands there already is not written twice. A last line that a power cut left unfinished is not read; the
next answer ends it first, and what it then holds is read or counted as damaged like any other line.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from synthreal.errors import UserError
from synthreal.files import sync, writing

FILE = "turing.jsonl"
Against = Literal["refined", "simulated"]
Choice = Literal["real", "synthetic"]
Truth = Literal["real", "refined", "simulated"]
Key = tuple[str, Against, int, int, int]


class Answer(BaseModel):
    """One answer, one line.

    Attributes:
        rater: who answered.
        trial: which of the rater's images, from 1.
        truth: what the image is.
        answer: what the rater took it for.
        seconds: from the image's last loading to the answer; a reload or another tab starts them anew.
        time: UTC, ISO 8601.
        against: what real images are compared with.
        images: how many of either the study shows a rater.
        seed: of the study.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rater: str
    trial: int = Field(ge=1)
    truth: Truth
    answer: Choice
    seconds: float = Field(ge=0)
    time: str
    against: Against
    images: int = Field(ge=1)
    seed: int

    @model_validator(mode="after")
    def _agrees(self) -> Answer:
        if self.truth not in ("real", self.against) or self.trial > 2 * self.images:
            raise ValueError(f"a study against {self.against} images, {self.images} of either kind, has no such trial")
        return self

    @property
    def key(self) -> Key:
        """What there can be one answer to."""
        return (self.rater, self.against, self.images, self.seed, self.trial)

    @property
    def right(self) -> bool:
        """Whether the rater told real from synthetic."""
        return (self.truth == "real") == (self.answer == "real")


class Answers:
    """The answers in a file, which other processes may be writing too.

    Attributes:
        path: the file; it need not exist yet.
        damaged: lines read so far that hold no answer.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damaged = 0
        self._read = 0
        self._found: dict[Key, Answer] = {}

    def all(self) -> list[Answer]:
        """Every answer in whole lines, in the order they were given; of two to one trial the first.

        Raises:
            UserError: the file exists and cannot be read.
        """
        try:
            self._catch_up()
        except FileNotFoundError:
            self._forget()
        except OSError as error:
            raise UserError(f"{self.path}: cannot read ({error.strerror}); give a run directory") from error
        return list(self._found.values())

    def append(self, answer: Answer) -> None:
        """Write an answer, unless its trial has one already; when this returns, it is on the disk.

        Raises:
            UserError: it could not be written.
        """
        with writing(self.path), self._locked() as handle:
            if not _ends_a_line(handle):
                _write(handle, b"\n")
            self._catch_up()
            if answer.key not in self._found:
                _write(handle, answer.model_dump_json().encode() + b"\n")
                os.fsync(handle)

    def prepare(self) -> None:
        """Make the file, so that a folder that cannot be written to shows before the first answer.

        Raises:
            UserError: it cannot be written.
        """
        with writing(self.path), self._locked():
            pass

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """The file open for appending, ours alone where the system has such locks; closing frees it."""
        made = not self.path.exists()
        handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            with suppress(ImportError):
                import fcntl

                fcntl.flock(handle, fcntl.LOCK_EX)
            if made:
                sync(self.path.parent)  # or a power cut takes the file away with all that is synced in it
            yield handle
        finally:
            os.close(handle)

    def _catch_up(self) -> None:
        """Read the whole lines that were added since the last time."""
        with self.path.open("rb") as file:
            if file.seek(0, os.SEEK_END) < self._read:  # somebody shortened it
                self._forget()
            file.seek(self._read)
            *lines, unfinished = file.read().split(b"\n")
            self._read = file.tell() - len(unfinished)
        for line in lines:
            if not line.strip():
                continue
            try:
                answer = Answer.model_validate_json(line)
            except ValidationError:
                self.damaged += 1
            else:
                self._found.setdefault(answer.key, answer)

    def _forget(self) -> None:
        self.damaged, self._read, self._found = 0, 0, {}


def _ends_a_line(handle: int) -> bool:
    size = os.fstat(handle).st_size
    if size == 0:
        return True
    os.lseek(handle, size - 1, os.SEEK_SET)
    return os.read(handle, 1) == b"\n"


def _write(handle: int, line: bytes) -> None:
    """One write call; a short one, as on a full disk, is an error and leaves an unfinished line."""
    if os.write(handle, line) != len(line):
        raise OSError(None, "only part of it was written, the disk may be full")
