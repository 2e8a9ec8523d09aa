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
from limit import Limit, higher, limit_gflops
from packs import GAZE, pack_of
from record import Row, arguments, batches, finish, middle, precisions, share, spread
from side import Side

WARM = 32
PARTS = {"refiner_update": 2, "discriminator_update": 1}
ENOUGH = 0.9


def compare(asked: argparse.Namespace, size: dict[str, Any], limit: Limit, prefix: str = "") -> list[Row]:
    """The rows of one size."""
    with ExitStack() as stack:
        plain = stack.enter_context(Side("plain", size))
        ours = {name: stack.enter_context(Side("ours", {**size, "precision": name})) for name in precisions(asked)}
        gflop = next(iter(ours.values()))("gflop")
        for side in (plain, *ours.values()):
            side("warm", count=min(WARM, size["batch"]))
            if asked.device != "cpu":  # compiled for this very size
                side("step")
        turns = [{name: side("step") for name, side in {"plain": plain, **ours}.items()} for _ in range(asked.repeats)]
        peaks = {name: side("peak") for name, side in {"plain": plain, **ours}.items()}
    rows = []
    for precision in ours:
        for part in (*PARTS, "step"):
            rows.append(_row(part, precision, turns, gflop, size, limit, asked))
            rows[-1]["name"] = prefix + part
            rows[-1].update(peak_memory_mb=round(peaks[precision]), reference_peak_memory_mb=round(peaks["plain"]))
    return rows


def _row(
    part: str,
    precision: str,
    turns: list[Any],
    gflop: Any,
    size: dict[str, Any],
    limit: Limit,
    asked: argparse.Namespace,
) -> Row:
    seconds = {
        (name, clock): [_of(turn[name], part, clock) for turn in turns]
        for name in ("plain", precision)
        for clock in ("wall", "cpu")
    }
    images = size["batch"] * (sum(PARTS.values()) if part == "step" else 1)
    work = size["batch"] * (sum(PARTS[one] * gflop[one] for one in PARTS) if part == "step" else gflop[part])
    ratios = {
        clock: [theirs / mine for theirs, mine in zip(seconds["plain", clock], seconds[precision, clock], strict=True)]
        for clock in ("wall", "cpu")
    }
    mine = middle(seconds[precision, "wall"])
    cost = {"wall": mine, "cpu": middle(seconds[precision, "cpu"])}
    return {
        "name": part,
        "batch": size["batch"],
        "precision": precision,
        "threads": asked.threads,
        "images_per_second": float(f"{images / mine:.4g}"),
        "ratio_to_reference": middle(ratios["wall"]),
        "ratio_spread": spread(ratios["wall"]),
        "ratio_cpu_seconds": middle(ratios["cpu"]),
        "share_of_limit": share(work, cost, limit, precision, asked.device),
        "gflops": float(f"{work / mine:.4g}"),
        "seconds": mine,
        "cpu_seconds": cost["cpu"],
        "reference_seconds": middle(seconds["plain", "wall"]),
    }


def _of(turn: Any, part: str, clock: str) -> float:
    if part == "step":
        return float(turn["data"][clock] + sum(count * turn[one][clock] for one, count in PARTS.items()))
    return float(turn[part][clock])


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
        if check < ENOUGH:
            raise SystemExit(f"the reference's refiner runs at {check} of a bare nn.Sequential; it should at {ENOUGH}")
        for batch in batches(asked):
            rows += compare(asked, {**common, "batch": batch}, limit)
    finish(asked, higher(limit, limit_gflops(device)), rows, reference_check=check)


if __name__ == "__main__":
    main()
