"""Training: ``steps`` is the loop, a generator that reads as Algorithm 1; ``fit`` drives it to its end.

Several processes run this same loop, each on its share of every mini-batch. They take the same steps, so they come to
the same decisions; what only one knows, its signals and what rank 0 saw of quality, it tells the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from synthreal.config import RunConfig, ScheduleConfig
from synthreal.core.game import Game, update_discriminator, update_refiner
from synthreal.distributed.join import process_group
from synthreal.distributed.signals import launcher_exited, stop_signals
from synthreal.errors import UserError
from synthreal.hooks.catalog import Catalog
from synthreal.hooks.resolve import resolve
from synthreal.inference.pretrained import write_refiner
from synthreal.train import checkpoint
from synthreal.train.loader import DataFeed
from synthreal.train.log import MetricAccumulator, Report, append_log, non_finite_losses
from synthreal.train.monitor import QualityReport
from synthreal.train.preview import refine_preview, write_preview
from synthreal.train.setup import Setup, set_up


def steps(
    config: RunConfig,
    catalog: Catalog,
    run_dir: str | Path,
    *,
    resume: bool = False,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[Report]:
    """Train, yielding a report now and then; ONE step counter runs through the phases refiner, discriminator, game.

    Where ``torchrun`` started several processes, each iterates: all get the same reports at the same steps, but for the
    rate, which is each one's own, and for warnings about files and data, which rank 0 has.

    Args:
        config: the run; it is resolved against the catalog first.
        catalog: where its names are looked up.
        run_dir: the run directory; made here.
        resume: continue the run it holds, bit-identically on the CPU.
        stopped: asked after every step; True, on any process, saves and ends, as torchrun's death does.

    Raises:
        UserError: bad input, told before step 0 wherever possible, or a loss that is not finite.
        PeerError: another process failed.
    """
    alone = launcher_exited()  # asked before set-up, which may take minutes
    with set_up(resolve(config, catalog), catalog, Path(run_dir), resume=resume) as run:
        schedule, processes, step, noted = run.config.schedule, run.processes, run.step, run.noted
        view = View(None, best=False, over=processes.broadcast(run.watch is not None and run.watch.exhausted))
        meter = MetricAccumulator(processes)
        while step < schedule.total and not view.over:
            phase = phase_of(schedule, step)
            train_step(run.game, run.feed, schedule, phase, meter)
            step += 1
            view = monitor_step(run, step, phase)
            noted += view.warnings
            last = step == schedule.total or view.over
            stopping = processes.any(stopped() or alone())
            turn = phase_of(schedule, step) != phase
            report = None
            if step % schedule.report_every == 0 or turn or last or stopping or view.look is not None:
                settled = phase == "game" and 4 * game_steps_done(schedule, step) >= schedule.steps
                report = meter.report(step, phase, settled=settled)
                report, noted = replace(report, quality=view.look, warnings=(*noted, *report.warnings)), ()
                _refuse(run, step, non_finite_losses(report))
                if processes.is_main:
                    append_log(run.run_dir, report)
            if processes.is_main and (step % schedule.sheet_every == 0 or last):
                write_preview(run.game, run.feed, run.run_dir / "sheets" / f"step-{step:08d}.png", run.config)
            if step % schedule.save_every == 0 or last or stopping or view.best:
                save(run, step)
            if report is not None:
                yield report
            if stopping:
                return


def fit(
    config: RunConfig,
    catalog: Catalog,
    run_dir: str | Path,
    *,
    resume: bool = False,
    on_report: Callable[[Report], None] = lambda report: None,
) -> Report | None:
    """Drive :func:`steps` to its end and return the last report, None when a resumed run was already complete.

    Of several processes, rank 0 tells ``on_report``.

    Raises:
        KeyboardInterrupt: the first Ctrl-C (SIGTERM, SIGHUP, torchrun killed), after the state has been saved at a step
            boundary.
    """
    last, alone = None, launcher_exited()
    with process_group() as processes, stop_signals(patient=processes.size > 1) as signalled:
        for last in steps(config, catalog, run_dir, resume=resume, stopped=signalled.is_set):
            if processes.is_main:
                on_report(last)
        interrupted = processes.any(signalled.is_set() or alone())
    if interrupted and (last is None or last.step < config.schedule.total):
        raise KeyboardInterrupt
    return last


def phase_of(schedule: ScheduleConfig, step: int) -> str:
    """What the step with this index does: "refiner", "discriminator" or "game"."""
    if step < schedule.refiner_steps:
        return "refiner"
    return "discriminator" if step < schedule.refiner_steps + schedule.discriminator_steps else "game"


def game_steps_done(schedule: ScheduleConfig, step: int) -> int:
    """Steps of the game among the first ``step``; negative before it."""
    return step - schedule.total + schedule.steps


def train_step(game: Game, feed: DataFeed, schedule: ScheduleConfig, phase: str, meter: MetricAccumulator) -> None:
    """One step of a phase: K_g updates of R, then K_d of D; one update where a player is alone."""
    if phase == "refiner":
        meter.refiner(update_refiner(game, feed.take("simulated"), adversarial=False), schedule.batch)
    if phase == "game":
        for _ in range(schedule.refiner_updates):
            meter.refiner(update_refiner(game, feed.take("simulated"), adversarial=True), schedule.batch)
    if phase != "refiner":
        for _ in range(schedule.discriminator_updates if phase == "game" else 1):
            images = feed.take("simulated"), feed.take("real")
            meter.discriminator(update_discriminator(game, *images), schedule.batch)


class View(NamedTuple):
    """What a look at quality means for the loop: whether it was the best so far, and whether patience is at its end."""

    look: QualityReport | None
    best: bool
    over: bool
    warnings: tuple[str, ...] = ()


def monitor_step(run: Setup, step: int, phase: str) -> View:
    """Look at quality where that is due: rank 0 does, and tells the others."""
    schedule, quality, view = run.config.schedule, run.config.quality, View(None, best=False, over=False)
    due = phase == "game" and quality is not None
    if quality is None or not due or (game_steps_done(schedule, step) % quality.every and step < schedule.total):
        return view
    if run.watch is not None:
        look = run.watch.look(step, refine_preview(run.game, run.watch.simulated))
        run.watch.write(run.run_dir)
        best = run.watch.best_step == step
        view = View(look, best, run.watch.exhausted, tuple(run.watch.warnings(look)))
    return run.processes.broadcast(view)


def save(run: Setup, step: int) -> None:
    """Weights, then the checkpoint: killed in between, a resumed run does this step again and writes both."""
    game, watch = run.game, run.watch
    _refuse(run, step, game.diverged())
    if run.processes.is_main and (watch is None or watch.config.keep == "last" or watch.best_step in (0, step)):
        write_refiner(run.run_dir, game.averaged(), step=step, kind="raw" if game.average is None else "ema")
    state = checkpoint.game_state(game)
    if run.processes.is_main:
        view = None if watch is None else watch.state_dict()
        kept = {"seen": run.feed.seen, "precision": run.precision, "config": run.config.to_toml(), "watch": view}
        checkpoint.save(run.run_dir, step, {**state, **kept})


def _refuse(run: Setup, step: int, broken: list[str]) -> None:
    if broken:
        raise UserError(
            f"{run.run_dir}: step {step}: {', '.join(broken)} not finite; lower optimizer.*.learning_rate "
            "(checkpoints saved before are whole)"
        )
