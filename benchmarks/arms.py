"""Is the arm ``versions`` better than every other training set? Paired differences with their 95 % intervals.

Usage: ``python benchmarks/arms.py --runs RUN... [--json FILE]``

The RUNs are those that ``synthreal evaluate RUN...`` compared, which gives intervals against simulated images only. The
arms are those in evaluation.json, and the trained estimators come from its cache, so nothing is trained. A row says by
how much the error of ``versions`` differs from that of an arm; intervals are a bootstrap over runs and test images.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import mean, stdev

import torch
from record import Row, arguments, finish, rounded

from synthreal.device import configure_process
from synthreal.evaluation import read_evaluations
from synthreal.evaluation.cache import FOLDER, train_or_load
from synthreal.evaluation.estimator import measure
from synthreal.evaluation.runs import open_runs, open_test_images
from synthreal.evaluation.training_sets import VERSIONS, TrainingSets
from synthreal.metrics.significance import compare_errors


def compare(folders: list[Path]) -> list[Row]:
    """One row for each arm of the evaluation of the runs."""
    device = torch.device("cpu")
    runs, (evaluation, *_) = open_runs(folders, device, False), read_evaluations(folders[0])
    configure_process(runs[0].config.runtime)
    test = open_test_images(runs, "test")
    errors: dict[str, list[torch.Tensor]] = {arm: [] for arm in evaluation.arms}
    for run in runs:
        assert run.task is not None and test is not None, f"{run.folder}: evaluate it with labelled test images"
        sets = TrainingSets(run.folder, run.config, run.open_data, device, count=run.config.evaluation.images)
        for arm, found in errors.items():
            model = train_or_load(run.folder / FOLDER, arm, run.task, sets[arm], seed=run.config.runtime.seed)
            values = measure(run.task.spec, model, test)[evaluation.primary]
            found.append(values.reshape(len(values), -1).mean(1))
    seeds = [run.config.runtime.seed for run in runs]
    return [row(arm, evaluation.primary, errors[VERSIONS], found, seeds) for arm, found in errors.items()]


def row(arm: str, metric: str, versions: list[torch.Tensor], other: list[torch.Tensor], seeds: list[int]) -> Row:
    """The error of an arm in each run, and the difference of ``versions`` to it."""
    values = [float(each.mean()) for each in other]
    against = compare_errors(torch.stack(versions), torch.stack(other), runs=seeds)
    return {
        "name": arm,
        "metric": metric,
        "mean": rounded(mean(values)),
        "std": rounded(stdev(values)),
        "runs": [rounded(value) for value in values],
        "versions_minus_arm": rounded(against.difference),
        "low": rounded(against.interval[0]),
        "high": rounded(against.interval[1]),
    }


def main() -> None:
    """Compare, print and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", nargs="+", type=Path, required=True)
    given, remaining = parser.parse_known_args()
    options = arguments(__doc__, ["--device", "cpu", *remaining])
    finish(options, {"fp32": None, "bf16": None}, compare(given.runs))


if __name__ == "__main__":
    main()
