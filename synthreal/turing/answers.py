"""The answers of a visual Turing test: ``turing.jsonl`` in the run directory, one JSON object per line, append-only.

Several servers may share the file: each checks and appends under a file lock, so a trial has one answer. An answer is
synced to disk before the rater sees the next image. A line cut off by a crash counts as damaged, and its trial is
shown again. (2026-11: sqlite3 would need as many lines, and could not be read with the usual text tools.)
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from synthreal.errors import UserError
from synthreal.files import read_bounded, reason, refuse_link, sync, write_errors

FILE = "turing.jsonl"
MAX_ANSWERS_BYTES = 64 << 20  # an answer has about 200
Against = Literal["refined", "simulated"]
Choice = Literal["real", "synthetic"]
Truth = Literal["real", "refined", "simulated"]


class Answer(BaseModel):
    """One answer, one line."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rater: str
    trial: int = Field(ge=1)  # position in the rater's sequence of images
    truth: Truth
    answer: Choice
    seconds: float = Field(ge=0)  # from the last display of the image to the answer
    time: str  # UTC, ISO 8601
    against: Against  # the kind of synthetic image in the study
    images: int = Field(ge=1)  # of each kind that a rater judges
    seed: int  # of the study

    @model_validator(mode="after")
    def _check(self) -> Answer:
        if not self.rater.isprintable():
            raise ValueError("a name with characters that cannot be printed")
        if self.truth not in ("real", self.against) or self.trial > 2 * self.images:
            raise ValueError(f"a study of {self.images} real and {self.images} {self.against} images has no such trial")
        return self

    @property
    def session(self) -> tuple[str, Against, int, int]:
        """The rater and the study: ``(rater, against, images, seed)``."""
        return self.rater, self.against, self.images, self.seed

    @property
    def correct(self) -> bool:
        """Whether the rater recognised the kind of image."""
        return (self.truth == "real") == (self.answer == "real")


class Answers:
    """The file of answers, which need not exist and other processes may append to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damaged = 0  # lines without a valid answer at the last read

    def read(self) -> list[Answer]:
        """All answers in the order of the file. Raises ``UserError`` when it exists and cannot be read."""
        return self._parse(self._content())

    def append(self, answer: Answer) -> None:
        """Write an answer to disk, unless its trial has one. Raises ``UserError`` when that fails."""
        with write_errors(self.path), self.path.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            content = self._content()
            if any((old.session, old.trial) == (answer.session, answer.trial) for old in self._parse(content)):
                return
            line = b"\n" * bool(content and not content.endswith(b"\n")) + answer.model_dump_json().encode() + b"\n"
            if os.write(file.fileno(), line) != len(line):
                raise OSError(None, "only part of it was written, the disk may be full")
            os.fsync(file.fileno())

    def prepare(self) -> None:
        """Create the file, so that one that cannot be used is reported (``UserError``) before the first answer."""
        refuse_link(self.path)
        with write_errors(self.path):
            os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK, 0o666))  # a pipe would block it
            sync(self.path.parent)
        self._content()

    def _content(self) -> bytes:
        try:
            return read_bounded(self.path, MAX_ANSWERS_BYTES)
        except FileNotFoundError:
            return b""
        except (OSError, ValueError) as error:
            raise UserError(
                f"{self.path}: cannot read ({reason(error)}); move it away, or give another run directory"
            ) from None

    def _parse(self, content: bytes) -> list[Answer]:
        answers: dict[object, Answer] = {}
        self.damaged = 0
        for line in filter(bytes.strip, content.split(b"\n")):
            try:
                answer = Answer.model_validate_json(line)
                answers.setdefault((answer.session, answer.trial), answer)
            except ValidationError:
                self.damaged += 1
        return list(answers.values())
