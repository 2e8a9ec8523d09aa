"""Training reports: their accumulation on the device, and log.jsonl."""

from __future__ import annotations

import json
import math
import re
import shlex
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from synthreal.config import LossConfig
from synthreal.core.game import DiscriminatorUpdate, RefinerUpdate
from synthreal.distributed.processes import SINGLE_PROCESS, Processes
from synthreal.errors import UserError
from synthreal.files import read_bounded, reason, write_errors, write_text
from synthreal.inference.pretrained import LOG
from synthreal.train.monitor import QualityReport

LARGEST = 256 << 20  # bytes of a log that is read; a line has a few hundred
LARGEST_NUMBER = 3.4e38  # of float32, in which charts and trackers hold numbers
IDENTITY = 0.01
SATURATED = 0.99
METRICS = (
    "loss_adversarial",
    "loss_regularization",
    "loss_discriminator",
    "accuracy_real",
    "accuracy_refined",
    "change",
)


@dataclass(frozen=True)
class Report:
    """Means over the steps since the last report; None for quantities that the phase does not have.

    ``loss_regularization`` is the unweighted sum over psi, ``loss_discriminator`` the sum of both cross-entropies of
    Eq. 2; accuracies are shares of correctly classified patches in [0, 1]; ``change`` is mean |R(x) - x| of [0, 1]
    images; ``images_per_second`` is the throughput of all processes, as this one measures it. ``loss_weight`` and
    ``drift_px`` are the last lambda and displacement of ``loss.weight=auto``.
    """

    step: int
    phase: str
    loss_adversarial: float | None
    loss_regularization: float | None
    loss_discriminator: float | None
    accuracy_real: float | None
    accuracy_refined: float | None
    change: float | None
    images_per_second: float
    quality: QualityReport | None = None
    warnings: tuple[str, ...] = ()
    loss_weight: float | None = None
    drift_px: float | None = None


class _Line(BaseModel):
    """A :class:`Report` in log.jsonl."""

    model_config = ConfigDict(extra="allow", strict=True)

    step: int = Field(ge=0, lt=2**63)
    phase: str = ""
    loss_adversarial: float | None = None
    loss_regularization: float | None = None
    loss_discriminator: float | None = None
    accuracy_real: float | None = None
    accuracy_refined: float | None = None
    images_per_second: float | None = None
    quality: QualityReport | None = None
    warnings: tuple[str, ...] = ()
    loss_weight: float | None = None
    drift_px: float | None = None


class MetricAccumulator:
    """Sums scalars on the device, so that the host waits for the device only when a report is due.

    With several processes, reports are means over all of them.
    """

    def __init__(self, processes: Processes = SINGLE_PROCESS) -> None:
        self.processes = processes
        self.sums: dict[str, tuple[Tensor, int]] = {}
        self.images = 0
        self.started = time.perf_counter()

    def refiner(self, update: RefinerUpdate, images: int) -> None:
        """Add one update of R."""
        self._add(images, loss_regularization=update.regularization, change=update.change)
        if update.adversarial is not None:
            self._add(0, loss_adversarial=update.adversarial)

    def discriminator(self, update: DiscriminatorUpdate, images: int) -> None:
        """Add one update of D."""
        accuracies = {"accuracy_real": update.accuracy_real, "accuracy_refined": update.accuracy_refined}
        self._add(images, loss_discriminator=update.loss, **accuracies)

    def report(self, step: int, phase: str, loss: LossConfig, *, warmed_up: bool) -> Report:
        """Read the means and reset.

        ``loss`` is for the remedies of warnings; ``warmed_up``: a quarter of the game is over, so that they make sense.
        """
        means = [total / count for total, count in self.sums.values()]
        self.processes.all_reduce_mean(means)
        values: dict[str, Any] = dict.fromkeys(METRICS)
        values.update(zip(self.sums, torch.stack(means).tolist() if means else (), strict=True))
        rate = self.images / max(time.perf_counter() - self.started, 1e-9)
        self.sums, self.images, self.started = {}, 0, time.perf_counter()
        report = Report(step, phase, **values, images_per_second=round(rate, 1))
        return replace(report, warnings=tuple(training_warnings(report, loss, warmed_up=warmed_up)))

    def _add(self, images: int, **values: Tensor) -> None:
        self.images += images
        for name, value in values.items():
            total, count = self.sums.get(name, (torch.zeros_like(value, dtype=torch.float32), 0))
            self.sums[name] = (total + value.float(), count + 1)


