"""Progress on stderr: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import datetime
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from synthreal.train.log import Report

QUIET_SECONDS = 15.0
_OFTEN = 0.1  # seconds

OnReport = Callable[[Report], None]
Counter = Callable[[int, int], None]
Tell = Callable[[int, int | None, str], None]


@contextmanager
def _bar(text: str, total: int | None) -> Iterator[Tell]:
    console = Console(stderr=True)
    if not console.is_terminal:
        said = [time.monotonic()]

        def line(done: int, total: int | None, note: str) -> None:
            if time.monotonic() - said[0] > QUIET_SECONDS or done == total:
                said[0] = time.monotonic()
                print(
                    f"{text} {done}{'' if total is None else f'/{total}'} {note}".rstrip(), file=sys.stderr, flush=True
                )

        yield line
        return
    columns = (
        TextColumn(text),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(text, total=total, note="")
        yield lambda done, total, note: progress.update(task, completed=done, total=total, note=note)


@contextmanager
def counting(text: str) -> Iterator[Callable[[int, int | None], None]]:
    """A counter of images."""
    with _bar(text, None) as tell:
        yield lambda done, total: tell(done, total, "")


@contextmanager
def refining(number: int = 0) -> Iterator[tuple[Counter, Counter]]:
    """A counter of images, and one of what is assembled in the end on a line of its own; process 0 alone tells."""
    if number > 0:
        yield (lambda done, total: None), (lambda done, total: None)
        return
    with ExitStack() as line:
        yield _rated(line.enter_context(_bar("refining", None)), " images"), _rated(_next(line, "assembling"), "")


def _next(line: ExitStack, text: str) -> Tell:
    """A bar that begins when it is first told something, below the one in ``line``, which ends."""
    bar: list[Tell] = []

    def tell(done: int, total: int | None, note: str) -> None:
        if not bar:
            line.close()
            bar.append(line.enter_context(_bar(text, None)))
        bar[0](done, total, note)

    return tell


def _rated(tell: Tell, unit: str) -> Counter:
    """Tells the rate and the time left too, ten times a second at most."""
    first: list[tuple[float, int]] = []
    told = -_OFTEN

    def count(done: int, total: int) -> None:
        nonlocal told
        now = time.monotonic()
        first[:] = first or [(now, done)]
        if now - told < _OFTEN and done < total:
            return
        told = now
        seconds, items = now - first[0][0], done - first[0][1]
        if not (rate := items / seconds if seconds else 0.0):
            tell(done, total, "")
            return
        left = datetime.timedelta(seconds=round((total - done) / rate))
        tell(done, total, f"{rate:,.0f}{unit}/s, {left} left" if rate >= 100 else f"{rate:.3g}{unit}/s, {left} left")

    return count


@contextmanager
def evaluating() -> Iterator[Callable[[str, int, int], None]]:
    """A counter of trainings, naming the arm."""
    with _bar("evaluating", None) as tell:
        yield lambda arm, done, total: tell(done, total, arm)


@contextmanager
def training(total: int) -> Iterator[Callable[[Report], None]]:
    """Steps, losses and, once each, warnings."""
    warned: set[str] = set()
    with _bar("fitting", total) as tell:

        def on_report(report: Report) -> None:
            _warn(report, warned)
            tell(report.step, total, _note(report))

        yield on_report


@contextmanager
def ablating() -> Iterator[tuple[Callable[[str, int, int], OnReport], Callable[[str, int, int], None]]]:
    """Steps of all runs together: what to tell of a fit that begins, and of an estimator."""
    now: dict[str, Any] = {}
    with _bar("ablating", None) as tell:

        def on_fit(name: str, done: int, total: int) -> OnReport:
            warned: set[str] = set()
            now.update(name=name, done=done, total=total)
            tell(done, total, name)

            def on_report(report: Report) -> None:
                _warn(report, warned, f"{name}: ")
                now.update(done=done + report.step)
                tell(now["done"], total, f"{name}: {_note(report)}")

            return on_report

        def on_arm(arm: str, done: int, total: int) -> None:
            tell(now["done"], now["total"], f"{now['name']}: estimator {done + 1}/{total}, {arm}")

        yield on_fit, on_arm


def _warn(report: Report, warned: set[str], of: str = "") -> None:
    """Each kind of warning once."""
    for warning in report.warnings:
        if (kind := warning.partition(":")[0]) not in warned:
            warned.add(kind)
            print(f"warning: {of}step {report.step}: {warning}", file=sys.stderr, flush=True)


def _note(report: Report) -> str:
    parts = [report.phase, f"{report.images_per_second:.0f} img/s"]
    if report.loss_regularization is not None:
        parts.append(f"reg {report.loss_regularization:.4f}")
    if report.loss_adversarial is not None:
        parts.append(f"adv {report.loss_adversarial:.3f}")
    if report.loss_discriminator is not None:
        parts.append(
            f"D {report.loss_discriminator:.3f} real {report.accuracy_real:.2f} refined {report.accuracy_refined:.2f}"
        )
    if report.quality is not None:
        parts.append(f"score {report.quality.score:.2f}")
    return "  ".join(parts)
