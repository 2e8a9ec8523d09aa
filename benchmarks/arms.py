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

from record import Row, arguments, finish, rounded

from synthreal.evaluation import compare_arms, read_evaluations

ARM = "versions"


def compare(runs: list[Path]) -> list[Row]:
    """A row for each arm: its error in each run, and the difference of ``versions`` to it."""
    evaluation, compared = read_evaluations(runs[0])[-1], compare_arms(runs, ARM)
    rows: list[Row] = []
    for name, arm in evaluation.arms.items():
        values = [seed.value for seed in arm.metrics[evaluation.primary].seeds]
        row = {"name": name, "metric": evaluation.primary, "mean": rounded(mean(values)), "std": rounded(stdev(values))}
        row["runs"] = [rounded(value) for value in values]
        if name != ARM:
            low, high = compared[name].interval
            row |= {
                "versions_minus_arm": rounded(compared[name].difference),
                "low": rounded(low),
                "high": rounded(high),
            }
        rows.append(row)
    return rows


def main() -> None:
    """Compare, print and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", nargs="+", type=Path, required=True)
    given, remaining = parser.parse_known_args()
    options = arguments(__doc__, ["--device", "cpu", *remaining])
    finish(options, {"fp32": None, "bf16": None}, compare(given.runs))


if __name__ == "__main__":
    main()
