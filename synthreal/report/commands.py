"""The commands that repeat a run."""

from __future__ import annotations

import shlex

from synthreal.inference.pretrained import CONFIG
from synthreal.report.record import Record
from synthreal.results.schema import BASE, Evaluation, Seed


def repeat_commands(record: Record) -> list[str]:
    """Commands that fit the refiners again, evaluate them in the same way and write the page.

    Empty for a run whose configuration names no plugin and recipe: it was not made by the command line.
    """
    config, seed = record.config, record.config.runtime.seed
    if not config.plugins or not config.recipe:
        return []
    refiner_seeds = {seed, *(entry.refiner_seed for found in record.evaluations for entry in _seeds(found))}
    again = f"{record.run}-again"
    runs = {other: again if other == seed else f"{again}-{other}" for other in sorted(refiner_seeds)}
    plugins = [word for name in config.plugins for word in ("--plugin", name)]
    fit = ["fit", *plugins, "--recipe", config.recipe, "--config", str(record.run / CONFIG)]
    commands = [
        [*fit, "--run", run, *([] if other == seed else ["--set", f"runtime.seed={other}"])]
        for other, run in runs.items()
    ]
    for evaluation in record.evaluations:
        per_run = len({entry.estimator_seed for entry in _seeds(evaluation)}) // len(runs)
        seeds = ["--seeds", str(per_run)] if per_run > 1 else []
        split = [] if evaluation.split == "test" else ["--split", evaluation.split]
        commands.append(["evaluate", *runs.values(), "--arms", ",".join(evaluation.arms), *seeds, *split])
    commands.append(["report", runs[seed]])
    return [shlex.join(["synthreal", *words]) for words in commands]


def _seeds(evaluation: Evaluation) -> tuple[Seed, ...]:
    return evaluation.arms[BASE].metrics[evaluation.primary].seeds
