"""Does ``loss.weight=auto`` end at the same lambda and error wherever it starts, and what do fixed lambdas give?

Usage: ``python benchmarks/weights.py --runs FOLDER [--domains dials gaze] [--json FILE]``

Fits the dials of ``examples/02_new_domain.py`` and ``gaze``, with fewer steps than their recipes, for four values of
lambda and two seeds: fixed, and as the start of ``loss.weight=auto``. Each run is a folder
``FOLDER/{domain}-{kind}-{start}-{seed}``, evaluated on its own on the validation split. The weights of the last step
are kept, because they belong to the last lambda. A stopped benchmark continues; what is complete is not run again.
"""

from __future__ import annotations

import argparse
import json
from itertools import product
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

from record import Row, arguments, finish, rounded

import synthreal

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "02_new_domain.py"
KINDS, STARTS, SEEDS = ("fixed", "auto"), (0.5, 2, 8, 32), (0, 1)
ARMS = ("simulated", "refined", "fda", "histogram")


class Domain(NamedTuple):
    """A plugin, and its recipe with fewer steps."""

    plugin: str
    settings: dict[str, Any]


def _schedule(refiner: int, discriminator: int, steps: int) -> dict[str, Any]:
    schedule = {"refiner_steps": refiner, "discriminator_steps": discriminator, "steps": steps, "report_every": 10}
    return {"schedule": schedule | dict.fromkeys(("save_every", "sheet_every"), refiner + discriminator + steps)}


DOMAINS = {
    "dials": Domain(str(EXAMPLE), _schedule(50, 20, 200)),
    "gaze": Domain("gaze", _schedule(50, 20, 200) | {"evaluation": {"images": 3000, "epochs": 5}}),
}


def measure(folder: Path, domain: str, kind: str, start: float, seed: int) -> Row:
    """Fit and evaluate a run unless that is done, and read its row."""
    run, (plugin, settings) = folder / f"{domain}-{kind}-{start:g}-{seed}", DOMAINS[domain]
    if not (run / "validation.json").is_file():
        catalog = synthreal.Catalog.of([plugin])
        loss = {"weight": start} if kind == "fixed" else {"weight": "auto", "initial_weight": start}
        every = {"every": settings["schedule"]["steps"], "keep": "last"}
        changes = {"loss": loss, "quality": every, "runtime": {"seed": seed, "device": "cpu", "threads": 1}}
        config = synthreal.configure(catalog, settings, changes)
        synthreal.fit(config, catalog, run, resume=(run / "config.toml").is_file())
        estimators = folder / f"estimators-{domain}"
        synthreal.evaluate([run], split="validation", arms=ARMS, device="cpu", estimators=estimators, trust=True)
    found = json.loads((run / "validation.json").read_text(encoding="utf-8"))
    errors = {f"error_{arm}": rounded(found["arms"][arm][found["primary"]]["mean"]) for arm in ARMS}
    quality = [{"arm": arm, **measures} for arm, measures in found["quality"].items()]
    about = {"name": domain, "kind": kind, "start": start, "seed": seed}
    return {**about, **_drift(found), **_lambda(run, start), **errors, "quality": quality}


def _drift(found: dict[str, Any]) -> Row:
    """The shifts of landmarks and content in an evaluation; None where they are not measured."""
    landmarks, moved = found["preservation"], found["displacement"]
    values = {
        "shift_px": landmarks.get("shift_px", {}).get("mean"),
        "detector_error_px": landmarks.get("detector_error_px"),
        "displacement_px": moved["mean_px"],
        "displacement_p95_px": moved["p95_px"],
        "unmatched": moved["unmatched"],
    }
    return {name: None if value is None else rounded(value) for name, value in values.items()}


def _lambda(run: Path, start: float) -> Row:
    """The last lambda, and with ``auto`` the steps of the log with lambda and displacement."""
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    path = [[line["step"], line["loss_weight"], line.get("drift_px")] for line in lines if "loss_weight" in line]
    return {"lambda": rounded(path[-1][1]) if path else float(start), "path": path}


def summarize(rows: list[Row]) -> list[Row]:
    """For each domain and kind: how far the mean errors of the starts, the seeds and the last lambdas lie apart."""
    found = []
    for domain, kind in product(DOMAINS, KINDS):
        mine = [row for row in rows if (row["name"], row["kind"]) == (domain, kind)]
        if not mine:
            continue
        errors = [[row["error_refined"] for row in mine if row["start"] == start] for start in STARTS]
        means = [mean(values) for values in errors]
        ends = [row["lambda"] for row in mine]
        found.append(
            {
                "name": f"{domain}, {kind}",
                "error": rounded(mean(means)),
                "best_start": rounded(min(means)),
                "worst_start": rounded(max(means)),
                "seeds_apart": rounded(mean(max(values) - min(values) for values in errors)),
                "least_lambda": min(ends),
                "largest_lambda": max(ends),
            }
        )
    return found


def main() -> None:
    """Run the benchmark, print and write its rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--domains", nargs="+", choices=DOMAINS, default=list(DOMAINS))
    given, remaining = parser.parse_known_args()
    options = arguments(__doc__, ["--device", "cpu", *remaining])
    rows = []
    for domain, seed, kind, start in product(given.domains, SEEDS, KINDS, STARTS):
        rows.append(measure(given.runs, domain, kind, start, seed))
        print(f"{domain}-{kind}-{start:g}-{seed}: error {rows[-1]['error_refined']}", flush=True)
    finish(options, {"fp32": None, "bf16": None}, rows + summarize(rows))


if __name__ == "__main__":
    main()
