"""Label-free quality monitoring during training, and selection of the best weights.

How the score was chosen (2026-11-22, recipe ``gaze``, 16 runs: lambda 0.5, 2, 8, 32 x 200, 1000 steps x 2 seeds, each
judged by the error in degrees of an estimator on the validation split, 6.3 to 9.5): realism alone does not predict
that error (rank correlation 0.1), because the weakest lambda looks best and moves labels; realism plus drift with a
weight of 1 / 0.03 predicts little (0.2). A weight of 1 / 0.015, which makes 1 px in an eye of 35x55 as bad as the
whole distance of the simulator, was chosen on the first seed (0.74 over its 8 runs, best run found). On the second
seed, which was not used for the choice, the correlation is 0.33 and the best of 8 is found again (6.8 deg, of 6.8 to
9.5); over all 16 runs it is 0.59 (p = 0.02). The score separates good runs from bad ones, but not two good ones.
Without a detector the shift is the mean displacement of content (:mod:`synthreal.metrics.displacement`), unless a
shift of 2 px is misread on the simulated images; then drift counts as 0, and ``fit`` prints a warning.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from synthreal.config import LossConfig, QualityConfig, ResolvedConfig
from synthreal.data.encoding import to_unit
from synthreal.data.source import Source
from synthreal.errors import UserError
from synthreal.files import read_bounded, reason, write_text
from synthreal.hooks.catalog import Catalog
from synthreal.metrics.displacement import COUNT, LARGEST_PX, displacement_field, is_measurable
from synthreal.metrics.distances import SIDE, realism
from synthreal.metrics.features import random_features
from synthreal.metrics.landmark_shift import detect, distance
from synthreal.train.sources import random_images

RULE = "mean of the distances refined to real / simulated to real, plus label shift / (0.015 x image diagonal)"
FILE = "quality.json"
SEED = 0
DRIFT = 0.015  # label shift, as a share of the image diagonal, that weighs as much as the simulator's distance to real
COLLAPSED = 0.2

Locate = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class QualityReport:
    """Quality of R at a step; the lower ``score``, by :data:`RULE`, the better.

    ``kid``, ``sliced_wasserstein`` and ``spectrum`` are the distances of :func:`synthreal.metrics.distances.realism`,
    ``shift_px`` is the mean shift of the landmarks that the domain's detector finds or, without one, of the content
    (None if it cannot be measured, the largest measurable one if nothing of x is found in R(x)), ``change`` is mean
    |R(x) - x|, and ``diversity`` the spread of refined images as a share of that of simulated ones.
    """

    kid: float
    sliced_wasserstein: float
    spectrum: float
    shift_px: float | None
    change: float
    diversity: float
    score: float


class QualityMonitor:
    """Measures quality on the same images ``(N, C, H, W)`` in [0, 1] every time, and remembers the best score."""

    def __init__(self, config: QualityConfig, simulated: Tensor, real: Tensor, locate: Locate | None) -> None:
        self.config, self.simulated, self.real, self.locate = config, simulated, real, locate
        self.baseline = realism(simulated, real, seed=SEED)
        self.landmarks = None if locate is None else detect(locate, simulated)
        self.measures_content = locate is None and is_measurable(simulated)
        self.spread = _spread(simulated)
        self.best_step, self.best_score, self.since_best = 0, math.inf, 0

    def measure(self, step: int, refined: Tensor) -> QualityReport:
        """Measure R(x) ``(N, C, H, W)`` after a step, and update the best score."""
        distances = realism(refined, self.real, seed=SEED)
        shift = None
        if self.locate is not None and self.landmarks is not None:
            shift = float(distance(self.landmarks, detect(self.locate, refined)).mean())
        elif self.measures_content:
            shift = displacement_field(self.simulated[:COUNT], refined[:COUNT]).mean_px()
            shift = LARGEST_PX if shift is None else shift
        report = QualityReport(
            **distances,
            shift_px=shift,
            change=float((refined - self.simulated).abs().mean()),
            diversity=_spread(refined) / self.spread if self.spread > 0 else 1.0,
            score=score(distances, self.baseline, self._drift(shift)),
        )
        self.since_best += 1
        if report.score < self.best_score:
            self.best_step, self.best_score, self.since_best = step, report.score, 0
        return report

    def limitations(self, *, plugin: bool) -> list[str]:
        """Warnings about effects that the score cannot measure, for the start of a run.

        ``plugin`` says whether the evaluator is that of a plugin, which could have a detector.
        """
        if self.locate is not None or self.measures_content:
            return []
        advice = ", or give the domain's evaluator a `locate`" if plugin else ""
        return [
            "no detector, and images too small or too plain to measure a displacement: moved labels are not measured, "
            f"and the score that selects weights is realism alone; check the contact sheets{advice}"
        ]

    @property
    def exhausted(self) -> bool:
        """Whether the last ``patience`` reports brought no improvement."""
        return self.config.patience is not None and self.since_best >= self.config.patience

    def keeps(self, step: int) -> bool:
        """Whether the weights of this step are the ones to save."""
        return self.config.keep == "last" or self.best_step in (0, step)

    def warnings(self, report: QualityReport, loss: LossConfig) -> list[str]:
        """Warnings about a report; ``loss`` is for their remedies."""
        found = []
        if report.diversity < COLLAPSED:
            found.append(
                f"collapse: refined images differ {100 * report.diversity:.0f} % as much as simulated ones; "
                f"{loss.less_change}, or lower the learning rates"
            )
        if report.shift_px is not None and self._drift(report.shift_px) > 1:
            found.append(
                f"drifting labels: refining moves the {'content' if self.locate is None else 'landmarks'} by "
                f"{report.shift_px:.1f} px; {loss.less_change}"
            )
        return found

    def write(self, run_dir: Path) -> None:
        """Write quality.json: the distances of simulated images, the rule and the best score so far."""
        best = {"step": self.best_step, "score": self.best_score}
        content = QualityFile(simulated=self.baseline, rule=RULE, best=best)
        write_text(run_dir / FILE, json.dumps(content.model_dump(), indent=2) + "\n")

    def state_dict(self) -> dict[str, Any]:
        """The state for a checkpoint."""
        return {"best_step": self.best_step, "best_score": self.best_score, "since_best": self.since_best}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore :meth:`state_dict`."""
        self.best_step, self.best_score = state["best_step"], state["best_score"]
        self.since_best = state["since_best"]

    def _drift(self, shift_px: float | None) -> float:
        return drift_weight(shift_px, math.hypot(*self.simulated.shape[-2:]))


