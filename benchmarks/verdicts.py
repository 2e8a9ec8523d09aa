"""How often does the verdict without labels name the best training set, where the truth is known?

Usage: ``python benchmarks/verdicts.py --runs RUN... [--json FILE]``

Each RUN is a run directory that was evaluated on labelled real images (``validation.json`` or ``evaluation.json``), for
example those of ``benchmarks/weights.py``. The verdict sees the quality of each arm, not its error. A row says what it
names, what was best, and by how many per cent the error of the named arm exceeds that of the best one.
"""

from __future__ import annotations

import argparse
import math
import tomllib
from pathlib import Path
from statistics import mean

from record import Row, arguments, finish, rounded

from synthreal.evaluation import label_free_verdict, read_evaluations

CLOSE = 3.0  # per cent


def judge(run: Path) -> Row:
    """What the verdict names, and what that costs."""
    image = tomllib.loads((run / "config.toml").read_text(encoding="utf-8"))["image"]
    evaluation = read_evaluations(run)[-1]
    verdict = label_free_verdict(evaluation.quality, math.hypot(image["height"], image["width"]))
    assert verdict is not None and evaluation.arms, f"{run}: evaluate it with labelled real images and several arms"
    compared = evaluation.arms.keys() & evaluation.quality.keys()  # one fixed image for every simulated image
    errors = {arm: evaluation.arms[arm].metrics[evaluation.primary].mean for arm in sorted(compared - {"real"})}
    best = min(errors, key=errors.__getitem__)
    return {
        "name": run.name,
        "domain": run.name.partition("-")[0],
        "use": verdict.use,
        "named": verdict.arm,
        "best": best,
        "excess_percent": rounded(100 * (errors[verdict.arm] / errors[best] - 1)),
        "arms": [
            {"arm": arm, "error": rounded(error)}
            | ({"score": rounded(verdict.scores[arm])} if arm in verdict.scores else {})
            for arm, error in errors.items()
        ],
    }


def summarize(rows: list[Row]) -> list[Row]:
    """For each domain and for all: how often the named arm is the best or within 3 %, and the excess otherwise."""
    found = []
    for domain in (*dict.fromkeys(row["domain"] for row in rows), "all"):
        mine = [row["excess_percent"] for row in rows if domain in (row["domain"], "all")]
        far = [excess for excess in mine if excess > CLOSE]
        found.append(
            {
                "name": domain,
                "runs": len(mine),
                "right": len(mine) - len(far),
                "mean_excess_percent_otherwise": rounded(mean(far)) if far else 0.0,
            }
        )
    return found


def main() -> None:
    """Judge the runs, print and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", nargs="+", type=Path, required=True)
    given, remaining = parser.parse_known_args()
    options = arguments(__doc__, ["--device", "cpu", *remaining])
    rows = [judge(run) for run in given.runs]
    finish(options, {"fp32": None, "bf16": None}, rows + summarize(rows))


if __name__ == "__main__":
    main()
