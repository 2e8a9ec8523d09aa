"""Peak memory of ``synthreal refine`` for 2,000 and for 20,000 images.

Usage: ``python benchmarks/bench_memory.py [--quick] [--device auto] [--threads 1] [--json FILE]``

Each job runs in a separate process and refines a pack, a folder of PNG files of 35x55 px, or three shards;
``growth_mb`` is the difference between both peaks. A job on a folder holds the names of its files in memory, about 300
bytes each.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench_refine import fitted
from clock import peak_mb
from limit import limit_gflops
from packs import GAZE, data_set, pack_of
from record import Row, arguments, finish, rounded

import synthreal

COUNTS = (2_000, 20_000)
KINDS = ("pack", "folder", "shards")


def peak(run: str, source: str, target: str, device: str, threads: int) -> float:
    """Peak memory in MB of a process that refines."""
    torch.set_num_threads(threads)
    synthreal.refine_bulk(run, source, target, device=device, threads=threads)
    return peak_mb(torch.device("cpu"))


def measure(kind: str, counts: tuple[int, ...], options: argparse.Namespace) -> list[Row]:
    """Measure the peak for each number of images."""
    rows: list[Row] = []
    for images in counts:
        with tempfile.TemporaryDirectory() as folder, multiprocessing.get_context("spawn").Pool(1) as other:
            size: dict[str, Any] = {**GAZE, **pack_of(folder, GAZE, images=8), "history": 2, "threads": options.threads}
            run = other.apply(fitted, ({**size, "device": options.device}, "fp32", folder))
            source = data_set(kind, Path(folder), images)
            with multiprocessing.get_context("spawn").Pool(1) as fresh:
                target = str(Path(folder) / f"out{source.suffix}")
                megabytes = fresh.apply(peak, (run, str(source), target, options.device, options.threads))
        rows.append(
            {"name": f"memory_{kind}", "images": images, "precision": "fp32", "peak_memory_mb": rounded(megabytes)}
        )
    rows[-1]["growth_mb"] = rounded(float(np.subtract(rows[-1]["peak_memory_mb"], rows[0]["peak_memory_mb"])))
    return rows


def main() -> None:
    """Measure, print and write."""
    options = arguments(__doc__)
    counts = tuple(count // 10 for count in COUNTS) if options.quick else COUNTS
    rows = [row for kind in KINDS for row in measure(kind, counts, options)]
    finish(options, limit_gflops(torch.device(options.device)), rows)


if __name__ == "__main__":
    main()
