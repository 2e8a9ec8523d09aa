"""Choices of a run whose pictures have labels: their size, the estimator and its budget, and what a user should know.

A window then shows its whole picture (:mod:`synthreal.data.pictures`), so windows have the size of the renders, or the
median of their sizes. The evaluation trains an estimator on simulated images, one on refined ones and one for each of
two alternatives; together they get a third of the time.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any

import torch

from synthreal.config import ResolvedConfig
from synthreal.data.find_labels import FoundLabels
from synthreal.data.survey import Survey
from synthreal.hooks.catalog import Catalog
from synthreal.metrics.distances import SIDE
from synthreal.train.timing import estimator_seconds

ARMS = 5
SHARE = 1 / 3  # of the time
EPOCHS = (8, 40)
BATCH = 64
BATCH_VALUES = 1 << 23  # of its images
FEWEST_STEPS = 10  # of an epoch; fewer images are trained on in smaller mini-batches
CUT = 0.25  # of a side of a picture, above which a user should know
Size = tuple[int, int]


def whole_size(renders: tuple[Size, ...]) -> Size:
    """``(height, width)`` of windows that show whole renders: their size, or the median of their sizes."""
    height, width = (max(SIDE, round(median(side))) for side in zip(*renders, strict=True))
    return height, width


def evaluation_settings(found: FoundLabels, images: int, values: int) -> dict[str, Any]:
    """The settings of ``evaluation`` for labels and a number of renders of so many values, with the fewest epochs."""
    options: dict[str, Any] = {"classes": len(found.simulated.classes)}
    if not found.simulated.classes:
        options = {"mean": list(found.mean), "deviation": list(found.deviation)}
    return {
        "evaluator": {"name": "classification" if found.simulated.classes else "regression", "options": options},
        "images": max(20, images),
        "epochs": EPOCHS[0],
        "batch": max(2, min(BATCH, images // FEWEST_STEPS, BATCH_VALUES // values)),
        "learning_rate": 2e-3,
    }


def epochs_within(config: ResolvedConfig, catalog: Catalog, found: FoundLabels, seconds: float) -> tuple[int, float]:
    """The epochs of an estimator so that all arms take their share of ``seconds``, and the seconds of one of all."""
    label, budget = found.simulated.spec, config.evaluation
    dtype = torch.int64 if found.simulated.classes else torch.float32
    labels = {label.name: torch.zeros(budget.batch, *label.shape, dtype=dtype)}
    steps = max(1, round(0.9 * budget.images / budget.batch))
    each = ARMS * steps * estimator_seconds(config, catalog, labels)
    return max(EPOCHS[0], min(EPOCHS[1], int(SHARE * seconds / each))), each


def label_lines(config: ResolvedConfig, found: FoundLabels, seconds: float) -> tuple[str, str]:
    """What the labels are, and what is trained on them."""
    evaluation = config.evaluation
    kind = "none" if evaluation.evaluator is None else evaluation.evaluator.name
    training = (
        f"estimator of the evaluation: {kind}, {evaluation.epochs} epochs of {evaluation.images:,} renders for each of "
        f"{ARMS} training sets, about {seconds / 60:.1f} minutes"
    )
    return found.line, training


def label_warnings(found: FoundLabels, crop: Size, folders: Mapping[str, Survey]) -> list[str]:
    """What is unsure about labels if the pictures of ``folders`` (by a name for people) become windows of a size."""
    warnings = list(found.warnings)
    for name, survey in folders.items():
        if found.mean and (other := sum(size != crop for size in survey.sizes)):
            warnings.append(
                f"{other} of {survey.sampled} {name} are brought to {crop[0]}x{crop[1]} px, but not their labels: "
                "numbers in px are wrong there; give pictures of one size"
            )
        if cut := sum(_cut(size, crop) > CUT for size in survey.sizes):
            warnings.append(
                f"{cut} of {survey.sampled} {name} have another aspect ratio than {crop[0]}x{crop[1]} px, and more "
                f"than {CUT:.0%} of their longer side is cut off; what the label is about may lie there"
            )
    return warnings


def _cut(size: Size, crop: Size) -> float:
    """The share of a side that a window of a size does not show of a picture."""
    shares = [side / window for side, window in zip(size, crop, strict=True)]
    return 1 - min(shares) / max(shares)