class QualityFile(BaseModel):
    """The content of quality.json; all fields may be missing."""

    model_config = ConfigDict(strict=True)

    simulated: dict[str, float] = {}  # the distances of simulated images
    rule: str = ""
    best: dict[str, int | float] = {}  # step and score


def read_quality(run_dir: Path) -> QualityFile | None:
    """The content of quality.json; None without the file. Raises ``UserError`` if it is damaged."""
    path = run_dir / FILE
    try:
        return QualityFile.model_validate_json(read_bounded(path)) if path.exists() else None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: damaged ({reason(error)}); delete it, a report does without it") from None


def open_monitor(config: ResolvedConfig, catalog: Catalog, simulated: Source, real: Source) -> QualityMonitor | None:
    """The monitor of a run, with random images of both sources; None if monitoring is off."""
    if config.quality is None:
        return None
    if min(config.image.height, config.image.width) < SIDE:
        raise UserError(f"quality: images of {config.image} are too small (below {SIDE} px); set quality=none")
    x, y = (to_unit(random_images(source, config.quality.images, seed=SEED).image) for source in (simulated, real))
    if min(len(x), len(y)) < 2:
        raise UserError("quality: a single image is too few; give more, or set quality=none")
    evaluator = config.evaluation.evaluator
    return QualityMonitor(config.quality, x, y, None if evaluator is None else catalog.evaluator(evaluator.name).locate)


def drift_weight(shift_px: float | None, diagonal: float) -> float:
    """The weight of a shift of labels in a score, for images with a ``diagonal`` in px; None was not measured.

    1 is as bad as the whole distance of simulated images from real ones.
    """
    return 0.0 if shift_px is None else shift_px / (DRIFT * diagonal)


def score(distances: Mapping[str, float], baseline: Mapping[str, float], drift: float) -> float:
    """:data:`RULE`: distances as shares of those of simulated images, averaged, plus drift; lower is better.

    A distance that is not positive for simulated images (unbiased estimates can be below 0) is left out.
    """
    shares = [max(0.0, distances[name]) / baseline[name] for name in baseline if baseline[name] > 0]
    return (sum(shares) / len(shares) if shares else 0.0) + drift


@torch.no_grad()
def _spread(images: Tensor) -> float:
    """Mean standard deviation of random features over the images."""
    return float(random_features(images, seed=SEED).std(0).mean())
