"""Frozen models of evaluation.json, validation.json and ablation.json."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, field_serializer, model_serializer, model_validator

from synthreal.errors import UserError
from synthreal.files import read_bounded, reason

Split = Literal["test", "validation"]
Use = Literal["refined", "style", "nothing", "drift"]  # drift: refining moves labels too much, and no style helps
FILES: dict[Split, str] = {"test": "evaluation.json", "validation": "validation.json"}
BASE = "simulated"
CONTROL_PX = 2  # the measures of landmarks and content are tested on images shifted by exactly this much
CONTROL_TOLERANCE_PX = 0.2


def is_misread(control_px: float) -> bool:
    """Whether what is measured for a shift of ``CONTROL_PX`` is so wrong that the measure is not to be trusted."""
    return abs(control_px - CONTROL_PX) > CONTROL_TOLERANCE_PX


class ResultModel(BaseModel):
    """A frozen model; unknown fields are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    def to_json(self) -> dict[str, Any]:
        """The content of the file, ready for ``json.dumps``."""
        return self.model_dump(mode="json")


class Seed(ResultModel):
    """The metric of one estimator and the seeds it was trained with."""

    refiner_seed: int
    estimator_seed: int
    value: float


class Metric(ResultModel):
    """Mean and standard deviation of a metric over estimators; ``std`` is None for one estimator."""

    mean: float
    std: float | None = None
    seeds: tuple[Seed, ...] = ()


class Against(ResultModel):
    """Comparison of the primary metric with ``simulated``; a negative difference is better."""

    difference: float
    interval: tuple[float, float]
    p: float


class Curve(ResultModel):
    """Per cent of images whose error is at most each threshold."""

    metric: str
    threshold: tuple[float, ...]
    percent: tuple[float, ...]
    unit: str

    @model_validator(mode="after")
    def _check_lengths(self) -> Curve:
        if len(self.threshold) != len(self.percent):
            raise ValueError("threshold and percent differ in length")
        return self


class Arm(ResultModel):
    """The results of the estimators trained on one set of images."""

    metrics: dict[str, Metric]
    curve: Curve | None = None
    against: Against | None = None

    @model_validator(mode="before")
    @classmethod
    def _nest_metrics(cls, given: Any) -> Any:
        """The file holds the metrics beside the other fields."""
        if not isinstance(given, Mapping) or "metrics" in given:
            return given
        rest = dict(given)
        return {"curve": rest.pop("curve", None), "against": rest.pop("against_simulated", None), "metrics": rest}

    @model_serializer
    def _put_metrics_beside(self) -> dict[str, Any]:
        curve = {} if self.curve is None else {"curve": self.curve}
        return {**self.metrics, **curve, "against_simulated": self.against}


class Shift(ResultModel):
    """Mean and standard deviation over images, in px."""

    mean: float
    std: float


class Preservation(ResultModel):
    """How far refinement moves the landmarks that the detector of the domain finds, over ``n`` images."""

    shift_px: Shift  # distance between the detections on x and R(x)
    detector_error_px: float | None  # distance to the exact landmarks on x; None without such labels
    control_px: float  # distance measured for images shifted by CONTROL_PX
    change: float  # mean |R(x) - x|
    n: int


class Displacement(ResultModel):
    """How far refinement moves the content of images, by :mod:`synthreal.metrics.displacement`, over ``n`` images."""

    mean_px: float | None  # None: nothing of x was found in R(x)
    p95_px: float | None
    unmatched: float  # share of the blocks with a corner that have no match: invented or erased
    control_px: float  # mean measured for images shifted by CONTROL_PX
    n: int


class TestSet(ResultModel):
    """The real images that the estimators were tested on."""

    name: str
    n: int
    sha256: str = ""


class TwoSample(ResultModel):
    """How well a classifier separates held-out images of two sets, half of ``total`` from each."""

    accuracy: float  # correct / total; 0.5 is chance
    correct: int
    total: int
    p: float  # probability of at least ``correct`` right answers by guessing (exact binomial, one-sided)


class Quality(ResultModel):
    """Quality without labels, see :func:`synthreal.metrics.summary.summarize_quality`; None means not measured."""

    kid: float | None = None
    sliced_wasserstein: float | None = None
    spectrum: float | None = None
    kid_estimator: float | None = None
    two_sample: TwoSample | None = None
    displacement_px: float | None = None
    drift: dict[str, float] | None = None

    @model_serializer
    def _omit_none(self) -> dict[str, Any]:
        return {name: value for name, value in self if value is not None}


