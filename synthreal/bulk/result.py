"""The destination of a job: what may be replaced there, and how the complete result gets there."""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from synthreal.bulk.job import MAX_RECORD_BYTES, ChunkResult, Job, JobSpec, WorkFolder
from synthreal.bulk.plan import Source
from synthreal.data.pack import Pack
from synthreal.errors import UserError
from synthreal.files import read_bounded, real_path, sync, write_errors, write_text
from synthreal.spec import Skipped

_SUFFIXES = {"pack": ".h5", "shards": ".tar"}


@dataclass(frozen=True)
class RefineSummary:
    """The result of a job.

    Attributes:
        path: the result.
        refined: refined images in the result, every version counted.
        copied: copied files, or copied members of shards.
        failed: files that could not be refined or copied; the result does not contain them.
        done: "refined"; "before" if the result was complete already; "share" if another process completes it.
        aside: new place of an overwritten folder that refine had not made.
    """

    path: Path
    refined: int
    copied: int = 0
    failed: tuple[Skipped, ...] = ()
    done: Literal["refined", "before", "share"] = "refined"
    aside: Path | None = None


@dataclass(frozen=True)
class Destination:
    """The place of the result: ``path`` as the user named it, ``place`` with its folder resolved."""

    path: Path
    place: Path
    overwrite: bool

    @classmethod
    def resolve(cls, target: str | Path, source: Path, run: Path, overwrite: bool) -> Destination:
        """Check that the place neither contains nor lies in the source, does not contain the run, and has a folder."""
        path, origin = Path(target), real_path(source)
        named = path.name not in ("", "..")
        place = real_path(path.parent) / path.name if named else real_path(path)  # a link is replaced, not followed
        if real_path(path) == origin:
            raise UserError(f"{path}: already exists, it is the input itself; choose another name")
        if origin in place.parents or place in origin.parents:
            raise UserError(f"{path}: lies in {source}, or the other way round; choose another place")
        if place in ((real_run := real_path(run)), *real_run.parents):
            raise UserError(f"{path}: the refiner {run} is there; choose another place")
        if not place.parent.is_dir():
            raise UserError(f"{path}: {path.parent} is not a folder; make it first or choose another name")
        return cls(path, place, overwrite)

    def check_folder(self, *, refined: bool) -> None:
        """Raise ``UserError`` if a folder of pictures cannot be put here; ``refined``: it may be here already."""
        self._check_suffix("", "a folder")
        if self._exists() and not self.overwrite and not (refined and self._record_path.exists()):
            raise UserError(f"{self.path}: already exists; delete it or choose another name, or give --overwrite")

    def finished(self, data: Source, spec: JobSpec, fixed: dict[str, Any]) -> RefineSummary | None:
        """The summary of an existing result of the same job; None if the job is to be done.

        Raises:
            UserError: something else exists there, or the name has the suffix of another kind of data set.
        """
        if os.path.lexists(self.place) and self.place.is_dir() != data.folder:
            raise UserError(f"{self.path}: is {'a folder' if self.place.is_dir() else 'a file'}; choose another name")
        if not self._exists():
            own = "" if data.folder else _SUFFIXES[data.kind]
            self._check_suffix(own, f"a {own} file" if own else "a folder")
            return None
        job = self._existing_job(data)
        other = None if job is None else job.difference(spec, fixed)
        if not self.overwrite:
            if job is not None and job.outcome is not None and other is None:
                return self._summary(job.outcome, done="before")
            reason = f" (made with {other})" if other else ""
            raise UserError(
                f"{self.path}: already exists{reason}; delete it or choose another name, or give --overwrite"
            )
        return None

    def put(self, data: Source, job: Job, work: WorkFolder, outcome: ChunkResult) -> RefineSummary:
        """Move the complete result from the work folder to its place.

        A kill at any moment is repaired by the next start: the old result is moved away before the new record is
        written. Otherwise the new record would make the old result look finished. An old folder that refine has not
        made is kept beside.
        """
        exists = self._exists()
        aside = self._free_name() if exists and data.folder and self._existing_job(data) is None else None
        with write_errors(self.place):
            if data.kind != "pack":
                if exists:
                    self.place.rename(aside or work.path / f"replaced-{os.getpid()}")
                record = job.model_copy(update={"outcome": outcome})
                written = work.path / "record.json"  # a kill leaves no temporary file beside the result
                write_text(written, record.model_dump_json(indent=1) + "\n")
                written.replace(self._record_path)
            work.whole.replace(self.place)
            sync(self.place.parent)
        return self._summary(outcome, aside=aside)

    @property
    def _record_path(self) -> Path:
        """The record of a finished job beside a result other than a pack, whose header holds it."""
        return self.place.with_name(f"{self.place.name}.job.json")

    def _existing_job(self, data: Source) -> Job | None:
        """The job that made the existing result; None if it is not a result of refine."""
        try:
            if data.kind != "pack":
                return Job.model_validate_json(read_bounded(self._record_path, MAX_RECORD_BYTES))
            with Pack(self.place) as pack:
                job = Job.model_validate(pack.options.get("job"))
                return job.model_copy(update={"outcome": ChunkResult(refined=len(pack))})
        except (OSError, ValueError, UserError):
            return None

    def _summary(
        self, outcome: ChunkResult, *, done: Literal["refined", "before"] = "refined", aside: Path | None = None
    ) -> RefineSummary:
        return RefineSummary(self.path, outcome.refined, outcome.copied, tuple(outcome.failed), done, aside)

    def _check_suffix(self, own: str, kind: str) -> None:
        if (suffix := self.path.suffix.lower()) in _SUFFIXES.values() and suffix != own:
            raise UserError(f"{self.path}: the result is {kind}; choose a name without {suffix}")

    def _free_name(self) -> Path:
        names = (f"{self.place.name}.replaced{f'-{n}' if n else ''}" for n in itertools.count())
        return next(path for name in names if not os.path.lexists(path := self.place.with_name(name)))

    def _exists(self) -> bool:
        """Whether there is anything but an empty folder; a link counts whatever it leads to."""
        if self.place.is_dir() and not self.place.is_symlink():
            return any(self.place.iterdir())
        return os.path.lexists(self.place)
