"""Progress on stderr: a rich progress bar on a terminal, otherwise a line every 15 seconds and at the end."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from synthreal.train.log import Report

LINE_SECONDS = 15.0

Show = Callable[[str, int, int | None, str], None]
OnReport = Callable[[Report], None]
Counter = Callable[[int, int | None], None]


class SpeedColumn(ProgressColumn):
    """Items per second, over the last 30 seconds or a whole finished task."""

    def render(self, task: Task) -> Text:
        """The text of a task."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.2f} it/s")


@contextmanager
def progress_bars() -> Iterator[Show]:
    """``show(task, done, total, note)`` shows progress; several tasks have a bar each."""
    columns = MofNCompleteColumn(), SpeedColumn(), TimeRemainingColumn(), TextColumn("{task.fields[note]}")
    console = Console(stderr=True)
    ids: dict[str, TaskID] = {}
    last = time.monotonic()

    def show(name: str, done: int, total: int | None, note: str) -> None:
        nonlocal last
        if name not in ids:
            ids[name] = progress.add_task(name, total=total, note=note)
        progress.update(ids[name], completed=done, total=total, note=note)
        if not console.is_terminal and (done == total or time.monotonic() - last > LINE_SECONDS):
            last = time.monotonic()
            texts = (str(column.render(progress.tasks[ids[name]])).strip() for column in columns)
            print(name, *filter(None, texts), file=sys.stderr, flush=True)

    bar = TextColumn("{task.description}"), BarColumn(), *columns
    with Progress(*bar, console=console, disable=not console.is_terminal) as progress:
        yield show


@contextmanager
def counting(text: str) -> Iterator[Counter]:
    """A counter of images."""
    with progress_bars() as show:
        yield lambda done, total: show(text, done, total, "")


@contextmanager
def refining(rank: int = 0) -> Iterator[tuple[Counter, Counter]]:
    """Counters of refined images and of assembled blocks; silent on ranks other than 0."""
    if rank > 0:
        yield (lambda done, total: None), (lambda done, total: None)
        return
    with progress_bars() as show:
        yield (
            lambda done, total: show("refining", done, total, ""),
            lambda done, total: show("assembling", done, total, ""),
        )


@contextmanager
def evaluating() -> Iterator[Callable[[str, int, int], None]]:
    """A counter of trained estimators, with the name of the arm."""
    with progress_bars() as show:
        yield lambda arm, done, total: show("evaluating", done, total, arm)


@contextmanager
def training(total: int) -> Iterator[OnReport]:
    """Steps, losses and warnings of a run."""
    with progress_bars() as show:
        yield _on_report(lambda report: show("fitting", report.step, total, _losses(report)))


@contextmanager
def ablating() -> Iterator[tuple[Callable[[str, int, int], OnReport], Callable[[str, int, int], None]]]:
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
            return _on_report(lambda report: advance(before + report.step, f": {_losses(report)}"), f"{name}: ")

        yield on_fit, lambda arm, trained, arms: advance(done, f": estimator {trained + 1}/{arms}, {arm}")


def _on_report(show: OnReport, prefix: str = "") -> OnReport:
    """Print each kind of warning once, then show the report."""
    warned: set[str] = set()

    def on_report(report: Report) -> None:
        for warning in report.warnings:
            if (kind := warning.partition(":")[0]) not in warned:
                warned.add(kind)
                print(f"warning: {prefix}step {report.step}: {warning}", file=sys.stderr, flush=True)
        show(report)

    return on_report


def _losses(report: Report) -> str:
    values = {
        "reg": (report.loss_regularization, ".4f"),
        "adv": (report.loss_adversarial, ".3f"),
        "D": (report.loss_discriminator, ".3f"),
        "real": (report.accuracy_real, ".2f"),
        "refined": (report.accuracy_refined, ".2f"),
        "score": (report.quality and report.quality.score, ".2f"),
    }
    shown = [f"{name} {value:{digits}}" for name, (value, digits) in values.items() if value is not None]
    return "  ".join([report.phase, f"{report.images_per_second:.0f} img/s", *shown])
