"""The visual Turing test (SimGAN, section 3 and Table 1): can people tell refined images from real ones?

Each rater judges N real and N refined images, one at a time in random order, with 10 labelled examples of either on
view, which are no one's trials. What a rater sees, and in which order, is a function of the study's seed and the
rater's name, and how far a rater got is a function of the recorded answers. So a study goes on where it was after a
reload, in another tab, and when the server was started again.

A page learns of an image nothing but a random token, new for every trial and every start of the server.
"""

from __future__ import annotations

import secrets
import time
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import torch

from synthreal.data.seed import derived_generator
from synthreal.errors import UserError
from synthreal.turing.answers import Against, Answer, Answers, Choice
from synthreal.turing.pictures import EXAMPLES, Pictures

LONGEST_NAME = 40


@dataclass(frozen=True)
class Picture:
    """Which image: its kind, and its row among :class:`synthreal.turing.pictures.Pictures` of that kind."""

    real: bool
    row: int


@dataclass(frozen=True)
class State:
    """How far a rater is: all that a page is told. ``token`` names the image to judge, None when all are judged."""

    rater: str
    done: int
    total: int
    token: str | None


class Study:
    """One study, all its raters; no thread-safety, one event loop serves them.

    Args:
        pictures: the images to draw from, at least ``images`` + 10 of either kind.
        answers: where answers are kept.
        against: what the synthetic ones are.
        images: how many of either kind each rater judges.
        seed: of everything random but the tokens.
        clock: seconds, for the time an answer took.
    """

    def __init__(
        self,
        pictures: Pictures,
        answers: Answers,
        *,
        against: Against = "refined",
        images: int = 50,
        seed: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.pictures = pictures
        self.answers = answers
        self.against = against
        self.images = images
        self.seed = seed
        self._clock = clock
        rows = {real: self._shuffled(self._count(real), "examples", real) for real in (True, False)}
        self._free = {real: rows[real][EXAMPLES:] for real in rows}
        self._trials: dict[str, tuple[Picture, ...]] = {}
        self._tokens: dict[tuple[str, int], str] = {}
        self._named: dict[str, tuple[str, int]] = {}
        self._shown: dict[str, float] = {}
        self._examples = {
            secrets.token_urlsafe(16): Picture(real, row) for real in rows for row in rows[real][:EXAMPLES]
        }

    @property
    def total(self) -> int:
        """Images each rater judges."""
        return 2 * self.images

    def examples(self, real: bool) -> list[str]:
        """The tokens of the 10 examples of a kind."""
        return [token for token, picture in self._examples.items() if picture.real == real]

    def asked(self, answer: Answer, rater: str) -> bool:
        """Whether an answer is this rater's in this study, rather than in one of another seed or size."""
        return answer.key[:-1] == (rater, self.against, self.images, self.seed)

    def state(self, rater: str) -> State:
        """How far a rater is. Raises ``UserError`` for what is no name."""
        rater = name_of(rater)
        answered = self._answered(rater)
        left = (trial for trial in range(1, self.total + 1) if trial not in answered)
        trial = next(left, None)
        return State(rater, len(answered), self.total, None if trial is None else self._token(rater, trial))

    def done(self, rater: str) -> int:
        """How many images a rater has judged; asking it leaves no trace. Raises ``UserError`` for what is no name."""
        return len(self._answered(name_of(rater)))

    def answer(self, token: str, choice: Choice) -> State:
        """Take an answer, unless the trial has one: then nothing changes. The rater's new state either way.

        Raises:
            KeyError: no trial has this token.
            UserError: the answer could not be written.
        """
        rater, trial = self._named[token]
        picture = self._trials_of(rater)[trial - 1]
        self.answers.append(
            Answer(
                rater=rater,
                trial=trial,
                truth="real" if picture.real else self.against,
                answer=choice,
                seconds=round(self._clock() - self._shown[token], 3),
                time=datetime.now(UTC).isoformat(timespec="seconds"),
                against=self.against,
                images=self.images,
                seed=self.seed,
            )
        )
        return self.state(rater)

    def png(self, token: str) -> bytes:
        """The image of a token. Raises ``KeyError`` for a token never given out."""
        if token in self._examples:
            picture = self._examples[token]
        else:
            rater, trial = self._named[token]
            picture = self._trials_of(rater)[trial - 1]
            self._shown[token] = self._clock()
        return self.pictures.png(picture.real, picture.row)

    def _answered(self, rater: str) -> set[int]:
        return {answer.trial for answer in self.answers.all() if self.asked(answer, rater)}

    def _token(self, rater: str, trial: int) -> str:
        if (rater, trial) not in self._tokens:
            token = secrets.token_urlsafe(16)
            self._tokens[rater, trial] = token
            self._named[token] = (rater, trial)
            self._shown[token] = self._clock()
        return self._tokens[rater, trial]

    def _trials_of(self, rater: str) -> tuple[Picture, ...]:
        """What a rater judges, in order."""
        if rater not in self._trials:
            chosen = []
            for real, free in self._free.items():
                order = self._shuffled(len(free), "rows", real, rater)[: self.images]
                chosen += [Picture(real, free[place]) for place in order]
            order = self._shuffled(len(chosen), "order", rater)
            self._trials[rater] = tuple(chosen[place] for place in order)
        return self._trials[rater]

    def _count(self, real: bool) -> int:
        return len(self.pictures.real if real else self.pictures.synthetic)

    def _shuffled(self, n: int, *purpose: str | int) -> list[int]:
        """The numbers 0..n-1 in an order of this seed and purpose."""
        generator = derived_generator("cpu", 0, "turing", self.seed, self.against, self.images, *purpose)
        order: list[int] = torch.randperm(n, generator=generator).tolist()
        return order


def name_of(text: str) -> str:
    """A rater's name: 1 to 40 printable characters, spaces within single. Raises ``UserError`` for anything else."""
    name = " ".join(unicodedata.normalize("NFC", text).split())
    if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
        raise UserError(f"a rater's name has 1 to {LONGEST_NAME} printable characters; give another one")
    return name
