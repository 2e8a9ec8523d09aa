"""Setting a fit up: everything that is made or put back before its first step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from synthreal.config import RunConfig
from synthreal.core.game import Game
from synthreal.device import configure_process, resolve_device, resolve_precision
from synthreal.distributed.join import device_group, process_group
from synthreal.distributed.processes import Processes
from synthreal.errors import UserError
from synthreal.hooks.catalog import Catalog, versions_of
from synthreal.inference.pretrained import write_config
from synthreal.train import checkpoint
from synthreal.train.build import build_game
from synthreal.train.dry_run import dry_run
from synthreal.train.loader import DataFeed, open_data_feed
from synthreal.train.log import trim_log
from synthreal.train.monitor import QualityMonitor, open_monitor
from synthreal.train.run_dir import changed_versions, check_processes, claim
from synthreal.train.sources import few_images_warnings, unreadable_warnings


@dataclass(frozen=True)
class Setup:
    """What a fit works with.

    Attributes:
        config: resolved.
        run_dir: the run directory, where rank 0 alone writes.
        processes: the processes of this run.
        precision: of the networks' arithmetic.
        game: both players, new or as the checkpoint has them.
        feed: their images.
        watch: what looks at quality; None where it is off, and on other processes than rank 0.
        step: steps done.
        noted: warnings for the first report.
    """

    config: RunConfig
    run_dir: Path
    processes: Processes
    precision: str
    game: Game
    feed: DataFeed
    watch: QualityMonitor | None
    step: int
    noted: tuple[str, ...]


@contextmanager
def set_up(config: RunConfig, catalog: Catalog, run_dir: Path, *, resume: bool) -> Iterator[Setup]:
    """Claim the run directory, build or restore the game and open the data, for as long as the block lasts.

    Args:
        config: resolved.
        catalog: where its names are looked up.
        run_dir: made here.
        resume: continue the run it holds.

    Raises:
        UserError: bad input; nothing is left behind of a run that did not begin.
    """
    with ExitStack() as stack:
        processes = stack.enter_context(process_group())
        state = None
        with processes.main_first():  # so that another number of processes is told before what that number cannot share
            if processes.is_main and resume:
                state = checkpoint.load(run_dir)
                check_processes(run_dir, state, processes.size)
        device, processes = select_device(config, processes)
        precision = resolve_precision(config.runtime.precision, device)
        configure_process(config.runtime)
        if processes.is_main:
            stack.enter_context(claim(run_dir, config, precision=precision, state=state))
        game = build_game(config, catalog, device, processes)
        feed = stack.enter_context(open_data_feed(config, catalog, game, run_dir))
        watch, noted = None, []
        if processes.is_main:
            noted = changed_versions(run_dir, catalog) if resume else _doubts(feed)
            if not resume:
                dry_run(game, config, catalog, feed.streams["simulated"].batch(0))
            write_config(run_dir, config, versions_of(catalog))
            watch = open_monitor(config, catalog, *(feed.streams[kind].source for kind in ("simulated", "real")))
            noted += [] if resume or watch is None else watch.doubts()
        step = 0
        if resume:
            state = checkpoint.scatter_state(state, processes)
            checkpoint.restore(game, state)
            step = state["step"]
            feed.seen.update(state["seen"])
            if watch is not None and state["watch"] is not None:
                watch.load_state_dict(state["watch"])
        if processes.is_main:
            trim_log(run_dir, step)
        yield Setup(config, run_dir, processes, precision, game, feed, watch, step, tuple(noted))


def _doubts(feed: DataFeed) -> list[str]:
    """Warnings about the data of a new run."""
    simulated, real = (feed.streams[kind].source for kind in ("simulated", "real"))
    return unreadable_warnings("simulated", simulated) + unreadable_warnings("real", real) + few_images_warnings(real)


def select_device(config: RunConfig, processes: Processes) -> tuple[torch.device, Processes]:
    """The device this process computes on, and the processes with a group for tensors there.

    ``runtime.device`` is for all processes: each of a machine takes the GPU of its number.

    Raises:
        UserError: fewer GPUs than processes, or a mini-batch that cannot be shared equally.
    """
    device = resolve_device(config.runtime.device)
    if processes.size == 1:
        return device, processes
    _check_shares(config, processes.size)
    if device.type == "cuda":
        if device.index is not None:
            raise UserError(
                f"runtime.device={config.runtime.device} is one GPU for {processes.size} processes; use auto, which "
                "gives each its own"
            )
        gpus = torch.cuda.device_count()
        if processes.any(processes.local_rank >= gpus):  # told to all, or who has one would wait for who has not
            raise UserError(
                f"there are more processes than GPUs ({gpus} on the machine of process {processes.rank}); start as "
                "many processes as there are GPUs, or set runtime.device=cpu"
            )
        device = resolve_device(f"cuda:{processes.local_rank}")
        torch.cuda.set_device(device)
    return device, replace(processes, devices=device_group(device))


def _check_shares(config: RunConfig, size: int) -> None:
    batch = config.schedule.batch
    if batch % size:
        raise UserError(f"schedule.batch={batch} cannot be shared by {size} processes; make it a multiple of {size}")
    if config.history is not None and batch % (2 * size):
        raise UserError(
            f"schedule.batch={batch} cannot be shared by {size} processes, each half fresh and half past; make it a "
            f"multiple of {2 * size}, or set history=none"
        )
