"""Where does cost stop being linear? The R update of the paper's gaze refiner, one quantity at a time.

Usage: ``python benchmarks/bench_size.py [--quick] [--device auto] [--threads 1] [--repeats 5] [--json FILE]``

Around batch 512 and 35x55 px: ``size_batch`` is batches of 8 to 1024, ``size_image`` 35x55 to 512x512 px at batches
of 1 to 4, ``size_processes`` one process and two at once. ``seconds_per_megapixel`` is constant where cost is linear;
``to_best`` is the lowest of its group over a row's. With ``--quick`` it measures batch 512, once.
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
BATCHES = (8, 16, 32, 64, 128, 256, 512, 1024)
SIDES = ((35, 55), (70, 110), (128, 128), (256, 256), (512, 512))


def measure(
    asked: argparse.Namespace, name: str, size: dict[str, Any], limit: Limit, batch: int, processes: int = 1
) -> Row:
    """A row: the median of the repeats, of all processes when there are several."""
    with ExitStack() as stack:
        sides = [stack.enter_context(Side("ours", size)) for _ in range(processes)]
        gflop = sides[0]("gflop")["refiner_update"]
        for side in sides:
            side("update", count=min(WARM, batch) if asked.device == "cpu" else batch)
        turns = []
        for _ in range(asked.repeats):
            for side in sides:
                side.ask("update", count=batch)
            turns.append([side.answer() for side in sides])
        peak = max(side("peak") for side in sides)
    slowest = [max(spent["wall"] for spent in turn) for turn in turns]
    seconds, images = middle(slowest), batch * processes
    cost = {"wall": seconds, "cpu": middle([sum(spent["cpu"] for spent in turn) for turn in turns])}
    return {
        "name": name,
        "batch": batch,
        "height": size["height"],
        "width": size["width"],
        "processes": processes,
        "precision": size["precision"],
        "threads": asked.threads * processes,
        "images_per_second": float(f"{images / seconds:.4g}"),
        "seconds_per_megapixel": float(f"{seconds / (images * size['height'] * size['width'] / 1e6):.4g}"),
        "seconds_spread": spread(slowest),
        "ratio_to_reference": None,
        "cpu_seconds": cost["cpu"],
        "share_of_limit": share(images * gflop, cost, limit, size["precision"], asked.device),
        "peak_memory_mb": round(peak),
    }


def group(rows: list[Row]) -> list[Row]:
    """The rows with ``to_best``: the lowest cost of a pixel over theirs."""
    best = min(row["seconds_per_megapixel"] for row in rows)
    for row in rows:
        row["to_best"] = float(f"{best / row['seconds_per_megapixel']:.3g}")
    return rows


def main() -> None:
    """Measure, print and write."""
    asked = arguments(__doc__)
    device = torch.device(asked.device)
    limit, rows = limit_gflops(device), []
    with tempfile.TemporaryDirectory() as folder:
        common = {"device": asked.device, "threads": asked.threads, "precision": precisions(asked)[-1]}
        common.update(batch=2, history=8)
        gaze = {**GAZE, **pack_of(folder, GAZE, images=64), **common}
        sizes = batches(asked) if asked.quick else BATCHES
        rows += group([measure(asked, "size_batch", gaze, limit, batch) for batch in sizes])
        for batch in () if asked.quick else (1, 2, 4):
            of_batch = []
            for height, width in SIDES:
                domain = {**GAZE, "height": height, "width": width}
                size = {**domain, **pack_of(folder, domain, images=8), **common}
                of_batch.append(measure(asked, "size_image", size, limit, batch))
            rows += group(of_batch)
        processes = (1, 2) if asked.device == "cpu" and not asked.quick else (1,)
        rows += group(
            [
                measure(asked, "size_processes", gaze, limit, sizes[-1] if asked.quick else 512, count)
                for count in processes
            ]
        )
    finish(asked, higher(limit, limit_gflops(device)), rows)


if __name__ == "__main__":
    main()
