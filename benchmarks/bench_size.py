"""Cost of an update of the paper's gaze refiner as a function of batch size, image size and processes.

Usage: ``python benchmarks/bench_size.py [--quick] [--device auto] [--threads 1] [--repeats 5] [--json FILE]``

Rows ``size_batch`` have batch sizes of 8 to 1024 at 35x55 px, rows ``size_image`` 35x55 to 512x512 px at batch sizes of
1 to 4, rows ``size_processes`` one process and two at once; ``size_hands`` is the 7x7 refiner on one 224x224 image.
``seconds_per_megapixel`` is constant where the cost is linear; ``to_best`` is the lowest cost of the group divided by
that of the row. ``--quick`` measures batch size 512 only.
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import ExitStack
from typing import Any

import torch
from limit import higher, limit_gflops
from packs import GAZE, HANDS, pack_of
from record import Row, arguments, batches, finish, precisions, rounded, spread, timed_row
from worker import WARM, Worker

BATCHES = (8, 16, 32, 64, 128, 256, 512, 1024)
SIDES = ((35, 55), (70, 110), (128, 128), (256, 256), (512, 512))


def measure(options: argparse.Namespace, name: str, size: dict[str, Any], batch: int, processes: int = 1) -> Row:
    """A row: medians of the repeats, over all processes."""
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker("library", size)) for _ in range(processes)]
        gflop = workers[0]("gflop")["refiner_update"]
        for worker in workers:
            worker("update", count=min(WARM, batch))
        turns = []
        for _ in range(options.repeats):
            for worker in workers:
                worker.send("update", count=batch)
            spent = [worker.receive() for worker in workers]
            turns.append({"wall": max(one["wall"] for one in spent), "cpu": sum(one["cpu"] for one in spent)})
        peak = max(worker("peak") for worker in workers)
    images = batch * processes
    row = timed_row(
        name,
        options=options,
        batch=batch,
        precision=size["precision"],
        images=images,
        gflop=images * gflop,
        turns=turns,
    )
    return {
        **row,
        "height": size["height"],
        "width": size["width"],
        "processes": processes,
        "seconds_per_megapixel": rounded(row["seconds"] / (images * size["height"] * size["width"] / 1e6)),
        "seconds_spread": spread(turn["wall"] for turn in turns),
        "peak_memory_mb": round(peak),
    }


def group(rows: list[Row]) -> list[Row]:
    """Add ``to_best`` to rows: the lowest cost per pixel divided by the row's."""
    best = min(row["seconds_per_megapixel"] for row in rows)
    for row in rows:
        row["to_best"] = float(f"{best / row['seconds_per_megapixel']:.3g}")
    return rows


def main() -> None:
    """Run the benchmark, print and write its rows."""
    options = arguments(__doc__)
    device = torch.device(options.device)
    limit, rows = limit_gflops(device), []
    common = {"device": options.device, "threads": options.threads, "precision": precisions(options)[-1]}
    common.update(batch=2, history=8)
    with tempfile.TemporaryDirectory() as folder:
        gaze = {**GAZE, **pack_of(folder, GAZE, images=64), **common}
        if options.quick:
            rows += group([measure(options, "size_batch", gaze, batches(options)[-1])])
        else:
            rows += group([measure(options, "size_batch", gaze, batch) for batch in BATCHES])
            domains = [{**GAZE, "height": height, "width": width} for height, width in SIDES]
            sizes = [{**domain, **pack_of(folder, domain, images=8), **common} for domain in domains]
            for batch in (1, 2, 4):
                rows += group([measure(options, "size_image", size, batch) for size in sizes])
            processes = (1, 2) if options.device == "cpu" else (1,)
            rows += group([measure(options, "size_processes", gaze, BATCHES[-2], count) for count in processes])
            hands = {**HANDS, **pack_of(folder, HANDS, images=8), **common}
            rows += group([measure(options, "size_hands", hands, 1)])
    finish(options, higher(limit, limit_gflops(device)), rows)


if __name__ == "__main__":
    main()
