"""Setting a fit up: everything that is made or put back before its first step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from synthreal.config import RunConfig
from synthreal.core.game import Game
from synthreal.core.machine import precision_of, settle
from synthreal.core.world import World
from synthreal.hooks.catalog import Catalog
from synthreal.pretrained import write_config
from synthreal.run import checkpoint
from synthreal.run.build import build_game
from synthreal.run.directory import changed_versions, check_processes, claim, versions_of
from synthreal.run.feed import Feed, open_feed
from synthreal.run.processes import joined, placed
from synthreal.run.rehearse import rehearse
from synthreal.run.report import trim_log
from synthreal.run.sources import few, unreadable
from synthreal.run.watch import Watch, watching


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
