"""The comparison of one arm with every other one, on the same test images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from synthreal.device import configure_process
from synthreal.errors import UserError
from synthreal.evaluation.cache import FOLDER, train_or_load
from synthreal.evaluation.estimator import measure
from synthreal.evaluation.runs import open_runs, open_test_images
from synthreal.evaluation.training_sets import TrainingSets
from synthreal.metrics.significance import compare_errors
from synthreal.results.schema import Against, read_evaluations


def compare_arms(runs: Sequence[str | Path], arm: str) -> dict[str, Against]:
    """The difference of the error of ``arm`` to that of each arm that ``evaluate(runs)`` compared, with its interval.

    ``evaluate`` compares with simulated images only. Estimators come from its cache; missing ones are trained. The
    interval is that of :func:`~synthreal.metrics.significance.compare_errors`. It computes on the CPU.

    Args:
        runs: run directories that were evaluated together on the test split, with one estimator each.
        arm: name of an arm.

    Raises:
        UserError: a folder without a run or evaluation, or an arm that was not evaluated.
    """
    folders, device = [Path(run) for run in runs], torch.device("cpu")
    opened = open_runs(folders, device, False)
    configure_process(opened[0].config.runtime)
    test = open_test_images(opened, "test")
    evaluation = next((found for found in read_evaluations(folders[0]) if found.split == "test"), None)
    if test is None or evaluation is None or arm not in evaluation.arms:
        raise UserError(f"{folders[0]}: has no test errors of the arm {arm!r}; evaluate the runs with it")
    errors: dict[str, list[Tensor]] = {name: [] for name in evaluation.arms}
    for run in opened:
        assert run.task is not None, "test images are opened for a task"
        sets = TrainingSets(run.folder, run.config, run.open_data, device, count=run.config.evaluation.images)
        for name, found in errors.items():
            model = train_or_load(run.folder / FOLDER, name, run.task, sets[name], seed=run.config.runtime.seed)
            values = measure(run.task.spec, model, test)[evaluation.primary]
            found.append(values.reshape(len(values), -1).mean(1))
    seeds = [run.config.runtime.seed for run in opened]
    mine = torch.stack(errors[arm])
    return {name: compare_errors(mine, torch.stack(found), runs=seeds) for name, found in errors.items() if name != arm}
