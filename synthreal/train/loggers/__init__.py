"""Experiment trackers, one module for each library: the numbers of every report go to them while a run trains.

What is logged is what log.jsonl holds. A tracker is no setting of the run: it changes no result, and config.toml does
not name it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from synthreal.config import ResolvedConfig
from synthreal.errors import UserError, one_line, require
from synthreal.files import refuse_link, write_errors
from synthreal.train.log import Report, log_line, numbers

FOLDER = "loggers"  # of a run directory
LOGGERS = ("tensorboard", "wandb", "mlflow")  # each is the name of its library and of its extra


class Logger(Protocol):
    """An open tracker of one run."""

    def log(self, step: int, values: dict[str, float]) -> None:
        """Add values by tag, such as ``quality/kid``, at a step."""

    def close(self, *, finished: bool) -> None:
        """Write what is pending. ``finished``: training did not fail and was not interrupted."""


def require_loggers(names: Sequence[str]) -> None:
    """Raise ``UserError`` for an unknown name, and with the command to install a library that is missing."""
    for name in names:
        if name not in LOGGERS:
            raise UserError(f"--log {name}: unknown; choose {', '.join(LOGGERS)}")
        require(name, f"--log {name}", name)


@contextmanager
def open_loggers(
    names: Sequence[str],
    run_dir: Path,
    config: ResolvedConfig,
    *,
    resume: bool,
    on_warning: Callable[[str], None],
) -> Iterator[Callable[[Report], None]]:
    """A function that logs a report with each tracker, for :func:`synthreal.train.fit.fit`.

    ``resume`` continues what the tracker holds of this run. Trackers open at the first report, when the run directory
    is locked and known to be right. One that cannot be opened raises ``UserError`` there; one that fails later ends
    with a warning, and training continues.
    """
    opened: dict[str, Logger] = {}
    finished, first = False, True

    def stop(name: str, error: Exception) -> None:
        opened.pop(name, None)
        on_warning(f"--log {name}: stopped ({type(error).__name__}: {one_line(error)[:200]}); training continues")

    def log(report: Report) -> None:
        nonlocal first
        if first:
            for name in dict.fromkeys(names):
                opened[name] = _open(name, run_dir, config, resume=resume, step=report.step)
        first, values = False, dict(numbers(log_line(report)))
        for name, logger in list(opened.items()):
            try:
                logger.log(report.step, values)
            except Exception as error:  # of a server or a disk, whatever the library raises
                stop(name, error)

    try:
        yield log
        finished = True
    finally:
        for name, logger in list(opened.items()):
            try:
                logger.close(finished=finished)
            except Exception as error:
                stop(name, error)


def _open(name: str, run_dir: Path, config: ResolvedConfig, *, resume: bool, step: int) -> Logger:
    """Open a tracker whose first report is that of ``step``; what it holds of later steps is of a killed process."""
    folder, title = run_dir / FOLDER / name, run_dir.absolute().name
    for path in (folder.parent, folder):
        refuse_link(path)
    with write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        if name == "tensorboard":
            from synthreal.train.loggers.tensorboard import TensorBoard

            return TensorBoard(folder, purge_step=step)
        if name == "wandb":
            from synthreal.train.loggers.wandb import WandB

            return WandB(folder, title, config, resume=resume)
        from synthreal.train.loggers.mlflow import MLflow

        return MLflow(folder, title, config, resume=resume)
    except UserError:
        raise
    except Exception as error:  # not signed in, no server, ...
        remedy = f"see the documentation of {name}, or leave --log {name} out"
        raise UserError(
            f"--log {name}: cannot start ({type(error).__name__}: {one_line(error)[:200]}); {remedy}"
        ) from error
