"""Setting a fit up: everything that is made or put back before its first step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from synthreal.config import RunConfig
from synthreal.core.game import Game
from synthreal.device import device_of, precision_of, settle
from synthreal.distributed.join import device_group, joined
from synthreal.distributed.world import World
from synthreal.errors import UserError
from synthreal.hooks.catalog import Catalog, versions_of
from synthreal.inference.pretrained import write_config
from synthreal.train import checkpoint
from synthreal.train.build import build_game
from synthreal.train.dry_run import rehearse
from synthreal.train.loader import Feed, open_feed
from synthreal.train.log import trim_log
from synthreal.train.monitor import Watch, watching
from synthreal.train.run_dir import changed_versions, check_processes, claim
from synthreal.train.sources import few, unreadable


@dataclass(frozen=True)
class Setup:
    """What a fit works with.

    Attributes:
        config: resolved.
        run_dir: the run directory, where rank 0 alone writes.
        world: the processes of this run.
        precision: of the networks' arithmetic.
        game: both players, new or as the checkpoint has them.
        feed: their images.
        watch: what looks at quality; None where it is off, and on other processes than rank 0.
        step: steps done.
        noted: warnings for the first report.
    """

    config: RunConfig
    run_dir: Path
    world: World
    precision: str
    game: Game
    feed: Feed
    watch: Watch | None
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
        world = stack.enter_context(joined())
        state = None
        with world.leader_first():  # so that another number of processes is told before what that number cannot share
            if world.leads and resume:
                state = checkpoint.load(run_dir)
                check_processes(run_dir, state, world.size)
        device, world = placed(config, world)
        precision = precision_of(config.runtime.precision, device)
        settle(config.runtime)
        if world.leads:
            stack.enter_context(claim(run_dir, config, precision=precision, state=state))
        game = build_game(config, catalog, device, world)
        feed = stack.enter_context(open_feed(config, catalog, game, run_dir))
        watch, noted = None, []
        if world.leads:
            noted = changed_versions(run_dir, catalog) if resume else _doubts(feed)
            if not resume:
                rehearse(game, config, catalog, feed.streams["simulated"].batch(0))
            write_config(run_dir, config, versions_of(catalog))
            watch = watching(config, catalog, *(feed.streams[kind].source for kind in ("simulated", "real")))
            noted += [] if resume or watch is None else watch.doubts()
        step = 0
        if resume:
            state = checkpoint.handed_out(state, world)
            checkpoint.restore(game, state)
            step = state["step"]
            feed.seen.update(state["seen"])
            if watch is not None and state["watch"] is not None:
                watch.load_state_dict(state["watch"])
        if world.leads:
            trim_log(run_dir, step)
        yield Setup(config, run_dir, world, precision, game, feed, watch, step, tuple(noted))


def _doubts(feed: Feed) -> list[str]:
    """Warnings about the data of a new run."""
    simulated, real = (feed.streams[kind].source for kind in ("simulated", "real"))
    return unreadable("simulated", simulated) + unreadable("real", real) + few(real)


def placed(config: RunConfig, world: World) -> tuple[torch.device, World]:
    """The device this process computes on, and the world with a group for tensors there.

    ``runtime.device`` is for all processes: each of a machine takes the GPU of its number.

    Raises:
        UserError: fewer GPUs than processes, or a mini-batch that cannot be shared equally.
    """
    device = device_of(config.runtime.device)
    if world.size == 1:
        return device, world
    _check_shares(config, world.size)
    if device.type == "cuda":
        if device.index is not None:
            raise UserError(
                f"runtime.device={config.runtime.device} is one GPU for {world.size} processes; use auto, which gives "
                "each its own"
            )
        gpus = torch.cuda.device_count()
        if world.any(world.local_rank >= gpus):  # told to all, or who has one would wait for who has not
            raise UserError(
                f"there are more processes than GPUs ({gpus} on the machine of process {world.rank}); start as many "
                "processes as there are GPUs, or set runtime.device=cpu"
            )
        device = device_of(f"cuda:{world.local_rank}")
        torch.cuda.set_device(device)
    return device, replace(world, devices=device_group(device))


def _check_shares(config: RunConfig, size: int) -> None:
    batch = config.schedule.batch
    if batch % size:
        raise UserError(f"schedule.batch={batch} cannot be shared by {size} processes; make it a multiple of {size}")
    if config.history is not None and batch % (2 * size):
        raise UserError(
            f"schedule.batch={batch} cannot be shared by {size} processes, each half fresh and half past; make it a "
            f"multiple of {2 * size}, or set history=none"
        )
