"""Refining a whole data set: the job of ``synthreal refine``."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import numpy as np

from synthreal.bulk.job import Job, JobSpec, OnProgress, WorkFolder
from synthreal.bulk.pipeline import pipeline
from synthreal.bulk.plan import (
    RequestedOptions,
    Source,
    hash_files,
    hash_refiner,
    load_refiner,
    open_source,
    plan_job,
    refuse_below_one,
)
from synthreal.bulk.result import Destination, RefineSummary
from synthreal.data.levels import unused_bits
from synthreal.device import is_out_of_memory, resolve_device
from synthreal.distributed.join import process_group
from synthreal.distributed.processes import Processes
from synthreal.distributed.rank import Rank
from synthreal.errors import UserError, WriteError
from synthreal.images.picture import any_size
from synthreal.inference.indexed import IndexedRefiner
from synthreal.inference.pretrained import read_config

_PATIENCE = 120  # seconds; a network file system shows the files of other machines late


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
    trust: bool = False,
    on_progress: OnProgress = lambda done, total: None,
    on_assembly: OnProgress = lambda done, total: None,
    on_warning: Callable[[str], None] = lambda warning: None,
) -> RefineSummary:
    """Refine a pack, a folder of pictures or tar shards into another; an interrupted job is continued.

    Finished blocks are saved in ``TARGET.parts``. The complete result appears at TARGET in one step. Processes of
    torchrun share the blocks. Restarts and the number of processes do not change a bit of the result.

    Args:
        run: run directory, or a folder with the two files of a refiner; several samples need styles.safetensors, too.
        source: a pack (.h5), a folder of pictures, a webdataset shard (.tar) or a folder of them.
        target: the result, of the same kind.
        device: "auto", "cpu", "cuda" or "cuda:N".
        seed: of noise maps and styles, which are a function of the seed, the index of the image and the version.
        samples: versions of each image. Version 0 is the refined image; the others are refined with other noise maps
            and have the style of a random real image of the run, ``fda`` if odd, ``histogram`` if even. Row
            ``i * samples + k`` of a pack is version k of image i; files are called ``name-k.png``.
        limit: images at most; None takes all.
        batch_size: images that pass through the network at once, fewer for pictures larger than the first 256; "auto"
            measures which number is fastest. None continues with the batch size of an interrupted job, or takes one
            that suits the device (1 for pictures of mixed sizes); the same holds for the next three arguments.
        precision: "auto", "float32" or "bfloat16"; None takes that of the run.
        threads: torch's CPU threads; None takes those of the run, or torch's default.
        tile: images of more than tile * tile px are refined in tiles; None takes 1024, "none" refines them whole.
        overwrite: replace an existing target, or an interrupted job with other inputs or settings.
        trust: run the code of plugins that the run names and that are not installed, if the refiner comes from one.
        on_progress: called on process 0 with the number of refined images and of all images, over all processes.
        on_assembly: called in the same way while blocks become a pack, or other files are copied to a folder.
        on_warning: called on process 0 if the first 16-bit images look like values of fewer bits.

    Raises:
        UserError: no such run or data set, several samples of a run without styles, unsuitable channels, an existing
            target, a number below 1, an interrupted job with other inputs or settings, another process that refines
            into the target, a full disk.
        PeerError: another process failed.
    """
    refuse_below_one(samples=samples, limit=limit, batch_size=batch_size, threads=threads, tile=tile)
    folder, origin = Path(run), Path(source)
    config = read_config(folder)
    place = resolve_device(Rank.here().device(device))
    requested = RequestedOptions(place, batch_size, precision, threads, tile, trust)
    destination = Destination.resolve(target, origin, folder, overwrite)
    header = {"refined_from": str(source), "refiner": str(run), "recipe": config.recipe}
    with (
        process_group() as processes,
        any_size(),
        closing(open_source(origin, limit, samples, header)) as data,
        closing(WorkFolder(destination.place)) as work,
    ):
        data.check_channels(config.image.channels, folder)
        spec = JobSpec(
            kind=data.kind,
            images=data.count,
            input=hash_files(data.root, data.names),
            seed=seed,
            samples=samples,
            refiner=hash_refiner(folder, config, samples),
            limit=limit,
        )
        finished = destination.finished(data, spec, requested.fixed()) if processes.is_main else None
        if (finished := processes.broadcast(finished)) is not None:
            if processes.is_main and (work.is_empty() or _continued_job(work, spec, requested, True) is not None):
                work.claim()
                work.discard()  # the job was killed while it did this
            return finished
        if processes.is_main:
            work.claim()
        job: Job | None = None
        try:
            if processes.is_main:
                job = _continued_job(work, spec, requested, overwrite)
                if job is None:
                    job = plan_job(data, spec, folder, config, requested)
                    work.begin(job)
            job = processes.broadcast(job)
            assert job is not None, "process 0 sends one"
            settings = job.settings
            transform = load_refiner(
                folder, config, requested, settings.precision, settings.threads, compiled=settings.compiled
            )
            transform.micro_batch = settings.batch_size
            refiner = IndexedRefiner(transform, seed=seed, tile=settings.tile)
            _refine_blocks(data, job, work, refiner, processes, on_progress, on_warning)
            if not processes.is_main:
                return RefineSummary(destination.path, 0, done="share")
            outcome = data.assemble(job, work, on_assembly)
            if not outcome.refined:
                work.discard()
                first = outcome.failed[0]
                raise UserError(
                    f"{origin}: not one of {spec.images} images could be refined; {first.path}: {first.reason}"
                )
            summary = destination.put(data, job, work, outcome)
            work.discard()
            return summary
        except BaseException as error:
            if processes.is_main and not work.done() and (processes.size == 1 or job is None):
                work.discard()  # there is nothing to continue
            if isinstance(error, WriteError):
                raise WriteError(destination.path, error.reason) from error
            raise


def state_of(target: Path) -> str:
    """The state of an interrupted job and how to continue it, in words."""
    work = WorkFolder(target.absolute())
    if not (done := len(work.done())):
        return "stopped before anything was saved; run the same command to begin again"
    return f"stopped; finished blocks ({done}) are saved in {work.path}; continue with the same command"


def _continued_job(work: WorkFolder, spec: JobSpec, requested: RequestedOptions, overwrite: bool) -> Job | None:
    """The interrupted job; None if there is none, or another one that may be overwritten."""
    job = work.read()
    if job is None or (other := job.difference(spec, requested.fixed())) is None:
        return job
    if overwrite:
        return None
    raise UserError(
        f"{work.path}: holds an interrupted job with {other}; finish it with the same options, "
        "or begin again with --overwrite"
    )


def _refine_blocks(
    data: Source,
    job: Job,
    work: WorkFolder,
    refiner: IndexedRefiner,
    processes: Processes,
    on_progress: OnProgress,
    on_warning: Callable[[str], None],
) -> None:
    """Refine this process's share of the unfinished blocks, and wait for the other processes.

    Reported progress assumes that the other processes are as fast as process 0.
    """
    blocks, finished = data.blocks(job.settings.block), work.done()
    unfinished = [block for block in range(len(blocks)) if block not in finished]
    own = [block for block in unfinished if block % processes.size == processes.rank]
    missing, share = (sum(len(blocks[block]) for block in which) for which in (unfinished, own))
    refined = 0
    if processes.is_main and finished:
        on_progress(data.count - missing, data.count)

    def refine(load: Any) -> Any:
        nonlocal refined
        if processes.is_main and not refined and (warning := _level_warning(data, load)) is not None:
            on_warning(warning)
        try:
            data.refine(load, refiner, job)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise UserError(
                f"{data.path}: {len(load)} images at once do not fit into memory; begin again with --overwrite and "
                "a smaller --batch-size or --tile"
            ) from error
        refined += len(load)
        if processes.is_main and len(load):
            on_progress(data.count - missing + missing * refined // share, data.count)
        return load

    loads = (load for block in own for load in data.loads(block, blocks[block], job.settings))
    pipeline(loads, refine, lambda load: data.write(load, work))
    processes.wait()
    patience = _PATIENCE if processes.size > 1 else 0
    while processes.is_main and len(work.done()) < len(blocks):
        if patience == 0:
            raise UserError(f"{work.path}: finished blocks are missing; run the same command again to continue")
        patience -= 1
        time.sleep(1)


def _level_warning(data: Source, load: Any) -> str | None:
    """What looks wrong about the values of 16-bit images; None if nothing does."""
    deep = [image for image in data.pixels(load) if image.dtype == np.uint16]
    high = max((int(image.max()) for image in deep), default=0)
    if not (unused := unused_bits(high)):
        return None
    return (
        f"{data.path}: no value of its first 16-bit images is above {high:,} of 65,535, the upper {unused} bits are "
        f"unused, as in {16 - unused}-bit values stored with 16 bits; if so, multiply them by {2**unused}"
    )
