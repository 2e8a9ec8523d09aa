"""Ablations: every combination of some settings fitted, refined with and judged alike, in one table.

``FOLDER/<combination>/seed-<n>`` are ordinary runs, ``FOLDER/<combination>.png`` what they draw, ``FOLDER/sheet.png``
the same images by all of them, ``FOLDER/ablation.json`` the table. Everything that is there already is not done again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from synthreal.config import ResolvedConfig
from synthreal.data.encoding import to_unit
from synthreal.device import resolve_device
from synthreal.errors import UserError
from synthreal.evaluation.cache import FOLDER
from synthreal.evaluation.evaluate import evaluate
from synthreal.evaluation.grid import Cell, cells
from synthreal.files import write_text
from synthreal.hooks.catalog import Catalog
from synthreal.inference.pretrained import weights_step
from synthreal.inference.transform import Refine
from synthreal.metrics.significance import rank_correlation
from synthreal.results.schema import BASE, Split
from synthreal.train.contact_sheet import save_sheet
from synthreal.train.fit import fit
from synthreal.train.log import Report, read_quality
from synthreal.train.run_dir import holds_run
from synthreal.train.sources import first_images, open_data

RESULT = "ablation.json"
SHEET = 8
LONGEST = 100

OnReport = Callable[[Report], None]


def ablate(
    config: ResolvedConfig,
    catalog: Catalog,
    over: Sequence[str],
    folder: str | Path,
    *,
    seeds: int = 1,
    split: Split = "validation",
    on_fit: Callable[[str, int, int], OnReport] = lambda name, done, total: lambda report: None,
    on_arm: Callable[[str, int, int], None] = lambda arm, done, total: None,
) -> dict[str, Any]:
    """Fit and evaluate every combination of settings with the same budget; the result is also written.

    Args:
        config: a resolved configuration.
        catalog: where its names are looked up.
        over: ``dotted.key=value,value,...``, see :func:`synthreal.evaluation.grid.cells`.
        folder: where the runs go; an interrupted ablation continues in it.
        seeds: runs of each combination, with ``runtime.seed`` and the following.
        split: "validation" to choose settings, or "test" for a claim about chosen ones.
        on_fit: told before each fit: combination, steps of the fits before it, steps of all; gives what its reports are
            told to.
        on_arm: told before each estimator, see :func:`synthreal.evaluation.evaluate.evaluate`.

    Raises:
        UserError: a setting or value that does not exist, told before anything is fitted; a folder that holds runs of
            another configuration; no evaluator or no labelled real images.
    """
    found, folder = cells(config, catalog, over), Path(folder)
    if holds_run(folder):
        raise UserError(f"{folder}: holds a run itself; give the ablation a folder of its own")
    for cell in found:
        judged = {
            "evaluation.evaluator": cell.config.evaluation.evaluator,
            f"data.{split}": getattr(cell.config.data, split),
        }
        if missing := [key for key, wanted in judged.items() if wanted is None]:
            raise UserError(f"{missing[0]} is none; an ablation is judged on it, set it")
    rows, done, total = [], 0, seeds * sum(cell.config.schedule.total for cell in found)
    for cell in found:
        runs = []
        for i in range(seeds):
            seed = cell.config.runtime.seed + i
            run = folder / slug(cell.name) / f"seed-{seed}"
            chosen = cell.config.changed({"runtime": {"seed": seed}})
            fit(chosen, catalog, run, resume=holds_run(run), on_report=on_fit(cell.name, done, total))
            done += chosen.schedule.total
            runs.append(run)
        result = evaluate(
            runs,
            arms=["refined"],
            split=split,
            device=config.runtime.device,
            estimators=folder / FOLDER,
            on_arm=on_arm,
        )
        kept = [quality_of(run) for run in runs]
        rows.append({"settings": dict(cell.values), "picture": f"{slug(cell.name)}.png", "looks": kept, **result})
    _draw(found, catalog, folder)
    summary = {
        "recipe": config.recipe,
        "over": list(over),
        "seeds": seeds,
        "split": split,
        "primary": rows[0]["primary"],
        "rule": agreement(rows),
        "rows": rows,
    }
    write_text(folder / RESULT, json.dumps(summary, indent=2) + "\n")
    return summary


def quality_of(run: Path) -> dict[str, Any] | None:
    """The look at the weights a run kept, with its step; None where there is none."""
    step = int(weights_step(run))
    look = read_quality(run).get(step)
    return None if look is None else {"step": step, **look}


def agreement(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Does the label-free score order the runs as their true gain does? Spearman's rank correlation over all runs.

    A run's gain is its error less that of simulated images with the same seed: seeds differ for reasons that no score
    can know. None where fewer than three runs were looked at.
    """
    pairs = []
    for row in rows:
        refined, simulated = (row["arms"][arm][row["primary"]]["seeds"] for arm in ("refined", BASE))
        pairs += [
            (look["score"], mine["value"] - base["value"])
            for look, mine, base in zip(row["looks"], refined, simulated, strict=True)
            if look
        ]
    return None if len(pairs) < 3 else {"spearman": rank_correlation(*zip(*pairs, strict=True)), "runs": len(pairs)}


def slug(name: str) -> str:
    """A combination as the name of a folder."""
    plain = re.sub(r"[^\w.=,+-]+", "_", name.replace(", ", ",")).strip("_")
    if plain == name.replace(", ", ",") and len(plain) <= LONGEST:
        return plain
    return f"{plain[:LONGEST]}-{sha256(name.encode()).hexdigest()[:8]}"


def _draw(found: Sequence[Cell], catalog: Catalog, folder: Path) -> None:
    """The same simulated images as each combination's first run refines them, together and apart."""
    first = found[0].config
    device = resolve_device(first.runtime.device)

    def images(role: Any) -> Tensor:
        opened = open_data(first, catalog, role, device=device, run_dir=folder)
        return to_unit(first_images(opened, SHEET).image)

    simulated, real, refined = images("simulated"), images("real"), {}
    for cell in found:
        run = folder / slug(cell.name) / f"seed-{cell.config.runtime.seed}"
        transform = Refine.load(run, device=str(device))
        transform.generator = torch.Generator(device).manual_seed(0)
        refined[cell.name] = transform(simulated)
        rows = [("simulated", simulated), ("refined", refined[cell.name]), ("real", real)]
        save_sheet(folder / f"{slug(cell.name)}.png", rows, colormap=first.image.colormap)
    rows = [("simulated", simulated), *refined.items(), ("real", real)]
    save_sheet(folder / "sheet.png", rows, colormap=first.image.colormap)
