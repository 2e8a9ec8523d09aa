"""Ablations: every combination of some settings is fitted, evaluated and compared in one table.

``FOLDER/<combination>/seed-<n>`` are ordinary runs, ``FOLDER/<combination>.png`` their contact sheets,
``FOLDER/sheet.png`` the same images refined by every combination, ``FOLDER/ablation.json`` the table. Existing runs and
estimators are reused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from synthreal.config import ResolvedConfig
from synthreal.data.encoding import to_unit
from synthreal.device import resolve_device, seeded_generator
from synthreal.errors import UserError
from synthreal.evaluation.cache import FOLDER
from synthreal.evaluation.evaluate import evaluate
from synthreal.evaluation.grid import Cell, cells
from synthreal.files import refuse_link, write_text
from synthreal.hooks.catalog import Catalog
from synthreal.inference.pretrained import weights_step
from synthreal.inference.transform import Refine
from synthreal.metrics.significance import rank_correlation
from synthreal.results.schema import BASE, Ablation, Agreement, Combination, Split
from synthreal.spec import Role
from synthreal.train.contact_sheet import save_sheet
from synthreal.train.fit import fit
from synthreal.train.log import Report, read_log
from synthreal.train.run_dir import holds_run
from synthreal.train.sources import first_images, open_data

RESULT = "ablation.json"
SHEET_IMAGES = 8
LONGEST_NAME = 100


def ablate(
    config: ResolvedConfig,
    catalog: Catalog,
    over: Sequence[str],
    folder: str | Path,
    *,
    seeds: int = 1,
    split: Split = "validation",
    on_fit: Callable[[str, int, int], Callable[[Report], None]] = lambda name, done, total: lambda report: None,
    on_arm: Callable[[str, int, int], None] = lambda arm, done, total: None,
) -> Ablation:
    """Fit and evaluate every combination of settings with the same budget; write the result into ``folder``.

    Args:
        config: a resolved configuration.
        catalog: the components it names.
        over: ``dotted.key=value,value,...``, see :func:`synthreal.evaluation.grid.cells`.
        folder: where the runs go; an interrupted ablation continues there.
        seeds: runs of each combination, with ``runtime.seed`` and the following seeds.
        split: "validation" to choose settings, or "test" for a claim about chosen ones.
        on_fit: called before each fit with the combination, the steps of all fits before it and of all fits; returns a
            function that receives the reports of the fit.
        on_arm: called before each estimator, see :func:`synthreal.evaluation.evaluate.evaluate`.

    Raises:
        UserError: before any fit, an unknown setting or value, or no evaluator or labelled real images; a folder that
            holds runs of another configuration.
    """
    combinations, folder = cells(config, catalog, over), Path(folder)
    if holds_run(folder):
        raise UserError(f"{folder}: holds a run itself; give the ablation a folder of its own")
    for cell in combinations:
        source, evaluator = getattr(cell.config.data, split), cell.config.evaluation.evaluator
        if source is None or evaluator is None:
            missing = "evaluation.evaluator" if evaluator is None else f"data.{split}"
            raise UserError(f"{missing} is none; an ablation is judged on it, set it")
    rows, done, total = [], 0, seeds * sum(cell.config.schedule.total for cell in combinations)
    for cell in combinations:
        runs = []
        for seed in range(cell.config.runtime.seed, cell.config.runtime.seed + seeds):
            run = folder / slug(cell.name) / f"seed-{seed}"
            refuse_link(run.parent)
            refuse_link(run)
            seeded = cell.config.changed({"runtime": {"seed": seed}})
            fit(seeded, catalog, run, resume=holds_run(run), on_report=on_fit(cell.name, done, total))
            done += seeded.schedule.total
            runs.append(run)
        evaluation = evaluate(
            runs, arms=["refined"], split=split, device=config.runtime.device, estimators=folder / FOLDER, on_arm=on_arm
        )
        reports, picture = tuple(map(_saved_quality, runs)), f"{slug(cell.name)}.png"
        rows.append(Combination(settings=dict(cell.values), picture=picture, reports=reports, evaluation=evaluation))
    _save_sheets(combinations, catalog, folder)
    primary, rule = rows[0].evaluation.primary, agreement(rows)
    result = Ablation(
        recipe=config.recipe, over=tuple(over), seeds=seeds, split=split, primary=primary, rule=rule, rows=tuple(rows)
    )
    write_text(folder / RESULT, json.dumps(result.to_json(), indent=2) + "\n")
    return result


def agreement(rows: Sequence[Combination]) -> Agreement | None:
    """Rank correlation between the label-free score and the gain; None for fewer than three runs with a quality report.

    The gain of a run is its error minus that of simulated images with the same seed, because seeds also differ in ways
    that no score can measure.
    """
    scores, gains = [], []
    for row in rows:
        arms, primary = row.evaluation.arms, row.evaluation.primary
        refined, simulated = (arms[arm].metrics[primary].seeds for arm in ("refined", BASE))
        for report, mine, base in zip(row.reports, refined, simulated, strict=True):
            if report:
                scores.append(report["score"])
                gains.append(mine.value - base.value)
    return None if len(scores) < 3 else Agreement(spearman=rank_correlation(scores, gains), runs=len(scores))


def _saved_quality(run: Path) -> dict[str, Any] | None:
    """The quality report of the weights that a run saved, with its step; None without one."""
    step, (log, _) = weights_step(run), read_log(run)
    found = {line["step"]: line["quality"] for line in log if line.get("quality")}.get(step)
    return None if found is None else {"step": step, **found}


def slug(name: str) -> str:
    """The name of a combination as a folder name."""
    short = name.replace(", ", ",")
    plain = re.sub(r"[^\w.=,+-]+", "_", short).strip("_")[:LONGEST_NAME]
    return plain if plain == short else f"{plain}-{sha256(name.encode()).hexdigest()[:8]}"


def _save_sheets(combinations: Sequence[Cell], catalog: Catalog, folder: Path) -> None:
    """Refine the same simulated images with the first run of each combination: a sheet for each, and one for all."""
    first = combinations[0].config
    device = resolve_device(first.runtime.device)
    roles: tuple[Role, ...] = ("simulated", "real")
    sources = (open_data(first, catalog, role, device=device, run_dir=folder) for role in roles)
    simulated, real = (to_unit(first_images(source, SHEET_IMAGES).image) for source in sources)
    refined = {}
    for cell in combinations:
        run = folder / slug(cell.name) / f"seed-{cell.config.runtime.seed}"
        transform = Refine.load(run, device=str(device))
        transform.generator = seeded_generator(0, device)
        refined[cell.name] = transform(simulated)
        rows = [("simulated", simulated), ("refined", refined[cell.name]), ("real", real)]
        save_sheet(folder / f"{slug(cell.name)}.png", rows, colormap=first.image.colormap)
    rows = [("simulated", simulated), *refined.items(), ("real", real)]
    save_sheet(folder / "sheet.png", rows, colormap=first.image.colormap)
