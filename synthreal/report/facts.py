"""The facts that the page states in text: the summary, the data sets, the warnings, the commands."""

from __future__ import annotations

import shlex
from pathlib import Path
from statistics import median

from synthreal.config import ResolvedConfig, SourceConfig
from synthreal.data.pack import Pack
from synthreal.data.pictures import PICTURES
from synthreal.errors import UserError
from synthreal.hooks.discovery import trust_option
from synthreal.inference.pretrained import CONFIG
from synthreal.report.record import Record
from synthreal.results.schema import BASE, Evaluation, Seed
from synthreal.results.tables import comparison_cells, mean_text
from synthreal.spec import ROLES
from synthreal.train.log import warning_kind
from synthreal.train.sources import CACHE


def summary(record: Record) -> list[tuple[str, str, str]]:
    """Title, value and remark of each number at the top of the page."""
    last, total = record.log[-1]["step"], record.config.schedule.total
    _, speed = record.series("images_per_second")
    rows = [("steps", f"{last:,} of {total:,}", f"{median(speed):,.0f} images/s" if speed else "")]
    for evaluation in record.evaluations[:1]:
        if (refined := evaluation.arms.get("refined")) is not None:
            base, primary = evaluation.arms[BASE], evaluation.primary
            change, p = comparison_cells(refined, base, primary)
            means = " → ".join(mean_text(arm.metrics[primary]) for arm in (base, refined))
            rows.append(("refined against simulated", change, f"{primary} {means}, p {p}"))
        if (shift := evaluation.preservation) is not None:
            moved = f"{mean_text(shift.shift_px)} px"
            rows.append(("landmark shift", moved, f"over {shift.n:,} images"))
    return rows


def data_rows(record: Record) -> list[tuple[str, ...]]:
    """Role, name, number of images and options of each data set."""
    rows: list[tuple[str, ...]] = []
    for role, source in ((role, getattr(record.config.data, role)) for role in ROLES):
        if source is not None:
            options = (f"{key} = {'none' if value is None else value}" for key, value in source.options.items())
            rows.append((role, source.name, _image_count(record.run, role, source), ", ".join(options)))
    return rows


def warnings(record: Record) -> list[tuple[str, str]]:
    """Warnings of the run, its evaluations and the page with their origin, merged if they differ only in numbers."""
    latest: dict[str, str] = {}
    steps: dict[str, list[int]] = {}
    for step, text in ((line["step"], text) for line in record.log for text in line.get("warnings", ())):
        key = warning_kind(text)
        latest[key] = text
        steps.setdefault(key, []).append(step)
    origins = (
        f"{len(at)} times, steps {at[0]:,} to {at[-1]:,}" if len(at) > 1 else f"step {at[0]:,}" for at in steps.values()
    )
    return [
        *zip(latest.values(), origins, strict=True),
        *((text, f"{found.split} evaluation") for found in record.evaluations for text in found.warnings),
        *((text, "this page") for text in record.notes),
    ]


def repeat_commands(record: Record) -> list[str]:
    """Commands that fit, evaluate and report again; none for a run without a plugin's recipe or two folders."""
    config, seed = record.config, record.config.runtime.seed
    if not (domain := _domain_options(config)):
        return []
    refiner_seeds = {seed, *(entry.refiner_seed for found in record.evaluations for entry in _seeds(found))}
    again = f"{record.run}-again"
    runs = {other: again if other == seed else f"{again}-{other}" for other in sorted(refiner_seeds)}
    trust = trust_option(config.plugins)
    fit = ["fit", *domain, "--config", str(record.run / CONFIG)]
    set_seed = {other: [] if other == seed else ["--set", f"runtime.seed={other}"] for other in runs}
    commands = [[*fit, "--run", run, *set_seed[other]] for other, run in runs.items()]
    for evaluation in record.evaluations:
        own = [runs[other] for other in sorted({entry.refiner_seed for entry in _seeds(evaluation)} or {seed})]
        per_run = len({entry.estimator_seed for entry in _seeds(evaluation)}) // len(own)
        seeds = ["--seeds", str(per_run)] if per_run > 1 else []
        split = [] if evaluation.split == "test" else ["--split", evaluation.split]
        arms = ",".join(evaluation.arms or evaluation.quality)
        commands.append(["evaluate", *own, "--arms", arms, *seeds, *split, *trust])
    commands.append(["report", runs[seed], *trust])
    return [shlex.join(["synthreal", *words]) for words in commands]


def _domain_options(config: ResolvedConfig) -> list[str]:
    """The options of fit that name the domain of a run."""
    simulated, real = config.data.simulated, config.data.real
    if config.plugins and config.recipe:
        return [word for name in config.plugins for word in ("--plugin", name)] + ["--recipe", config.recipe]
    if config.recipe == PICTURES == simulated.name == real.name:
        folders = ["--simulated", str(simulated.options["root"]), "--real", str(real.options["root"])]
        return folders + _label_options(config)
    return []


def _label_options(config: ResolvedConfig) -> list[str]:
    """The options of fit that name the labels of a run of two folders."""
    test, labels = config.data.test, config.data.simulated.options.get("labels")
    if test is None or test.name != PICTURES or labels is None:
        return []
    file = [] if labels["file"] is None else ["--labels", str(labels["file"])]
    names = ["--label", ",".join(labels["columns"])] if labels["columns"] else []
    return ["--test", str(test.options["root"]), *file, *names]


def _seeds(evaluation: Evaluation) -> tuple[Seed, ...]:
    return evaluation.arms[BASE].metrics[evaluation.primary].seeds if evaluation.arms else ()


def _image_count(run: Path, role: str, source: SourceConfig) -> str:
    """The number of images and of unreadable files if there is a pack to count in, else the configured number."""
    path = Path(str(source.options.get("path"))) if source.name == "pack" else run / CACHE / f"{role}.h5"
    try:
        if path.is_file():
            with Pack(path) as pack:
                count = len(pack) if source.count is None else min(len(pack), source.count)
                skipped = f", {len(pack.skipped):,} unreadable skipped" if pack.skipped else ""
                return f"{count:,}{skipped}"
    except UserError:
        pass  # the pack was damaged after the run
    return "all, or endless" if source.count is None else f"{source.count:,}"
