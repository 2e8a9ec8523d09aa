"""Setting up a training run: everything that is built or restored before the first step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from synthreal.config import ResolvedConfig
from synthreal.core.game import Game
from synthreal.core.style_bank import SIZE, StyleBank
from synthreal.data.encoding import to_unit
from synthreal.data.levels import level_warnings
from synthreal.device import configure_process, resolve_device, resolve_precision
from synthreal.distributed.join import device_group, process_group
from synthreal.distributed.processes import Processes
from synthreal.errors import UserError
from synthreal.hooks.catalog import Catalog, versions_of
from synthreal.inference.pretrained import write_config, write_styles
from synthreal.train import checkpoint
from synthreal.train.build import build_game
from synthreal.train.data_warnings import duplicate_warnings, few_images_warnings, reading_warnings
from synthreal.train.dry_run import dry_run
from synthreal.train.log import trim_log
from synthreal.train.monitor import QualityMonitor, open_monitor
from synthreal.train.run_dir import changed_versions, check_processes, claim
from synthreal.train.sources import DataFeed, open_feed, random_images, source_levels
from synthreal.train.weight import WeightControl, open_weight_control


@dataclass(kw_only=True)
class TrainingRun:
    """The state of a run that the training loop works on.

    ``precision`` is "float32" or "bfloat16"; ``monitor`` is None when monitoring is off and on ranks other than 0;
    ``control`` is None for a fixed lambda and on ranks other than 0;
    ``step`` counts completed steps; ``warnings`` are for the next report; ``exhausted`` means that ``quality.patience``
    has run out. Only rank 0 writes to ``run_dir``.
    """

    config: ResolvedConfig
    run_dir: Path
    processes: Processes
    precision: str
    game: Game
    feed: DataFeed
    monitor: QualityMonitor | None
    control: WeightControl | None
    step: int
    warnings: tuple[str, ...]
    exhausted: bool

    @property
    def finished(self) -> bool:
        """Whether the schedule is complete or patience has run out."""
        return self.step >= self.config.schedule.total or self.exhausted


@contextmanager
def set_up(config: ResolvedConfig, catalog: Catalog, run_dir: Path, *, resume: bool) -> Iterator[TrainingRun]:
    """Claim the run directory, build or restore the game and open the data, until the block ends.

    Raises ``UserError`` for bad input; a run that did not start leaves nothing behind.
    """
    with ExitStack() as stack:
        processes = stack.enter_context(process_group())
        state = None
        with processes.main_first():  # report another number of processes before the collectives below need it
            if processes.is_main and resume:
                state = checkpoint.load(run_dir)
                check_processes(run_dir, state, processes.size)
        device, processes = select_device(config, processes)
        precision = resolve_precision(config.runtime.precision, device)
        configure_process(config.runtime)
        if processes.is_main:
            stack.enter_context(claim(run_dir, config, precision=precision, state=state))
        game = build_game(config, catalog, device, processes)
        feed = stack.enter_context(open_feed(config, catalog, game, run_dir))
        monitor, control, warnings = None, None, []
        if processes.is_main:
            simulated, real = (feed.streams[kind].source for kind in ("simulated", "real"))
            monitor = open_monitor(config, catalog, simulated, real)
            control = open_weight_control(config.loss, simulated)
            if resume:
                warnings = changed_versions(run_dir, catalog)
            else:
                warnings = reading_warnings("simulated", simulated) + reading_warnings("real", real)
                warnings += few_images_warnings(real)
                if monitor is not None:
                    has_own_evaluator = bool(config.plugins) and config.evaluation.evaluator is not None
                    warnings += monitor.limitations(plugin=has_own_evaluator)
                levels = source_levels(config, "simulated", simulated), source_levels(config, "real", real)
                warnings += level_warnings(*levels) + duplicate_warnings(simulated, real)
                dry_run(game, config, catalog, feed.streams["simulated"].batch(0))
            write_config(run_dir, config, versions_of(catalog))
            styles = to_unit(random_images(real, SIZE, seed=0).image)
            write_styles(run_dir, StyleBank.of(styles, beta=config.evaluation.fda.beta))
        step = 0
        if resume:
            state = checkpoint.scatter_state(state, processes)
            checkpoint.restore(game, state)
            step = state["step"]
            feed.seen.update(state["seen"])
            if monitor is not None and state["monitor"] is not None:
                monitor.load_state_dict(state["monitor"])
        if processes.is_main:  # what a killed process has left
            trim_log(run_dir, step)
            checkpoint.prune(run_dir)
        exhausted = processes.broadcast(monitor is not None and monitor.exhausted)
        yield TrainingRun(
            config=config,
            run_dir=run_dir,
            processes=processes,
            precision=precision,
            game=game,
            feed=feed,
            monitor=monitor,
            control=control,
            step=step,
            warnings=tuple(warnings),
            exhausted=exhausted,
        )


def select_device(config: ResolvedConfig, processes: Processes) -> tuple[torch.device, Processes]:
    """The device of this process, and the processes with a communication group for tensors on it.

    Each process takes the GPU of its local rank. Raises ``UserError`` for fewer GPUs than processes, or a mini-batch
    that cannot be divided equally.
    """
    device = resolve_device(config.runtime.device)
    if processes.size == 1:
        return device, processes
    _check_batch(config, processes.size)
    if device.type == "cuda":
        if device.index is not None:
            raise UserError(
                f"runtime.device={config.runtime.device} is one GPU for {processes.size} processes; use auto, which "
                "gives each its own"
            )
        gpus = torch.cuda.device_count()
        if processes.any(processes.local_rank >= gpus):  # raise on all, or those with a GPU would wait for the others
            raise UserError(
                f"there are more processes than GPUs ({gpus} on the machine of process {processes.rank}); start as "
                "many processes as there are GPUs, or set runtime.device=cpu"
            )
        device = resolve_device(f"cuda:{processes.local_rank}")
        torch.cuda.set_device(device)
    return device, replace(processes, devices=device_group(device))


def _check_batch(config: ResolvedConfig, size: int) -> None:
    batch = config.schedule.batch
    if batch % size:
        raise UserError(f"schedule.batch={batch} cannot be shared by {size} processes; make it a multiple of {size}")
    if config.history is not None and batch % (2 * size):
        raise UserError(
            f"schedule.batch={batch} cannot be shared by {size} processes, each with one half from the history; make "
            f"it a multiple of {2 * size}, or set history=none"
        )
