"""Progress on stderr: a rich progress bar on a terminal, otherwise a line every 15 seconds and at the end."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from synthreal.train.log import Report, warning_kind

LINE_SECONDS = 15.0

OnReport = Callable[[Report], None]


class _SpeedColumn(ProgressColumn):
    """Items per second, over the last 30 seconds or a whole finished task."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.2f} it/s")


@contextmanager
def progress_bars(visible: bool = True) -> Iterator[Callable[..., None]]:
    """``show(task, done, total, note="")`` shows progress, in one bar per task; nothing unless ``visible``."""
    columns = MofNCompleteColumn(), _SpeedColumn(), TimeRemainingColumn(), TextColumn("{task.fields[note]}")
    console = Console(stderr=True)
    last = time.monotonic()

    def show(name: str, done: int, total: int | None, note: str = "") -> None:
        nonlocal last
        known = [task.id for task in progress.tasks if task.description == name]
        task_id = known[0] if known else progress.add_task(name, total=total, note=note)
        progress.update(task_id, completed=done, total=total, note=note)
        if visible and not console.is_terminal and (done == total or time.monotonic() - last > LINE_SECONDS):
            last = time.monotonic()
            texts = (str(column.render(progress.tasks[task_id])).strip() for column in columns)
            print(name, *filter(None, texts), file=sys.stderr, flush=True)

    bar = TextColumn("{task.description}"), BarColumn(), *columns
    with Progress(*bar, console=console, disable=not (visible and console.is_terminal)) as progress:
        yield show


@contextmanager
def ablation_progress() -> Iterator[tuple[Callable[[str, int, int], OnReport], Callable[[str, int, int], None]]]:
    """Steps of all runs together: callbacks for the start of a fit, and for an estimator."""
    name, done, total = "", 0, 0
    with progress_bars() as show:

        def advance(step: int, note: str) -> None:
            nonlocal done
            done = step
            show("ablating", done, total, f"{name}{note}")

        def on_fit(run: str, before: int, steps: int) -> OnReport:
            nonlocal name, total
            name, total = run, steps
            advance(before, "")
            return ReportPrinter(lambda step, losses: advance(before + step, f": {losses}"), f"{name}: ")

        yield on_fit, lambda arm, trained, arms: advance(done, f": estimator {trained + 1}/{arms}, {arm}")


class ReportPrinter:
    """Prints each kind of warning once, then calls ``show`` with the step and the losses of a report.

    Warnings that differ only in numbers are of one kind.
    """

    def __init__(self, show: Callable[[int, str], None], prefix: str = "") -> None:
        self._show, self._prefix = show, prefix
        self._warned: set[str] = set()

    def __call__(self, report: Report) -> None:
        """Print a report."""
        for warning in report.warnings:
            self.warn(warning, report.step)
        self._show(report.step, _losses(report))

    def warn(self, warning: str, step: int = 0) -> None:
        """Print a warning."""
        if (kind := warning_kind(warning)) not in self._warned:
            self._warned.add(kind)
            print(f"warning: {self._prefix}step {step}: {warning}", file=sys.stderr, flush=True)


def _losses(report: Report) -> str:
    values = {
        "reg": (report.loss_regularization, ".4f"),
        "adv": (report.loss_adversarial, ".3f"),
        "D": (report.loss_discriminator, ".3f"),
        "real": (report.accuracy_real, ".2f"),
        "refined": (report.accuracy_refined, ".2f"),
        "lambda": (report.loss_weight, ".2f"),
        "drift px": (report.drift_px, ".2f"),
        "score": (report.quality and report.quality.score, ".2f"),
    }
    shown = [f"{name} {value:{digits}}" for name, (value, digits) in values.items() if value is not None]
    return "  ".join([report.phase, f"{report.images_per_second:.0f} img/s", *shown])
