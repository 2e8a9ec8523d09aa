"""Evaluation: one estimator per training set and seed, the same budget for each, tested on the same real images."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from synthreal.data.encoding import to_unit
from synthreal.device import configure_process, resolve_device
from synthreal.errors import UserError
from synthreal.evaluation.cache import FOLDER, train_or_load
from synthreal.evaluation.calibration import Causes, find_causes, has_quantities, summarize_causes
from synthreal.evaluation.confusion import count_confusions, true_and_answered
from synthreal.evaluation.estimator import constant_metrics, measure
from synthreal.evaluation.runs import open_runs, open_test_images
from synthreal.evaluation.training_sets import PER_IMAGE, REAL, VERSIONS, TrainingSets, select_arms
from synthreal.evaluation.verdict import verdict
from synthreal.files import write_text
from synthreal.inference.pretrained import missing_styles
from synthreal.metrics.displacement import content_preservation
from synthreal.metrics.landmark_shift import landmark_preservation
from synthreal.metrics.significance import compare_errors
from synthreal.metrics.summary import COUNT, summarize_quality
from synthreal.results.schema import BASE, FILES, Against, Arm, Curve, Evaluation, Metric, Quality, Seed, Split, TestSet
from synthreal.spec import EvaluatorSpec
from synthreal.train.sources import first_images


def evaluate(
    runs: Sequence[str | Path],
    *,
    arms: Iterable[str] | None = None,
    seeds: int = 1,
    split: Split = "test",
    device: str = "auto",
    estimators: str | Path | None = None,
    trust: bool = False,
    on_arm: Callable[[str, int, int], None] = lambda arm, done, total: None,
) -> Evaluation:
    """Train and test an estimator for every arm, run and seed; write the result into each run directory.

    Trained estimators are cached, so a repeated or interrupted evaluation trains only what is missing. Runs without
    labelled real images or without an evaluator get the measures that need no labels, and a warning.

    Args:
        runs: run directories of one configuration, fitted with different ``runtime.seed``.
        arms: names of :data:`~synthreal.evaluation.training_sets.ARMS`, or "all"; None: simulated, refined, versions,
            histogram, real, or all whose quality can be measured if there are no errors to measure.
        seeds: estimators per arm and run. Run seed s uses the estimator seeds s * seeds, s * seeds + 1, ..., so that
            no two runs share one.
        split: "test" (evaluation.json), or "validation" to choose settings (validation.json).
        device: where to train.
        estimators: folder of the trained estimators; None: one in each run directory.
        trust: run the code of plugins that the runs name and that are neither installed nor loaded.
        on_arm: called before each training with the arm, the number of estimators done and their total.

    Raises:
        UserError: a folder without a run, an unknown arm, a damaged cached estimator.
    """
    opened = open_runs([Path(run) for run in runs], resolve_device(device), trust)
    task, config = opened[0].task, opened[0].config
    configure_process(config.runtime)
    test = open_test_images(opened, split)
    spec = None if task is None else task.spec
    names = select_arms(arms, config, tested=test is not None, labels=0 if spec is None else len(spec.requires))
    trained = names if test is not None else () if task is None else (BASE,)
    if test is None:  # the first run's quality counts, and needs the estimator trained on simulated images alone
        seeds = 1
    total = len(trained) * (1 if test is None else len(opened) * seeds)
    count = config.evaluation.images if trained else COUNT
    all_sets = [TrainingSets(run.folder, run.config, run.open_data, run.device, count=count) for run in opened]
    for run, sets in zip(opened, all_sets, strict=True):
        if VERSIONS in names and not sets.has_styles:
            raise missing_styles(run.folder, f"the arm {VERSIONS}")
        for arm in (BASE, REAL):
            if arm in names and len(sets.simulated if arm == BASE else first_images(sets.labelled, 2)) < 2:
                raise UserError(f"{run.folder}: the arm {arm!r} has one image; give at least 2, one is held out")
    results: list[EstimatorResult] = []
    quality: dict[str, Quality] = {}
    pairs, weights = [], []
    for run, sets in zip(opened, all_sets, strict=True):
        pairs.append((sets.simulated, sets.refined))
        weights.append(sets.weights)
        run_seed = run.config.runtime.seed
        cache = run.folder / FOLDER if estimators is None else Path(estimators)
        if test is None and run is not opened[0]:
            continue
        base_estimator: nn.Module | None = None  # the estimator trained on simulated images, which are the first arm
        for arm in names:
            data = sets[arm]
            for seed in range(run_seed * seeds, (run_seed + 1) * seeds) if arm in trained else ():
                assert run.task is not None and spec is not None, "there are no arms to train without an evaluator"
                on_arm(arm, len(results), total)
                model = train_or_load(cache, arm, run.task, data, seed=seed)
                base_estimator = base_estimator or model
                if test is not None:
                    numbers = has_quantities(spec, model, test)
                    causes = find_causes(spec, model, test, sets.photographs) if numbers else None
                    classes = true_and_answered(spec, model, test)
                    results.append(EstimatorResult(arm, run_seed, seed, measure(spec, model, test), causes, classes))
            if run is opened[0] and arm in (*PER_IMAGE, REAL):
                real = to_unit(first_images(sets.real, COUNT).image)
                simulated = sets.simulated if arm in PER_IMAGE else None
                quality[arm] = summarize_quality(spec, base_estimator, data.images, real, simulated)
    test_set = None
    if test is not None:
        test_set = TestSet(name=getattr(config.data, split).name, n=len(test), sha256=test.sha256())
    evaluation = Evaluation(
        runs=tuple(map(str, runs)),
        weights=tuple(weights),
        split=split,
        test=test_set,
        preservation=None if spec is None else landmark_preservation(spec, pairs),
        displacement=content_preservation(pairs),
        constant={} if test is None or spec is None else constant_metrics(spec, pairs[0][0].labels, test),
        primary="" if spec is None else spec.primary,
        arms={} if test is None or spec is None else summarize_arms(spec, names, results),
        calibration=summarize_causes((result.arm, result.causes) for result in results),
        confusion=count_confusions((result.arm, result.classes) for result in results),
        classes=() if spec is None else opened[0].class_names(spec.requires[0].name, split),
        quality=quality,
        warnings=tuple(dict.fromkeys(warning for run in opened for warning in run.warnings)),
    )
    diagonal = math.hypot(config.image.height, config.image.width)
    evaluation = evaluation.model_copy(update={"verdict": verdict(evaluation, diagonal)})
    for run in opened:
        write_text(run.folder / FILES[split], json.dumps(evaluation.to_json(), indent=2) + "\n")
    return evaluation


@dataclass(frozen=True)
class EstimatorResult:
    """The results of one estimator on N test images: metrics ``(N,)`` or ``(N, K)``, and classes ``(2, N)``."""

    arm: str
    refiner_seed: int
    estimator_seed: int
    metrics: dict[str, Tensor]
    causes: Causes | None = None
    classes: Tensor | None = None


def summarize_arms(spec: EvaluatorSpec, names: Sequence[str], results: Sequence[EstimatorResult]) -> dict[str, Arm]:
    """Summarise the results of each arm, and compare it with ``simulated``."""
    by_arm = {arm: [result for result in results if result.arm == arm] for arm in names}
    return {arm: summarize_arm(spec, mine, None if arm == BASE else by_arm[BASE]) for arm, mine in by_arm.items()}


def summarize_arm(
    spec: EvaluatorSpec, results: Sequence[EstimatorResult], base: Sequence[EstimatorResult] | None
) -> Arm:
    """Summarise the metrics and the error curve of an arm, and compare it with ``base``, the results of simulated."""
    return Arm(
        metrics={name: _metric(name, results) for name in results[0].metrics},
        curve=None if spec.curve is None else _curve(*spec.curve, results),
        against=None if base is None else _against(spec.primary, results, base),
    )


def _metric(name: str, results: Sequence[EstimatorResult]) -> Metric:
    values = torch.tensor([float(result.metrics[name].mean()) for result in results], dtype=torch.float64)
    seeds = [
        Seed(refiner_seed=result.refiner_seed, estimator_seed=result.estimator_seed, value=float(value))
        for result, value in zip(results, values, strict=True)
    ]
    return Metric(mean=float(values.mean()), std=float(values.std()) if len(values) > 1 else None, seeds=tuple(seeds))


def _curve(name: str, thresholds: tuple[float, ...], results: Sequence[EstimatorResult]) -> Curve:
    errors = torch.cat([result.metrics[name] for result in results])
    percent = tuple(100 * float((errors <= threshold).float().mean()) for threshold in thresholds)
    return Curve(metric=name, threshold=thresholds, percent=percent, unit=name.rpartition("_")[2])


def _against(primary: str, results: Sequence[EstimatorResult], base: Sequence[EstimatorResult]) -> Against:
    sides = ([one.metrics[primary] for one in side] for side in (results, base))
    errors = (torch.stack([values.reshape(len(values), -1).mean(1) for values in side]) for side in sides)
    return compare_errors(*errors, runs=[result.refiner_seed for result in results])
