"""What do data cost? Streams and history as a share of a training step, and how that grows with the number of images.

Usage: ``python benchmarks/bench_stream.py [--quick] [--device auto] [--threads 1] [--repeats 5] [--json FILE]``

``data_share`` draws the batches of one step from a resident pack (three simulated, one real) and half a batch from the
history, and pushes as many: ``share_of_step`` of the seconds of a step of the paper's gaze recipe in the same process;
its reference draws batches from a DataLoader. ``history`` draws from and pushes to 51,200 images against a NumPy array
that is appended to and cut, as public ports do it. ``stream`` and ``pack`` repeat the batches with more images.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from limit import limit_gflops
from packs import GAZE, pack_of
from record import Row, arguments, finish, middle, precisions, spread
from side import Side

BATCH, DRAWS = 512, 20
COUNTS = (1_000, 10_000, 100_000, 1_000_000)


def appended(images: int, half: int, repeats: int) -> list[float]:
    """Seconds of a push and a draw of a history that is one array: append, shuffle nothing, cut to size."""
    generator = np.random.default_rng(0)
    past = np.zeros((images, 1, 35, 55), np.float32)
    fresh = generator.random((half, 1, 35, 55), np.float32)
    seconds = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        past = np.append(past, fresh, axis=0)[half:]
        past[generator.choice(images, half, replace=False)]
        seconds.append(time.perf_counter() - started)
    return seconds[1:]


def measure(asked: argparse.Namespace, size: dict[str, Any]) -> list[Row]:
    """The rows ``data_share`` and ``history``."""
    with Side("ours", size) as ours, Side("plain", {**size, "history": 512}) as plain:
        for side in (ours, plain):
            side("warm", count=32)
        history, data = ours("history", repeats=DRAWS), ours("data", repeats=DRAWS)
        theirs = plain("data", repeats=3)
        if asked.device != "cpu":  # compiled for this very size
            ours("step")
        turn = ours("step")
        peak = ours("peak")
    updates = 2 * turn["refiner_update"]["wall"] + turn["discriminator_update"]["wall"]  # the history's part is inside
    cost = middle(data) + middle(history)
    arrays = appended(size["history"], BATCH // 2, min(3, DRAWS))
    common = {"batch": BATCH, "precision": size["precision"], "threads": asked.threads}
    return [
        {
            "name": "data_share",
            **common,
            "images_per_second": float(f"{4 * BATCH / middle(data):.4g}"),
            "ratio_to_reference": float(f"{middle(theirs) / middle(data):.4g}"),
            "share_of_step": float(f"{cost / (updates + middle(data)):.3g}"),
            "seconds": float(f"{cost:.4g}"),
            "step_seconds": float(f"{updates + middle(data):.4g}"),
            "share_of_limit": None,
            "peak_memory_mb": round(peak),
        },
        {
            "name": "history",
            **common,
            "images": size["history"],
            "images_per_second": float(f"{BATCH / middle(history):.4g}"),
            "ratio_to_reference": float(f"{middle(arrays) / middle(history):.4g}"),
            "seconds": middle(history),
            "seconds_spread": spread(history),
            "reference_seconds": middle(arrays),
            "share_of_limit": None,
            "peak_memory_mb": round(peak),
        },
    ]


def grown(asked: argparse.Namespace, size: dict[str, Any], count: int) -> list[Row]:
    """Writing, opening and drawing from a pack of ``count`` images."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        pack = pack_of(folder, GAZE, images=count)
        wrote = time.perf_counter() - started
        file_mb = Path(pack["pack"]).stat().st_size / 1e6
        started = time.perf_counter()
        with Side("ours", {**size, **pack, "history": 512}) as ours:
            data = ours("data", repeats=DRAWS)
            opened = time.perf_counter() - started
            peak = ours("peak")
    common = {"batch": BATCH, "precision": "uint8", "threads": asked.threads, "images": count}
    return [
        {
            "name": "pack",
            **common,
            "images_per_second": float(f"{count / wrote:.4g}"),
            "seconds": float(f"{wrote:.4g}"),
            "file_mb": float(f"{file_mb:.4g}"),
        },
        {
            "name": "stream",
            **common,
            "images_per_second": float(f"{4 * BATCH / middle(data):.4g}"),
            "seconds": middle(data),
            "start_and_draw_seconds": float(f"{opened:.4g}"),
            "peak_memory_mb": round(peak),
        },
    ]


def main() -> None:
    """Measure, print and write."""
    asked = arguments(__doc__)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        pack = pack_of(folder, GAZE, images=2048)
        precision = precisions(asked)[-1]
        size = {**GAZE, **pack, "batch": BATCH, "precision": precision}
        size.update(device=asked.device, threads=asked.threads)
        rows += measure(asked, size)
        for count in () if asked.quick else COUNTS:
            rows += grown(asked, size, count)
    finish(asked, limit_gflops(torch.device(asked.device)), rows)


if __name__ == "__main__":
    main()
