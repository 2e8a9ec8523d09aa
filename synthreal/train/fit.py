"""The training loop: ``steps`` is Algorithm 1 as a generator; ``fit`` drives it to its end.

Several processes run the same loop, each on its share of every mini-batch. All take the same steps and therefore the
same decisions; what only one process knows (its signals, and rank 0's quality reports) is broadcast to the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from synthreal.config import ResolvedConfig, RunConfig, ScheduleConfig
from synthreal.core.game import Game, update_discriminator, update_refiner
from synthreal.distributed.join import process_group
from synthreal.distributed.signals import launcher_exited, stop_signals
from synthreal.errors import UserError
from synthreal.hooks.catalog import Catalog
from synthreal.hooks.resolve import resolve
from synthreal.inference.pretrained import SHEETS, write_refiner
from synthreal.train import checkpoint
from synthreal.train.log import MetricAccumulator, Report, append_log, non_finite_values
from synthreal.train.monitor import QualityReport
from synthreal.train.preview import refine_preview, write_preview
from synthreal.train.setup import TrainingRun, set_up
from synthreal.train.sources import DataFeed
from synthreal.train.weight import EVERY


def steps(
    config: RunConfig,
    catalog: Catalog,
    run_dir: str | Path,
    *,
    resume: bool = False,
    stopped: Callable[[], bool] = lambda: False,
    on_warning: Callable[[str], None] = lambda warning: None,
) -> Iterator[Report]:
    """Train, yielding a report every ``schedule.report_every`` steps.

    One step counter runs through the phases refiner, discriminator and game. Under ``torchrun`` every process iterates:
    all get the same reports at the same steps, except for ``images_per_second``, which each measures itself, and for
    warnings about the data, which rank 0 reports.

    Args:
        config: the run.
        catalog: the loaded plugins.
        run_dir: the run directory, created if missing.
        resume: continue the run in ``run_dir``; on the CPU the result is bit-identical to an uninterrupted run.
        stopped: called after every step; if it returns True on any process, the state is saved and training ends. The
            same happens when torchrun has been killed.
        on_warning: called before the first step with each warning about the data, on rank 0 only; the first report
            repeats them.

    Raises:
        UserError: bad input, reported before step 0 where possible, or a loss that is not finite.
        PeerError: another process failed.
    """
    launcher_gone = launcher_exited()  # remembers the parent process before set-up, which may take minutes
    resolved = config if isinstance(config, ResolvedConfig) else resolve(config, catalog)
    with set_up(resolved, catalog, Path(run_dir), resume=resume) as run:
        for warning in run.warnings:
            on_warning(warning)
        schedule, metrics = run.config.schedule, MetricAccumulator(run.processes)
        while not run.finished:
            phase = schedule.phase(run.step)
            train_step(run.game, run.feed, schedule, phase, metrics)
            run.step += 1
            control_step(run, phase)
            quality = monitor_step(run, phase)
            stopping = run.processes.any(stopped() or launcher_gone())
            report = log_step(run, phase, metrics, quality, due=stopping)
            save_step(run, due=stopping or quality.is_best)
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
    on_warning: Callable[[str], None] = lambda warning: None,
) -> Report | None:
    """Drive :func:`steps` to its end and return the last report; None if a resumed run was already complete.

    Args:
        config: the run.
        catalog: the loaded plugins.
        run_dir: the run directory, created if missing.
        resume: continue the run in ``run_dir``.
        on_report: called with each report, on rank 0 only.
        on_warning: see :func:`steps`.

    Raises:
        KeyboardInterrupt: on the first Ctrl-C, SIGTERM or SIGHUP, or if torchrun was killed; the state is saved.
        UserError, PeerError: see :func:`steps`.
    """
    last, launcher_gone = None, launcher_exited()
    with process_group() as processes, stop_signals(patient=processes.size > 1) as signalled:
        for last in steps(config, catalog, run_dir, resume=resume, stopped=signalled.is_set, on_warning=on_warning):
            if processes.is_main:
                on_report(last)
        interrupted = processes.any(signalled.is_set() or launcher_gone())
    if interrupted and (last is None or last.step < config.schedule.total):
        raise KeyboardInterrupt
    return last


def train_step(game: Game, feed: DataFeed, schedule: ScheduleConfig, phase: str, metrics: MetricAccumulator) -> None:
    """One step: K_g updates of R, then K_d of D in the game; a single update of one network in the other phases."""
    if phase == "refiner":
        metrics.refiner(update_refiner(game, feed.take("simulated"), adversarial=False), schedule.batch)
    if phase == "game":
        for _ in range(schedule.refiner_updates):
            metrics.refiner(update_refiner(game, feed.take("simulated"), adversarial=True), schedule.batch)
    if phase != "refiner":
        for _ in range(schedule.discriminator_updates if phase == "game" else 1):
            images = feed.take("simulated"), feed.take("real")
            metrics.discriminator(update_discriminator(game, *images), schedule.batch)


def control_step(run: TrainingRun, phase: str) -> None:
    """Adapt lambda when it is due; rank 0 measures and broadcasts."""
    config = run.config
    if config.loss.weight != "auto" or phase != "game" or config.schedule.game_steps(run.step) % EVERY:
        return
    if run.control is not None:
        run.control.update(run.game)
    run.game.weight, run.game.drift_px = run.processes.broadcast((run.game.weight, run.game.drift_px))


class MonitorResult(NamedTuple):
    """A quality report, if one was due, and the decisions that follow from it."""

    report: QualityReport | None = None
    is_best: bool = False
    exhausted: bool = False
    warnings: tuple[str, ...] = ()


def monitor_step(run: TrainingRun, phase: str) -> MonitorResult:
    """Measure quality when it is due; rank 0 measures and broadcasts. Sets ``run.exhausted``."""
    schedule, settings, quality = run.config.schedule, run.config.quality, MonitorResult()
    if settings is None or phase != "game":
        return quality
    if schedule.game_steps(run.step) % settings.every and run.step < schedule.total:
        return quality
    if (monitor := run.monitor) is not None:
        report = monitor.measure(run.step, refine_preview(run.game, monitor.simulated))
        monitor.write(run.run_dir)
        is_best = monitor.best_step == run.step
        quality = MonitorResult(report, is_best, monitor.exhausted, tuple(monitor.warnings(report, run.config.loss)))
    quality = run.processes.broadcast(quality)
    run.exhausted = quality.exhausted
    return quality


def log_step(
    run: TrainingRun, phase: str, metrics: MetricAccumulator, quality: MonitorResult, *, due: bool
) -> Report | None:
    """Append a report to log.jsonl and write a contact sheet when they are due; return the report."""
    schedule, step = run.config.schedule, run.step
    last, phase_ends = run.finished, schedule.phase(step) != phase
    run.warnings += quality.warnings
    report = None
    if step % schedule.report_every == 0 or phase_ends or last or due or quality.report is not None:
        warmed_up = phase == "game" and 4 * schedule.game_steps(step) >= schedule.steps
        report = metrics.report(step, phase, run.config.loss, warmed_up=warmed_up)
        if run.config.loss.weight == "auto" and phase == "game":
            report = replace(report, loss_weight=run.game.weight, drift_px=run.game.drift_px)
        report = replace(report, quality=quality.report, warnings=(*run.warnings, *report.warnings))
        run.warnings = ()
        run.feed.check_drawn()
        _require_finite(run, non_finite_values(report))
        if run.processes.is_main:
            append_log(run.run_dir, report)
    if run.processes.is_main and (step % schedule.sheet_every == 0 or last):
        write_preview(run.game, run.feed, run.run_dir / SHEETS / f"step-{step:08d}.png", run.config)
    return report


def save_step(run: TrainingRun, *, due: bool) -> None:
    """Save weights and a checkpoint when they are due.

    The weights come first: after a kill between the two, a resumed run repeats the step and writes both.
    """
    step, game, monitor = run.step, run.game, run.monitor
    if step % run.config.schedule.save_every and not run.finished and not due:
        return
    _require_finite(run, game.diverged())
    if run.processes.is_main and (monitor is None or monitor.keeps(step)):
        write_refiner(run.run_dir, game.averaged(), step=step, kind="raw" if game.average is None else "ema")
    state = checkpoint.game_state(game)
    if run.processes.is_main:
        state |= {"seen": run.feed.seen, "precision": run.precision, "config": run.config.to_toml()}
        checkpoint.save(run.run_dir, step, {**state, "monitor": None if monitor is None else monitor.state_dict()})


def _require_finite(run: TrainingRun, diverged: list[str]) -> None:
    if diverged:
        raise UserError(
            f"{run.run_dir}: step {run.step}: not finite: {', '.join(diverged)}; lower optimizer.*.learning_rate "
            "(earlier checkpoints are intact)"
        )
