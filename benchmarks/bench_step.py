"""How fast is a training step? R update, D update and the whole step of the paper's gaze recipe, against the reference.

Usage: ``python benchmarks/bench_step.py [--quick] [--device auto] [--threads 1] [--repeats 5] [--json FILE]``

The reference and the library, in float32 and where the machine has it in bfloat16, take one whole step by turns, each
in a process of its own; a ratio is of neighbouring turns, and the median is given. ``step`` is the batches, K_g = 2
updates of R and one of D; its images are the simulated ones. ``reference_check`` is how fast the reference's refiner
is beside a bare ``nn.Sequential`` of its layers at batch 32: at least 0.9, or the reference is badly written.
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
from side import Side, warm_up

PARTS = {"refiner_update": 2, "discriminator_update": 1}
ENOUGH = 0.9


def compare(asked: argparse.Namespace, size: dict[str, Any], prefix: str = "") -> list[Row]:
    """The rows of one size."""
    with ExitStack() as stack:
        plain = stack.enter_context(Side("plain", size))
        ours = {name: stack.enter_context(Side("ours", {**size, "precision": name})) for name in precisions(asked)}
        sides = {"plain": plain, **ours}
        gflop = next(iter(ours.values()))("gflop")
        for side in sides.values():
            warm_up(side, asked.device, size["batch"])
        turns = [{name: side("step") for name, side in sides.items()} for _ in range(asked.repeats)]
        peaks = {name: round(side("peak")) for name, side in sides.items()}
    rows = []
    for precision in ours:
        for part in (*PARTS, "step"):
            counts = PARTS if part == "step" else {part: 1}
            row = timed_row(
                prefix + part,
                asked=asked,
                batch=size["batch"],
                precision=precision,
                images=size["batch"] * sum(counts.values()),
                gflop=size["batch"] * sum(count * gflop[one] for one, count in counts.items()),
                turns=[_of(turn[precision], part) for turn in turns],
                against=[_of(turn["plain"], part) for turn in turns],
            )
            rows.append({**row, "peak_memory_mb": peaks[precision], "reference_peak_memory_mb": peaks["plain"]})
    return rows


def _of(turn: dict[str, Spent], part: str) -> Spent:
    if part != "step":
        return turn[part]
    return {
        clock: turn["data"][clock] + sum(count * turn[one][clock] for one, count in PARTS.items())
        for clock in ("wall", "cpu")
    }


def main() -> None:
    """Measure, print and write."""
    asked = arguments(__doc__)
    device = torch.device(asked.device)
    limit, rows = limit_gflops(device), []
    with tempfile.TemporaryDirectory() as folder:
        pack = pack_of(folder, GAZE, images=2048)
        common = {**GAZE, **pack, "device": asked.device, "threads": asked.threads, "precision": "fp32"}
        with Side("plain", {**common, "batch": 32, "history": 32}) as plain:
            check = float(f"{plain('bare', repeats=5):.3g}")
        for batch in batches(asked):
            rows += compare(asked, {**common, "batch": batch})
    finish(asked, higher(limit, limit_gflops(device)), rows, reference_check=check)
    if check < ENOUGH:
        raise SystemExit(f"the reference's refiner runs at {check} of a bare nn.Sequential; it should at {ENOUGH}")


if __name__ == "__main__":
    main()