def warning_kind(warning: str) -> str:
    """A warning without its numbers, which is the same for all warnings of a kind."""
    return re.sub(r"\d[\d.,]*", "#", warning)


def training_warnings(report: Report, loss: LossConfig, *, warmed_up: bool) -> list[str]:
    """Warnings about the means; none before ``warmed_up``, because R is pre-trained to be the identity."""
    found = []
    if warmed_up and report.change is not None and report.change < IDENTITY:
        found.append(
            f"identity refiner: mean |R(x) - x| is {report.change:.4f} (< {IDENTITY}); "
            f"{loss.more_change} or train longer"
        )
    real, refined = report.accuracy_real, report.accuracy_refined
    if warmed_up and real is not None and refined is not None and min(real, refined) > SATURATED:
        found.append(
            f"saturated discriminator: it classifies {100 * refined:.1f} % of refined and {100 * real:.1f} % of real "
            "patches correctly; lower its learning rate or raise schedule.refiner_updates"
        )
    return found


def non_finite_values(report: Report) -> list[str]:
    """Names of the values that are NaN or infinite."""
    return [name for name, value in asdict(report).items() if isinstance(value, float) and not math.isfinite(value)]


def log_line(report: Report) -> dict[str, Any]:
    """A report without ``change``, and without what a run does not measure at this step."""
    values = asdict(report)
    left_out = {"change"} | {name for name in ("quality", "loss_weight", "drift_px") if values[name] is None}
    return {name: value for name, value in values.items() if name not in left_out}


def numbers(line: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Tags and values of the finite numbers of a log line, without its step; nested tags look like ``quality/kid``."""
    for name, value in line.items():
        if isinstance(value, Mapping):
            yield from numbers(value, f"{prefix}{name}/")
        elif is_number(value) and (prefix or name != "step"):
            yield f"{prefix}{name}", float(value)


def is_number(value: Any) -> bool:
    """Whether a JSON value is a number that a chart can show."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST_NUMBER


def append_log(run_dir: Path, report: Report) -> None:
    """Append a report to log.jsonl, as :func:`log_line` gives it."""
    path, line = run_dir / LOG, log_line(report)
    with write_errors(path), path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def read_log(run_dir: Path) -> tuple[list[dict[str, Any]], bool]:
    """The lines of log.jsonl, none without the file, and whether a last, incomplete one was ignored.

    Raises ``UserError`` for a damaged line.
    """
    path = run_dir / LOG
    try:
        *lines, rest = read_bounded(path, LARGEST).split(b"\n") if path.exists() else [b""]
    except ValueError as error:
        raise UserError(f"{path}: {error}; keep its last lines only") from None
    except OSError as error:
        raise UserError(f"{path}: cannot read ({reason(error)}); correct its permissions, or replace it") from None
    log = []
    for number, line in enumerate(lines, start=1):
        try:
            log.append(_Line.model_validate_json(line).model_dump(exclude_unset=True))
        except ValueError as error:
            remedy = f"delete that line, or drop it with: synthreal fit --run {shlex.quote(str(run_dir))} --resume"
            raise UserError(f"{path}: line {number} is damaged ({reason(error)}); {remedy}") from None
    return log, bool(rest)


def trim_log(run_dir: Path, step: int) -> None:
    """Remove the lines after ``step``, which a resumed run writes again, and damaged lines."""
    path = run_dir / LOG
    if path.is_file():
        with write_errors(path):
            lines = path.read_bytes().splitlines(keepends=True)
        write_text(path, b"".join(line for line in lines if _step_of(line) <= step).decode())


def _step_of(line: bytes) -> float:
    """The step of a log line; infinity for a truncated or edited line."""
    try:
        return _Line.model_validate_json(line).step if line.endswith(b"\n") else math.inf
    except ValueError:
        return math.inf
