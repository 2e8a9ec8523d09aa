"""The proof: one estimator a training set and seed, the same budget, tested on the same real images."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from synthreal.config import ResolvedConfig
from synthreal.data.encoding import to_unit
from synthreal.data.resident import Resident
from synthreal.data.source import SimulatorSource, Source
from synthreal.device import autocast_dtype, configure_process, resolve_device, resolve_precision
from synthreal.errors import UserError
from synthreal.evaluation.cache import FOLDER, train_or_load
from synthreal.evaluation.estimator import constant_metrics, measure
from synthreal.evaluation.summary import EstimatorResult, summarize_arm
from synthreal.evaluation.training_sets import PER_IMAGE, REAL, TrainingSets, select_arms
from synthreal.files import write_text
from synthreal.hooks.catalog import Catalog, parse_options, versions_of
from synthreal.hooks.resolve import resolve
from synthreal.inference.pretrained import read_config
from synthreal.metrics.landmark_shift import landmark_preservation
from synthreal.metrics.summary import COUNT, summarize_quality
from synthreal.results.schema import BASE, FILES, Split
from synthreal.spec import EvaluatorSpec
from synthreal.train.run_dir import differences
from synthreal.train.sources import first_images, open_data, unreadable_warnings


def evaluate(
    runs: Sequence[str | Path],
    *,
    arms: Iterable[str] | None = None,
    seeds: int = 1,
    split: Split = "test",
    device: str = "auto",
    estimators: str | Path | None = None,
    on_arm: Callable[[str, int, int], None] = lambda arm, done, total: None,
) -> dict[str, Any]:
    """Train and test every arm for every run and seed; the result is also written into each run directory.

    Trained estimators are kept: what is asked again, or was interrupted, trains what is missing.

    Args:
        runs: run directories of one configuration, fitted with different ``runtime.seed``.
        arms: names of :data:`~synthreal.evaluation.training_sets.ARMS`, or "all"; None: simulated, refined, histogram,
            real.
        seeds: estimators an arm and run; no two runs share one (run seed x seeds, and the following).
        split: "test", or "validation" to choose settings (written to validation.json).
        device: where to train.
        estimators: a folder for the trained estimators; None: one in each run directory.
        on_arm: told before each training: arm, number done, number in all.

    Raises:
        UserError: a folder without a run, no evaluator or no labelled real images in its configuration, an unknown
            arm, a kept estimator that is damaged.
    """
    configs = [read_config(Path(run)) for run in runs]
    _comparable(runs, configs)
    catalog = Catalog.of(configs[0].plugins)
    configs = [resolve(config, catalog) for config in configs]
    spec, options = _task(configs, catalog, split)
    names = select_arms(arms, configs[0])
    place, versions = resolve_device(device), versions_of(catalog)
    outcomes: list[EstimatorResult] = []
    pairs: list[tuple[Resident, Resident]] = []
    weights: list[str] = []
    test: Resident | None = None
    baseline: dict[str, float] = {}
    noted: list[str] = []
    quality: dict[str, Any] = {}
    reader: nn.Module | None = None
    total = len(names) * len(configs) * seeds
    for run, config in zip((Path(run) for run in runs), configs, strict=True):
        precision = autocast_dtype(resolve_precision(config.runtime.precision, place))
        configure_process(config.runtime)
        opened = partial(_opened, config, catalog, run, place, noted)
        tested = _whole(opened(split))
        if test is not None and tested.sha256() != test.sha256():
            raise UserError(
                f"{run}: its {split} images are not those of {runs[0]}; evaluate runs of one data set together"
            )
        test = tested
        sets = TrainingSets(run, config, opened, place)
        pairs.append((sets.simulated, sets.refined))
        weights.append(sets.weights)
        baseline = baseline or constant_metrics(spec, sets.simulated.labels, test)
        for arm in names:
            data = sets[arm]
            if len(data.images) < 2:
                raise UserError(f"{run}: the arm {arm!r} has one image; give at least 2, one is held out")
            for seed in range(config.runtime.seed * seeds, (config.runtime.seed + 1) * seeds):
                on_arm(arm, len(outcomes), total)
                model = train_or_load(
                    run / FOLDER if estimators is None else Path(estimators),
                    arm,
                    spec,
                    options,
                    config.image,
                    data,
                    config.evaluation,
                    seed=seed,
                    autocast=precision,
                    versions=versions,
                )
                outcomes.append(EstimatorResult(arm, config.runtime.seed, seed, dict(measure(spec, model, test))))
                reader = reader or model  # the first arm is that of simulated images
            if run == Path(runs[0]) and arm in (*PER_IMAGE, REAL):
                assert reader is not None, "it was trained above"
                real = to_unit(first_images(opened("real"), COUNT).image)
                quality[arm] = summarize_quality(
                    spec, reader, data.images, real, sets.simulated if arm in PER_IMAGE else None
                )
    assert test is not None, "there is at least one run"
    source = getattr(configs[0].data, split)
    found = {arm: [outcome for outcome in outcomes if outcome.arm == arm] for arm in names}
    result = {
        "runs": [str(run) for run in runs],
        "weights": weights,
        "split": split,
        "test": {"name": source.name, "n": len(test), "sha256": test.sha256()},
        "preservation": landmark_preservation(spec, pairs),
        "constant": baseline,
        "primary": spec.primary,
        "arms": {arm: summarize_arm(spec, mine, None if arm == BASE else found[BASE]) for arm, mine in found.items()},
        "quality": quality,
        "warnings": noted,
    }
    for folder in runs:
        write_text(Path(folder) / FILES[split], json.dumps(result, indent=2) + "\n")
    return result


def _comparable(runs: Sequence[str | Path], configs: list[ResolvedConfig]) -> None:
    """Several runs must be one configuration fitted with different seeds, or their spread means nothing."""
    for i, (run, config) in enumerate(zip(runs, configs, strict=True)):
        different = [
            key
            for key in differences(configs[0], config)
            if key == "runtime.precision" or not key.startswith(("runtime.", "recipe"))
        ]
        if different:
            raise UserError(
                f"{run}: differs from {runs[0]} in {', '.join(different[:4])}; "
                "evaluate runs of one configuration together"
            )
        for before, other in zip(runs[:i], configs[:i], strict=True):
            if other.runtime.seed == config.runtime.seed:
                raise UserError(
                    f"{run}: has the runtime.seed of {before} ({config.runtime.seed}), so it is no second opinion; "
                    "fit it with another seed"
                )


def _task(configs: list[ResolvedConfig], catalog: Catalog, split: Split) -> tuple[EvaluatorSpec, Any]:
    for config in configs:
        if config.evaluation.evaluator is None:
            raise UserError("evaluation.evaluator is none in this run; fit one whose recipe names an evaluator")
        if getattr(config.data, split) is None:
            raise UserError(f"data.{split} is none in this run; set it to labelled real images when fitting")
    component = configs[0].evaluation.evaluator
    assert component is not None, "checked above"
    spec = catalog.evaluator(component.name)
    return spec, parse_options(component, spec.options, "evaluation.evaluator")


def _opened(
    config: ResolvedConfig, catalog: Catalog, run: Path, device: torch.device, noted: list[str], role: Any
) -> Source:
    """The data of a role; what could not be read is noted once."""
    source = open_data(config, catalog, role, device=device, run_dir=run)
    noted += [warning for warning in unreadable_warnings(role, source) if warning not in noted]
    return source


def _whole(opened: Source) -> Resident:
    """All images of a labelled real role."""
    assert not isinstance(opened, SimulatorSource), "resolve() sees to it"
    return first_images(opened, len(opened))
