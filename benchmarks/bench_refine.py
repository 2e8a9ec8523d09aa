"""Speed of refining against the reference: the network alone, and from pack to pack.

Usage: ``python benchmarks/bench_refine.py [--quick] [--device auto] [--threads 1] [--repeats 5] [--json FILE]``

The reference passes its batch through an eager float32 network; from pack to pack, it reads, refines and writes HDF5 in
a loop. Row ``refine_end_to_end`` is ``synthreal refine``, which also checks its input and writes atomically.
``share_of_network`` is its images/s relative to the network alone, measured just before in the same process
(``network_images_per_second``): the median of pairs, by wall clock and by CPU seconds. CPU seconds do not depend on
other programs, but exclude time spent waiting for the disk.
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from clock import Spent
from library import configured
from limit import higher, limit_gflops
from packs import GAZE, pack_of
from record import Row, arguments, batches, finish, middle, precisions, spread, timed_row
from worker import WARM, Worker

import synthreal

IMAGES, GPU_IMAGES = 2048, 200_000


def compare(options: argparse.Namespace, size: dict[str, Any], runs: dict[str, str], *, whole: bool) -> list[Row]:
    """The rows of one batch size; with ``whole``, also those from pack to pack."""
    with ExitStack() as stack:
        reference = stack.enter_context(Worker("baseline", size))
        library = {name: stack.enter_context(Worker("library", {**size, "precision": name})) for name in runs}
        workers = {"reference": reference, **library}
        gflop = next(iter(library.values()))("gflop")["refine"]
        for worker in workers.values():
            worker("refine", count=min(WARM, size["batch"]) if options.device == "cpu" else size["batch"])
        turns = [{name: worker("refine") for name, worker in workers.items()} for _ in range(options.repeats)]
        rows = [_row("refine", size["batch"], turns, precision, size, gflop, options) for precision in library]
        if whole:
            alone, turns = [], []
            for turn in range(options.repeats):
                alone.append({name: worker("refine") for name, worker in workers.items()})
                targets = {name: str(Path(size["folder"]) / f"{name}-{turn}.h5") for name in workers}
                turns.append(
                    {
                        name: worker("refine_pack", run=runs.get(name, ""), target=targets[name])
                        for name, worker in workers.items()
                    }
                )
            for precision in library:
                row = _row("refine_end_to_end", size["images"], turns, precision, size, gflop, options)
                rows.append({**row, **_share(size, [turn[precision] for turn in alone], [t[precision] for t in turns])})
        peaks = {name: round(worker("peak")) for name, worker in workers.items()}
    return [
        {**row, "peak_memory_mb": peaks[row["precision"]], "reference_peak_memory_mb": peaks["reference"]}
        for row in rows
    ]


def _row(
    name: str,
    images: int,
    turns: list[Any],
    precision: str,
    size: dict[str, Any],
    gflop: float,
    options: argparse.Namespace,
) -> Row:
    return timed_row(
        name,
        options=options,
        batch=size["batch"],
        precision=precision,
        images=images,
        gflop=images * gflop,
        turns=[turn[precision] for turn in turns],
        against=[turn["reference"] for turn in turns],
    )


def _share(size: dict[str, Any], alone: list[Spent], turns: list[Spent]) -> Row:
    """The speed from pack to pack relative to the network alone, per turn."""
    shares = {
        clock: [
            size["images"] / whole[clock] / (size["batch"] / network[clock])
            for network, whole in zip(alone, turns, strict=True)
        ]
        for clock in ("wall", "cpu")
    }
    return {
        "network_images_per_second": middle(size["batch"] / network["wall"] for network in alone),
        "share_of_network": middle(shares["wall"]),
        "share_spread": spread(shares["wall"]),
        "share_of_network_cpu": middle(shares["cpu"]),
        "share_spread_cpu": spread(shares["cpu"]),
    }


def fitted(size: dict[str, Any], precision: str, folder: str) -> str:
    """Fit a run of one step; returns its directory."""
    catalog = synthreal.Catalog.of([size["plugin"]])
    config = configured({**size, "precision": precision, "batch": 2, "history": 2}, catalog)
    schedule = config.schedule.model_copy(update={"refiner_steps": 1, "discriminator_steps": 0, "steps": 0})
    run = Path(folder) / f"run-{precision}"
    synthreal.fit(config.model_copy(update={"schedule": schedule}), catalog, run)
    return str(run)


def main() -> None:
    """Run the benchmark, print and write its rows."""
    options = arguments(__doc__)
    device = torch.device(options.device)
    limit, rows = limit_gflops(device), []
    with tempfile.TemporaryDirectory() as folder:
        images = IMAGES if options.device == "cpu" else GPU_IMAGES
        pack = pack_of(folder, GAZE, images=images // 2 if options.quick else images)
        size = {**GAZE, **pack, "history": 512, "precision": "fp32"}
        size.update(device=options.device, threads=options.threads)
        runs = {precision: fitted(size, precision, folder) for precision in precisions(options)}
        for batch in batches(options):
            rows += compare(options, {**size, "batch": batch}, runs, whole=batch == batches(options)[-1])
    finish(options, higher(limit, limit_gflops(device)), rows)


if __name__ == "__main__":
    main()