class Quantity(ResultModel):
    """The error of one quantity by cause, for each of its places (such as joints), means over estimators.

    See :mod:`synthreal.evaluation.calibration`; a slope is None if the true value is the same in all images.
    """

    offset: tuple[float, ...]
    slope: tuple[float | None, ...]
    scatter: tuple[float, ...]


class Calibration(ResultModel):
    """The error of an arm by cause, and its primary metric after calibration with ``images`` photographs.

    ``error`` is the mean and ``std`` the deviation over choices of photographs; None if not measured, and ``std`` for
    one choice.
    """

    quantities: dict[str, Quantity]
    images: int | None = None
    error: float | None = None
    std: float | None = None


class Confusion(ResultModel):
    """Numbers of test images by true class (rows) and answer (columns), summed over the estimators of an arm."""

    counts: tuple[tuple[int, ...], ...]


class Verdict(ResultModel):
    """What to train on, see :func:`synthreal.evaluation.verdict.verdict`."""

    use: Use
    arm: str  # the training set to use: "refined", the style or "simulated"
    labelled: bool  # whether it follows from errors on labelled real images
    sentence: str
    scores: dict[str, float]  # of each arm, lower is better: its error, or the label-free score


class Evaluation(ResultModel):
    """The results of all arms; ``weights`` are the SHA-256 digests of the refiners of ``runs``.

    Without labelled real images ``test`` is None and ``arms`` is empty: ``quality`` needs no labels. ``primary`` is
    empty without an evaluator.
    """

    runs: tuple[str, ...]
    weights: tuple[str, ...] = ()
    split: Split
    test: TestSet | None
    preservation: Preservation | None
    displacement: Displacement | None = None
    constant: dict[str, float]
    primary: str
    arms: dict[str, Arm]
    calibration: dict[str, Calibration] = {}  # by arm; empty for classes, and in files of earlier versions
    confusion: dict[str, Confusion] = {}  # by arm; empty unless the task is one of 100 classes at most
    classes: tuple[str, ...] = ()  # their names, if the labels have names
    quality: dict[str, Quality] = {}
    verdict: Verdict | None = None
    warnings: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _read_preservation(cls, given: Any) -> Any:
        """The file holds an empty table for a task without a detector."""
        return {**given, "preservation": given.get("preservation") or None} if isinstance(given, Mapping) else given

    @field_serializer("preservation")
    def _write_preservation(self, preservation: Preservation | None) -> Any:
        return {} if preservation is None else preservation

    @model_validator(mode="after")
    def _check_arms(self) -> Evaluation:
        if self.test is None and not self.arms:
            return self
        if BASE not in self.arms:
            raise ValueError(f"arms: {BASE} is missing")
        names = set(self.arms[BASE].metrics)
        if self.primary not in names or any(set(arm.metrics) != names for arm in self.arms.values()):
            raise ValueError(f"arms: not all have {self.primary} and the same metrics")
        if missing := names - set(self.constant):
            raise ValueError(f"constant: {', '.join(sorted(missing))} is missing")
        return self


class Agreement(ResultModel):
    """Spearman's rank correlation between the label-free score and the true error, over ``runs`` runs."""

    spearman: float
    runs: int


class Combination(ResultModel):
    """One row of an ablation: the varied settings as typed, the contact sheet, and the results.

    ``reports`` holds the quality report of the weights that each run saved, with its step, or None.
    """

    settings: dict[str, str]
    picture: str
    reports: tuple[dict[str, Any] | None, ...]
    evaluation: Evaluation

    @model_serializer
    def _put_evaluation_beside(self) -> dict[str, Any]:
        rest = {"settings": self.settings, "picture": self.picture, "looks": self.reports}
        return {**rest, **self.evaluation.to_json()}


class Ablation(ResultModel):
    """One evaluation for every combination of the varied settings; ``rule`` is None for fewer than three runs."""

    recipe: str
    over: tuple[str, ...]
    seeds: int
    split: Split
    primary: str
    rule: Agreement | None
    rows: tuple[Combination, ...]


def read_evaluations(run: Path) -> tuple[Evaluation, ...]:
    """The evaluations in a run directory, that of the test split first. Raises ``UserError`` for a damaged file."""
    found = []
    for split, path in ((split, run / name) for split, name in FILES.items() if (run / name).exists()):
        try:
            found.append(Evaluation.model_validate_json(read_bounded(path)))
        except (OSError, ValueError) as error:
            command = f"synthreal evaluate {shlex.quote(str(run))}" + " --split validation" * (split != "test")
            again = f"delete it, or evaluate again with: {command}"
            raise UserError(f"{path}: damaged ({reason(error)}); {again}") from None
    return tuple(found)
