"""The visual Turing test (SimGAN, section 3 and Table 1): can people tell refined images from real ones?

Each rater judges N real and N synthetic images, one at a time in random order, beside 10 labelled examples of each
kind that no rater judges. Images and order are a function of the study's seed and the rater's name, and progress
is a function of the stored answers, so a study continues after a reload, in another tab and on a restarted server.

A page knows an image by a random token, new for every trial and every start of the server; it reveals nothing.
"""

from __future__ import annotations

import secrets
import time
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import torch

from synthreal.data.seed import derived_generator
from synthreal.errors import UserError
from synthreal.turing.answers import Against, Answer, Answers, Choice
from synthreal.turing.pictures import EXAMPLES, ImagePool

LONGEST_NAME = 40


class InvalidNameError(UserError):
    """A text that is not a rater's name."""


class UnknownImageError(UserError):
    """A token that this server has not issued."""


@dataclass(frozen=True)
class State:
    """A rater's progress, as sent to the page; ``token`` names the image to judge, None when all are judged."""

    rater: str
    done: int
    total: int
    token: str | None


@dataclass
class _Trial:
    """An image that a rater judges; ``since`` is when it was last displayed, in seconds."""

    rater: str
    number: int
    real: bool
    row: int
    since: float


class Study:
    """One study and all its raters; not thread-safe. ``pool`` needs 10 images of each kind more than ``images``."""

    def __init__(self, pool: ImagePool, answers: Answers, *, against: Against, images: int, seed: int) -> None:
        self.pool, self.answers = pool, answers
        self.against, self.images, self.seed = against, images, seed
        self.total = 2 * images
        counts = {True: len(pool.real), False: len(pool.synthetic)}
        rows = {real: self._shuffled(count, "examples", real) for real, count in counts.items()}
        self._free = {real: rows[real][EXAMPLES:] for real in rows}
        self._examples = {secrets.token_urlsafe(16): (real, row) for real in rows for row in rows[real][:EXAMPLES]}
        self._trials: dict[str, _Trial] = {}
        self._tokens: dict[tuple[str, int], str] = {}

    def examples(self, real: bool) -> list[str]:
        """The tokens of the 10 examples of a kind."""
        return [token for token, (kind, _) in self._examples.items() if kind == real]

    def answers_of(self, rater: str, answers: Iterable[Answer]) -> list[Answer]:
        """The answers of a rater in this study, of all answers."""
        session = (rater, self.against, self.images, self.seed)
        return [answer for answer in answers if answer.session == session]

    def state(self, rater: str) -> State:
        """A rater's progress. Raises :class:`InvalidNameError`."""
        rater = rater_name(rater)
        answered = {answer.trial for answer in self.answers_of(rater, self.answers.read())}
        number = next((number for number in range(1, self.total + 1) if number not in answered), None)
        return State(rater, len(answered), self.total, None if number is None else self._token(rater, number))

    def answer(self, token: str, choice: Choice) -> State:
        """Store the first answer to a trial; later ones change nothing. Returns the rater's new state."""
        trial = self._trial(token)
        self.answers.append(
            Answer(
                rater=trial.rater,
                trial=trial.number,
                truth="real" if trial.real else self.against,
                answer=choice,
                seconds=round(time.monotonic() - trial.since, 3),
                time=datetime.now(UTC).isoformat(timespec="seconds"),
                against=self.against,
                images=self.images,
                seed=self.seed,
            )
        )
        return self.state(trial.rater)

    def png(self, token: str) -> bytes:
        """The image of a token. Raises :class:`UnknownImageError`."""
        if token in self._examples:
            return self.pool.png(*self._examples[token])
        trial = self._trial(token)
        trial.since = time.monotonic()
        return self.pool.png(trial.real, trial.row)

    def sequence(self, rater: str) -> list[tuple[bool, int]]:
        """The images that a rater judges, in order: whether it is real, and its row in the pool."""
        images = []
        for real, rows in self._free.items():
            images += [(real, rows[place]) for place in self._shuffled(len(rows), "rows", real, rater)[: self.images]]
        return [images[place] for place in self._shuffled(len(images), "order", rater)]

    def _trial(self, token: str) -> _Trial:
        if token not in self._trials:
            raise UnknownImageError("unknown image; the server may have been restarted")
        return self._trials[token]

    def _token(self, rater: str, number: int) -> str:
        if (rater, number) not in self._tokens:
            token = self._tokens[rater, number] = secrets.token_urlsafe(16)
            self._trials[token] = _Trial(rater, number, *self.sequence(rater)[number - 1], since=time.monotonic())
        return self._tokens[rater, number]

    def _shuffled(self, n: int, *purpose: str | int) -> list[int]:
        """The numbers 0 to n - 1 in an order that depends on the study and the purpose."""
        generator = derived_generator("cpu", 0, "turing", self.seed, self.against, self.images, *purpose)
        order: list[int] = torch.randperm(n, generator=generator).tolist()
        return order


def rater_name(text: str) -> str:
    """A rater's name with single spaces: 1 to 40 printable characters. Raises :class:`InvalidNameError`."""
    name = " ".join(unicodedata.normalize("NFC", text).split())
    if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
        raise InvalidNameError(f"a rater's name has 1 to {LONGEST_NAME} printable characters; give another one")
    return name
