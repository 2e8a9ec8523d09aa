"""Speed of a training step of the paper's gaze recipe against the reference: update of R, update of D, whole step.

Usage: ``python benchmarks/bench_step.py [--quick] [--device auto] [--threads 1] [--repeats 5] [--json FILE]``

The reference and the library (in float32 and, where the machine computes it natively, in bfloat16) alternate steps,
each in its own process. A ratio compares neighbouring turns; the median is reported. ``step`` consists of the batches,
K_g = 2 updates of R and one of D; its images are the simulated ones. ``reference_check`` is the speed of the
reference's refiner relative to a bare ``nn.Sequential`` of its layers at batch size 32. Below 0.9, the reference is
badly written.
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import ExitStack
from typing import Any

import torch
from clock import Spent
from limit import higher, limit_gflops
from packs import GAZE, pack_of
from record import Row, arguments, batches, finish, precisions, timed_row
from worker import Worker, warm_up

PARTS = {"refiner_update": 2, "discriminator_update": 1}
ENOUGH = 0.9


def compare(options: argparse.Namespace, size: dict[str, Any], prefix: str = "") -> list[Row]:
    """The rows of one size."""
    with ExitStack() as stack:
        reference = stack.enter_context(Worker("baseline", size))
        library = {
            name: stack.enter_context(Worker("library", {**size, "precision": name})) for name in precisions(options)
        }
        workers = {"reference": reference, **library}
        gflop = next(iter(library.values()))("gflop")
        for worker in workers.values():
            warm_up(worker, options.device, size["batch"])
        turns = [{name: worker("step") for name, worker in workers.items()} for _ in range(options.repeats)]
        peaks = {name: round(worker("peak")) for name, worker in workers.items()}
    rows = []
    for precision in library:
        for part in (*PARTS, "step"):
            counts = PARTS if part == "step" else {part: 1}
            row = timed_row(
                prefix + part,
                options=options,
                batch=size["batch"],
                precision=precision,
                images=size["batch"] * sum(counts.values()),
                gflop=size["batch"] * sum(count * gflop[one] for one, count in counts.items()),
                turns=[_of(turn[precision], part) for turn in turns],
                against=[_of(turn["reference"], part) for turn in turns],
            )
            rows.append({**row, "peak_memory_mb": peaks[precision], "reference_peak_memory_mb": peaks["reference"]})
    return rows


def _of(turn: dict[str, Spent], part: str) -> Spent:
    if part != "step":
        return turn[part]
    return {
        clock: turn["data"][clock] + sum(count * turn[one][clock] for one, count in PARTS.items())
        for clock in ("wall", "cpu")
    }


def main() -> None:
    """Run the benchmark, print and write its rows."""
    options = arguments(__doc__)
    device = torch.device(options.device)
    limit, rows = limit_gflops(device), []
    with tempfile.TemporaryDirectory() as folder:
        pack = pack_of(folder, GAZE, images=2048)
        common = {**GAZE, **pack, "device": options.device, "threads": options.threads, "precision": "fp32"}
        with Worker("baseline", {**common, "batch": 32, "history": 32}) as reference:
            check = float(f"{reference('bare', repeats=5):.3g}")
        for batch in batches(options):
            rows += compare(options, {**common, "batch": batch})
    finish(options, higher(limit, limit_gflops(device)), rows, reference_check=check)
    if check < ENOUGH:
        raise SystemExit(f"the reference's refiner runs at {check} of a bare nn.Sequential; it should reach {ENOUGH}")


if __name__ == "__main__":
    main()
