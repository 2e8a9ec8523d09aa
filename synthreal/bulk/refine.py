"""Refining a whole data set, from its plan to its result: the job that ``synthreal refine`` does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

from synthreal.bulk.job import Job, JobSpec, Parts, difference
from synthreal.bulk.pipeline import pipeline
from synthreal.bulk.plan import RequestedOptions, digest, load, opened, planned, refuse_below_one
from synthreal.bulk.progress import JobProgress
from synthreal.bulk.ranks import Beat, Watch
from synthreal.bulk.result import RefineSummary, Target
from synthreal.bulk.source import OnProgress, Source
from synthreal.config import ResolvedConfig
from synthreal.device import resolve_device
from synthreal.distributed.rank import Rank
from synthreal.errors import UserError, WriteError
from synthreal.inference.indexed import IndexedRefiner
from synthreal.inference.pretrained import read_config

_POLL = 0.2
_BORN = time.time()


def refine_bulk(
    run: str | Path,
    source: str | Path,
    target: str | Path,
    *,
    device: str = "auto",
    seed: int = 0,
    samples: int = 1,
    limit: int | None = None,
    batch_size: int | Literal["auto"] | None = None,
    precision: str | None = None,
    threads: int | None = None,
    tile: int | Literal["none"] | None = None,
    overwrite: bool = False,
    on_progress: OnProgress = lambda done, total: None,
    on_assembly: OnProgress = lambda done, total: None,
) -> RefineSummary:
    """Refine a pack, a folder of pictures or tar shards into another; an interrupted job continues where it was.

    The work is cut into blocks; parts and plan lie in ``TARGET.parts`` until the result is complete, which then appears
    at once. Under torchrun the processes share the blocks; the result is the same to the bit.

    Args:
        run: run directory, or a folder with the two files of a refiner.
        source: a pack (.h5), a folder of PNG, JPEG, TIFF and BMP files, a webdataset shard (.tar) or a folder of them.
        target: what to write, of the same kind.
        device: "auto", "cpu", "cuda" or "cuda:N".
        seed: of noise maps, which are a function of it, the index of the image, the version and the pixel.
        samples: refined versions of each image, which noise maps make different. Rows ``i * samples + k`` of a pack
            are versions of image i; files are called ``name-k.png``.
        limit: images at most; None is all.
        batch_size: images through the network at once, "auto" tries what is fastest; None is what suits the device
            (1 for pictures of mixed sizes), or what the job began with, as for the next three. Of pictures larger than
            the first 256 as many fewer.
        precision: "auto", "float32" or "bfloat16"; None is the run's.
        threads: of torch on the CPU; None is the run's, or torch's own choice.
        tile: images of more than tile * tile px are refined in tiles; None is 1024, "none" refines them whole.
        overwrite: replace a target that is something else, and an interrupted job of another plan.
        on_progress: told images done and in all, those of all processes; under torchrun process 0 tells.
        on_assembly: told the same while the result is made of the parts; of a folder it counts every file.

    Raises:
        UserError: no such run or data set, channels that do not fit, a target that exists, a number below 1, a job that
            was begun with other inputs or settings, another process at the same job, a disk that is full.
    """
    refuse_below_one(samples=samples, limit=limit, batch_size=batch_size, threads=threads, tile=tile)
    rank, folder, origin = Rank.here(), Path(run), Path(source)
    config = read_config(folder)
    asked = RequestedOptions(rank.device(device), batch_size, precision, threads, tile)
    fixed = asked.fixed()
    goal = Target.of(target, origin, folder, overwrite)
    words = {"refined_from": str(source), "refiner": str(run), "recipe": config.recipe}
    with closing(opened(origin, limit, samples, words)) as data, Parts(goal.place) as parts:
        data.agree(config.image.channels, folder)
        what = JobSpec(data.kind, data.count, data.identity(), digest(folder, config), seed, samples, limit)
        if (before := goal.finished(data, what, fixed)) is not None:
            if rank.number == 0 and (old := parts.read()) is not None and difference(old, what, fixed) is None:
                parts.discard()  # killed while it tidied up
            return before
        if rank.number == 0:
            parts.claim()
        with Beat(parts.path, rank):
            try:
                if rank.number == 0:
                    job = _plan(parts, data, what, folder, config, asked, overwrite)
                elif (found := _await_plan(parts, data, what, fixed, goal)) is None:
                    return RefineSummary(goal.shown, 0, done="share")
                else:
                    job = found
                painter = IndexedRefiner(
                    load(folder, config, resolve_device(asked.device), job.how), seed=seed, tile=job.how.tile
                )
                tally = JobProgress(parts, job, rank, on_progress)
                _refine(parts, job, data, painter, rank, tally)
            except BaseException as error:
                if rank.number == 0 and not parts.any() and (rank.world == 1 or parts.read() is None):
                    parts.discard()  # nothing to continue; with a plan others may be at it
                if isinstance(error, WriteError):
                    raise WriteError(goal.shown, error.reason) from error
                raise
            if rank.number > 0:
                return RefineSummary(goal.shown, 0, done="share")
            _await_parts(parts, job, rank, tally)
            summary = goal.put(data, job, parts, on_assembly)
            _await_end(parts, rank)
            parts.discard()
            return summary


def state_of(target: Path) -> str:
    """In words how far an interrupted job is, and how to go on."""
    parts = Parts(target.absolute())
    job = parts.read()
    done = 0 if job is None else len(parts.done(job))
    if job is None or not done:
        return "stopped before anything was saved; run the same command to begin again"
    return f"stopped; {done} of {job.blocks} blocks are saved in {parts.path}; continue with the same command"


def _plan(
    parts: Parts,
    data: Source[Any, Any],
    what: JobSpec,
    run: Path,
    config: ResolvedConfig,
    asked: RequestedOptions,
    overwrite: bool,
) -> Job:
    """The plan of the interrupted job, or a new one."""
    job = parts.read()
    if job is not None and (other := difference(job, what, asked.fixed())) is not None:
        if not overwrite:
            raise UserError(
                f"{parts.path}: holds an interrupted job with {other}; finish it as it was begun, "
                "or begin again with --overwrite"
            )
        job = None
    if job is None:
        job = planned(data, what, run, config, resolve_device(asked.device), asked)
        parts.begin(job)
    parts.open(job)
    return job


def _await_plan(parts: Parts, data: Source[Any, Any], what: JobSpec, fixed: dict[str, Any], goal: Target) -> Job | None:
    """The plan that process 0 writes; None when the whole job was over before this process came."""
    watch = Watch(parts.path, 0)
    while True:
        job = parts.read()
        if job is not None and parts.folder(job).is_dir() and difference(job, what, fixed) is None:
            return job
        if goal.place.exists() and goal.place.stat().st_mtime > _BORN:
            return None
        watch.check()
        time.sleep(_POLL)


def _refine(
    parts: Parts, job: Job, data: Source[Any, Any], painter: IndexedRefiner, rank: Rank, tally: JobProgress
) -> None:
    """Make the parts of this process's blocks that are missing."""
    finished = parts.done(job)
    todo = [block for block in range(rank.number, job.blocks, rank.world) if block not in finished]

    def loads() -> Iterator[Any]:
        for block in todo:
            rows = job.rows(block)
            yield from data.loads(rows.start, rows.stop, job.how)
            yield None  # the block ends

    def compute(read: Any) -> Any:
        if read is None:
            return None
        try:
            refined = data.refine(read, painter, job.how, job.what.samples)
        except RuntimeError as error:
            if "memory" not in str(error):
                raise
            raise UserError(
                f"{data.path}: {len(read)} images at once do not fit into memory; begin again with --overwrite and "
                "a smaller --batch-size or --tile"
            ) from error
        tally.add(len(read))
        return refined

    def write(refined: Iterator[Any]) -> None:
        for block in todo:
            with data.part(parts.part(job, block)) as store:
                for item in refined:
                    if item is None:
                        break
                    store(item)

    pipeline(loads(), compute, write)


def _await_parts(parts: Parts, job: Job, rank: Rank, tally: JobProgress) -> None:
    """Wait for the parts of the other processes, as long as they live."""
    watches = [Watch(parts.path, number) for number in range(rank.world)]
    while True:
        made = parts.done(job)
        tally.look(made)
        if not (missing := set(range(job.blocks)) - made):
            return
        for number in sorted({block % rank.world for block in missing}):
            if number == rank.number:
                raise UserError(f"{parts.path}: parts have vanished; run the same command again to continue")
            watches[number].check()
        time.sleep(_POLL)


def _await_end(parts: Parts, rank: Rank) -> None:
    """Let the others, whose parts are there, end first: they hold a file in the folder."""
    patience = time.monotonic() + 10
    while parts.signs(rank.world) and time.monotonic() < patience:
        time.sleep(_POLL)
