"""The commands that make the run again, as the command line takes them."""

from __future__ import annotations

import shlex

from synthreal.inference.pretrained import CONFIG
from synthreal.report.record import Record
from synthreal.results.schema import BASE


def reproduction(record: Record) -> list[str]:
    """Fit (once a refiner that was judged), evaluate as it was evaluated, report.

    Empty for a run whose configuration names no plugin and recipe: a program made it, not the command line.
    """
    config, again = record.config, f"{record.run}-again"
    if not config.plugins or not config.recipe:
        return []
    plugins = [word for name in config.plugins for word in ("--plugin", name)]
    fit = ["fit", *plugins, "--recipe", config.recipe, "--config", str(record.run / CONFIG)]
    runs = _runs(record, again)
    commands = [
        [*fit, "--run", run, *([] if seed == config.runtime.seed else ["--set", f"runtime.seed={seed}"])]
        for seed, run in runs.items()
    ]
    for evaluation in record.evaluations:
        seeds = {entry.estimator_seed for entry in evaluation.arms[BASE].metrics[evaluation.primary].seeds}
        each = max(1, len(seeds) // len(runs))
        split = [] if evaluation.split == "test" else ["--split", evaluation.split]
        several = [] if each == 1 else ["--seeds", str(each)]
        commands.append(["evaluate", *runs.values(), "--arms", ",".join(evaluation.arms), *several, *split])
    commands.append(["report", runs[config.runtime.seed]])
    return [shlex.join(["synthreal", *words]) for words in commands]


def judging(record: Record) -> str:
    """The command that judges the run, together with those it was judged with."""
    together = record.evaluations[0].runs if record.evaluations else (str(record.run),)
    return shlex.join(["synthreal", "evaluate", *together])


def _runs(record: Record, again: str) -> dict[int, str]:
    """Seed of a refiner -> the folder it is fitted into again: this run's, and of those judged with it."""
    mine = record.config.runtime.seed
    seeds = {
        entry.refiner_seed
        for evaluation in record.evaluations
        for entry in evaluation.arms[BASE].metrics[evaluation.primary].seeds
    }
    return {seed: again if seed == mine else f"{again}-{seed}" for seed in sorted({mine, *seeds})}
