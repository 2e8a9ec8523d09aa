"""What a run says of itself: Report, the meter that fills it without stopping the device, and log.jsonl."""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from synthreal.core.game import DiscriminatorUpdate, RefinerUpdate
from synthreal.distributed.processes import SINGLE_PROCESS, Processes
from synthreal.files import write_text, writing
from synthreal.train.monitor import QualityReport

LOG = "log.jsonl"
IDENTITY = 0.01
SATURATED = 0.99


@dataclass(frozen=True)
class Report:
    """Means over the steps since the last report; None where a phase has no such thing.

    ``loss_regularization`` is the unweighted sum over psi; ``loss_discriminator`` the sum of both cross-entropies;
    accuracies are shares of patches in [0, 1]; ``change`` is mean |R(x) - x| of [0, 1] images; ``quality`` is
    the look at this step, where one was taken.
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


class MetricAccumulator:
    """Sums scalars on the device; the host waits for them only when a report is due.

    Several processes report the means over all of them.
    """

    def __init__(self, processes: Processes = SINGLE_PROCESS) -> None:
        self.processes = processes
        self.sums: dict[str, tuple[Tensor, int]] = {}
        self.images = 0
        self.started = time.perf_counter()

    def refiner(self, update: RefinerUpdate, images: int) -> None:
        """Count one R update."""
        self._add("loss_regularization", update.regularization)
        self._add("change", update.change)
        if update.adversarial is not None:
            self._add("loss_adversarial", update.adversarial)
        self.images += images

    def discriminator(self, update: DiscriminatorUpdate, images: int) -> None:
        """Count one D update."""
        self._add("loss_discriminator", update.loss)
        self._add("accuracy_real", update.accuracy_real)
        self._add("accuracy_refined", update.accuracy_refined)
        self.images += images

    def report(self, step: int, phase: str, *, settled: bool) -> Report:
        """Read the means, start counting anew. ``settled`` says the game has run long enough to be judged."""
        names = list(self.sums)
        means = [total / count for total, count in self.sums.values()]
        self.processes.all_reduce_mean(means)
        read = torch.stack(means).tolist() if names else []
        value = {name: mean for name, mean in zip(names, read, strict=True)}
        seconds = time.perf_counter() - self.started
        images, self.sums, self.images, self.started = self.images, {}, 0, time.perf_counter()
        report = Report(
            step=step,
            phase=phase,
            loss_adversarial=value.get("loss_adversarial"),
            loss_regularization=value.get("loss_regularization"),
            loss_discriminator=value.get("loss_discriminator"),
            accuracy_real=value.get("accuracy_real"),
            accuracy_refined=value.get("accuracy_refined"),
            change=value.get("change"),
            images_per_second=round(images / max(seconds, 1e-9), 1),
        )
        return Report(**{**asdict(report), "warnings": tuple(warnings_of(report, settled=settled))})

    def _add(self, name: str, value: Tensor) -> None:
        total, count = self.sums.get(name, (torch.zeros_like(value, dtype=torch.float32), 0))
        self.sums[name] = (total + value.float(), count + 1)


def warnings_of(report: Report, *, settled: bool) -> list[str]:
    """What a user should worry about, as sentences.

    Args:
        report: the means of the last steps.
        settled: a quarter of the game is over, so that an identity is no longer the pre-trained start.
    """
    found = []
    if settled and report.change is not None and report.change < IDENTITY:
        found.append(
            f"identity refiner: mean |R(x) - x| is {report.change:.4f} (< {IDENTITY}); "
            "lower loss.weight or train longer"
        )
    if settled and report.accuracy_real is not None and report.accuracy_refined is not None:
        if min(report.accuracy_real, report.accuracy_refined) > SATURATED:
            found.append(
                f"saturated discriminator: it calls {100 * report.accuracy_refined:.1f} % of refined and "
                f"{100 * report.accuracy_real:.1f} % of real patches rightly; lower its learning rate or "
                "raise schedule.refiner_updates"
            )
    return found


def non_finite_losses(report: Report) -> list[str]:
    """Names of the losses that are NaN or infinite."""
    return [name for name, value in asdict(report).items() if isinstance(value, float) and not math.isfinite(value)]


def append_log(run_dir: Path, report: Report) -> None:
    """One line of log.jsonl: the report without ``change``, which its warning needs; ``quality`` where there is one."""
    path = run_dir / LOG
    left_out = {"change"} if report.quality is not None else {"change", "quality"}
    line = {name: value for name, value in asdict(report).items() if name not in left_out}
    with writing(path), path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def read_quality(run_dir: Path) -> dict[int, dict[str, Any]]:
    """The looks at quality in log.jsonl, by step."""
    path = run_dir / LOG
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return {line["step"]: line["quality"] for line in map(json.loads, lines) if "quality" in line}


def trim_log(run_dir: Path, step: int) -> None:
    """Drop the lines after ``step``, which a resumed run will write again, and damaged ones."""
    path = run_dir / LOG
    if path.is_file():
        with writing(path):
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
        write_text(path, "".join(line for line in lines if _step_of(line) <= step))


def _step_of(line: str) -> float:
    """The step of a whole line of the log; infinity for one that was cut or edited."""
    try:
        return int(json.loads(line)["step"]) if line.endswith("\n") else math.inf
    except (ValueError, KeyError, TypeError):
        return math.inf
