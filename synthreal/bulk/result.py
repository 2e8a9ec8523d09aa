"""The result of a job at its place: whole, with a record of the job that made it."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from synthreal.bulk.folders import record_path
from synthreal.bulk.job import Job, JobSpec, Parts, difference
from synthreal.bulk.source import OnProgress, Outcome, Source
from synthreal.errors import UserError
from synthreal.files import sync, write_text, writing
from synthreal.spec import Skipped

_SUFFIXES = {"pack": ".h5", "shards": ".tar"}


@dataclass(frozen=True)
class RefineSummary:
    """What a job made.

    Attributes:
        path: the result.
        refined: images in it that were refined, every version counted.
        copied: files, or members of shards, that were copied.
        failed: what could not be refined, which is not in the result.
        done: "refined"; "before" when it was complete already; "share" where another process assembles.
        aside: where a folder is now that was overwritten and no result of refine.
    """

    path: Path
    refined: int
    copied: int = 0
    failed: tuple[Skipped, ...] = ()
    done: Literal["refined", "before", "share"] = "refined"
    aside: Path | None = None


@dataclass(frozen=True)
class Target:
    """Where the result goes: ``place``, which the user calls ``shown``."""

    place: Path
    shown: Path
    overwrite: bool

    @classmethod
    def of(cls, target: str | Path, source: Path, run: Path, overwrite: bool) -> Target:
        """Refuses a place that is, holds or lies in the source, that holds the run, or whose folder is missing."""
        shown, origin = Path(target), source.resolve()
        named = shown.name not in ("", "..")
        place = shown.parent.resolve() / shown.name if named else shown.resolve()  # a link is replaced, not followed
        if shown.resolve() == origin:
            raise UserError(f"{shown}: already exists, it is the input itself; choose another name")
        if origin in place.parents or place in origin.parents:
            raise UserError(f"{shown}: lies in {source}, or the other way round; choose another place")
        if place in (run.resolve(), *run.resolve().parents):
            raise UserError(f"{shown}: the refiner {run} is there; choose another place")
        if not place.parent.is_dir():
            raise UserError(f"{shown}: {shown.parent} is not a folder; make it first or choose another name")
        return cls(place, shown, overwrite)

    def finished(self, data: Source[Any, Any], what: JobSpec, asked: dict[str, Any]) -> RefineSummary | None:
        """The summary of the result when this very job has made it.

        Raises:
            UserError: something else is there, or the name is that of another kind of data set.
        """
        if not self._taken():
            self._refuse_misnomer(data)
            return None
        record = data.record(self.place)
        why = ""
        if record is not None:
            try:
                other = difference(Job.of(record), what, asked)
                outcome = _outcome(record["outcome"])
            except (KeyError, TypeError, ValueError):
                other = None
            else:
                if other is None and not self.overwrite:
                    return RefineSummary(self.shown, outcome.refined, outcome.copied, outcome.failed, "before")
            why = f" (made with {other})" if other else ""
        if not self.overwrite:
            raise UserError(f"{self.shown}: already exists{why}; delete it or choose another name, or give --overwrite")
        if self.place.is_dir() != data.folder:
            raise UserError(f"{self.shown}: is {'a folder' if self.place.is_dir() else 'a file'}; choose another name")
        return None

    def _refuse_misnomer(self, data: Source[Any, Any]) -> None:
        own = "" if data.folder else _SUFFIXES[data.kind]
        if (suffix := self.shown.suffix.lower()) in _SUFFIXES.values() and suffix != own:
            kind = "a folder" if data.folder else f"a {own} file"
            raise UserError(f"{self.shown}: {data.path} is refined into {kind}; choose a name without {suffix}")

    def put(self, data: Source[Any, Any], job: Job, parts: Parts, on_assembly: OnProgress) -> RefineSummary:
        """Assemble the parts, and put the result in its place.

        Killed anywhere, it is done again: what is replaced is moved away before the new record lies beside it, or it
        would pass for the new result. A folder that nobody's refine has made may be somebody's work, and is kept.

        Raises:
            UserError: not one image could be refined, or the disk does not take the result.
        """
        folder = parts.folder(job)
        whole = folder / f"whole{'' if data.folder else self.place.suffix}"
        with writing(folder):
            _remove(whole)
        outcome = data.assemble(job, [parts.part(job, block) for block in range(job.blocks)], whole, on_assembly)
        if not outcome.refined:
            first = outcome.failed[0]
            parts.discard()
            raise UserError(
                f"{data.path}: not one of {job.what.images} images could be refined; {first.path}: {first.reason}"
            )
        aside = self._free_name() if self._taken() and data.folder and data.record(self.place) is None else None
        with writing(self.place):
            if data.kind != "pack":
                if self._taken():
                    self.place.rename(aside or folder / f"replaced-{os.getpid()}")
                record = {**job.record(), "outcome": asdict(outcome)}
                write_text(folder / "record.json", json.dumps(record, indent=1) + "\n")
                (folder / "record.json").replace(record_path(self.place))
            whole.replace(self.place)
            sync(self.place.parent)
        return RefineSummary(self.shown, outcome.refined, outcome.copied, outcome.failed, aside=aside)

    def _free_name(self) -> Path:
        names = (f"{self.place.name}.replaced{f'-{n}' if n else ''}" for n in itertools.count())
        return next(path for name in names if not os.path.lexists(path := self.place.with_name(name)))

    def _taken(self) -> bool:
        if self.place.is_dir() and not self.place.is_symlink():
            return any(self.place.iterdir())
        return os.path.lexists(self.place)


def _outcome(found: dict[str, Any]) -> Outcome:
    return Outcome(**{**found, "failed": tuple(Skipped(**item) for item in found["failed"])})


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
