"""How far a job is: what this process has refined, and of the other processes the parts that they have made."""

from __future__ import annotations

import time
from collections.abc import Iterable

from synthreal.bulk.job import Job, Parts
from synthreal.bulk.source import OnProgress
from synthreal.distributed.rank import Rank

_LOOK = 1.0  # seconds between two looks at the parts of others


class JobProgress:
    """Counts the images of a whole job, all processes'; process 0 tells when there are more.

    Args:
        parts: where others' parts appear.
        job: what is counted.
        rank: this process.
        tell: told images done and in all; at once when an earlier process has done some.
    """

    def __init__(self, parts: Parts, job: Job, rank: Rank, tell: OnProgress) -> None:
        self._parts, self._job, self._rank, self._tell = parts, job, rank, tell
        made = parts.done(job)
        self._mine, self._told = self._images(made, own=True), 0
        self.look(made)

    def add(self, images: int) -> None:
        """This process has refined so many more."""
        self._mine += images
        if self._rank.number == 0 < self._rank.world - 1 and time.monotonic() - self._looked > _LOOK:
            self.look(self._parts.done(self._job))
        else:
            self._say()

    def look(self, made: set[int]) -> None:
        """These blocks have their parts by now."""
        self._others, self._looked = self._images(made, own=False), time.monotonic()
        self._say()

    def _say(self) -> None:
        if self._rank.number == 0 and (done := self._mine + self._others) > self._told:
            self._told = done
            self._tell(done, self._job.what.images)

    def _images(self, blocks: Iterable[int], *, own: bool) -> int:
        """Images of the blocks that are this process's own, or of the others."""
        world, number = self._rank.world, self._rank.number
        return sum(len(self._job.rows(block)) for block in blocks if (block % world == number) is own)
