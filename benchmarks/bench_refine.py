"""How fast are images refined? The network alone on a batch, and from pack to pack, against the reference.

Usage: ``python benchmarks/bench_refine.py [--quick] [--device auto] [--threads 1] [--repeats 5] [--json FILE]``

The reference runs its whole batch through an eager float32 network, and from pack to pack reads, refines and writes
HDF5 in a loop. ``refine_end_to_end`` is ``synthreal refine``: it checks what it reads and writes atomically, with
checksums; ``share_of_network`` is its images/s beside those of the network alone.
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from limit import Limit, higher, limit_gflops
from ours import configured
from packs import GAZE, pack_of
from record import Row, arguments, batches, finish, middle, precisions, share, spread
from side import Side

import synthreal

WARM, IMAGES = 32, 2048


def compare(asked: argparse.Namespace, size: dict[str, Any], runs: dict[str, str], limit: Limit) -> list[Row]:
    """The rows of one batch size."""
    rows = []
    with ExitStack() as stack:
        plain = stack.enter_context(Side("plain", size))
        ours = {name: stack.enter_context(Side("ours", {**size, "precision": name})) for name in runs}
        sides = {"plain": plain, **ours}
        gflop = next(iter(ours.values()))("gflop")["refine"]
        for side in sides.values():
            side("refine", count=min(WARM, size["batch"]) if asked.device == "cpu" else size["batch"])
        turns = [{name: side("refine") for name, side in sides.items()} for _ in range(asked.repeats)]
        network = _rows("refine", size["batch"], turns, size["batch"], gflop, asked, limit)
        rows += network
        if size["batch"] == batches(asked)[-1]:
            targets = {name: str(Path(size["folder"]) / f"{name}.h5") for name in sides}
            turns = []
            for _ in range(asked.repeats):
                turns.append({})
                for name, side in sides.items():
                    Path(targets[name]).unlink(missing_ok=True)
                    turns[-1][name] = side("refine_pack", run=runs.get(name, ""), target=targets[name])
            whole = _rows("refine_end_to_end", size["images"], turns, size["batch"], gflop, asked, limit)
            for row, alone in zip(whole, network, strict=True):
                row["share_of_network"] = float(f"{row['images_per_second'] / alone['images_per_second']:.3g}")
            rows += whole
        for row in rows:
            row["peak_memory_mb"] = round(ours[row["precision"]]("peak"))
    return rows


def _rows(
    name: str, images: int, turns: list[Any], batch: int, gflop: float, asked: argparse.Namespace, limit: Limit
) -> list[Row]:
    rows = []
    for precision in [key for key in turns[0] if key != "plain"]:
        ratios = {clock: [turn["plain"][clock] / turn[precision][clock] for turn in turns] for clock in ("wall", "cpu")}
        cost = {clock: middle([turn[precision][clock] for turn in turns]) for clock in ("wall", "cpu")}
        seconds = cost["wall"]
        rows.append(
            {
                "name": name,
                "batch": batch,
                "precision": precision,
                "threads": asked.threads,
                "images_per_second": float(f"{images / seconds:.4g}"),
                "ratio_to_reference": middle(ratios["wall"]),
                "ratio_spread": spread(ratios["wall"]),
                "ratio_cpu_seconds": middle(ratios["cpu"]),
                "share_of_limit": share(images * gflop, cost, limit, precision, asked.device),
                "gflops": float(f"{images * gflop / seconds:.4g}"),
                "seconds": seconds,
                "cpu_seconds": cost["cpu"],
                "reference_seconds": middle([turn["plain"]["wall"] for turn in turns]),
            }
        )
    return rows


def fitted(size: dict[str, Any], precision: str, folder: str) -> str:
    """A run of one step, for its refiner."""
    catalog = synthreal.Catalog.of([size["plugin"]])
    config = configured({**size, "precision": precision, "batch": 2, "history": 2}, catalog)
    schedule = config.schedule.model_copy(update={"refiner_steps": 1, "discriminator_steps": 0, "steps": 0})
    run = Path(folder) / f"run-{precision}"
    synthreal.fit(config.model_copy(update={"schedule": schedule}), catalog, run)
    return str(run)


def main() -> None:
    """Measure, print and write."""
    asked = arguments(__doc__)
    device = torch.device(asked.device)
    limit, rows = limit_gflops(device), []
    with tempfile.TemporaryDirectory() as folder:
        pack = pack_of(folder, GAZE, images=IMAGES // 2 if asked.quick else IMAGES)
        size = {**GAZE, **pack, "history": 512, "device": asked.device, "threads": asked.threads, "precision": "fp32"}
        runs = {precision: fitted(size, precision, folder) for precision in precisions(asked)}
        for batch in batches(asked):
            rows += compare(asked, {**size, "batch": batch}, runs, limit)
    finish(asked, higher(limit, limit_gflops(device)), rows)


if __name__ == "__main__":
    main()
