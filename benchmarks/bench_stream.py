"""Cost of data: streams and history as a share of a training step, and its growth with the number of images.

Usage: ``python benchmarks/bench_stream.py [--quick] [--device auto] [--threads 1] [--repeats 5] [--json FILE]``

Row ``data_share`` draws the batches of a step from a resident pack (three simulated, one real), draws half a batch from
the history and pushes half a batch; ``share_of_step`` is relative to a step of the paper's gaze recipe in the same
process. Its reference draws batches from a DataLoader. Row ``data_share_drawn`` is the same for eyes rendered during
training. Row ``history`` draws from and pushes to 51,200 images; its reference is a NumPy array that is appended to and
truncated, as in public ports. Rows ``stream`` and ``pack`` have more images.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from clock import spent
from limit import limit_gflops
from packs import GAZE, pack_of
from record import Row, arguments, finish, middle, precisions, rounded, spread
from worker import Worker, warm_up

import synthreal
from synthreal.device import configure_process
from synthreal.train import open_stream

BATCH, DRAWS = 512, 20
COUNTS = (1_000, 10_000, 100_000, 1_000_000)


class Appended:
    """A history in one array that is appended to and truncated."""

    def __init__(self, images: int, half: int) -> None:
        self.generator = np.random.default_rng(0)
        self.past = np.zeros((images, 1, 35, 55), np.float32)
        self.fresh = self.generator.random((half, 1, 35, 55), np.float32)

    def exchange(self) -> None:
        """Push and draw half a batch."""
        self.past = np.append(self.past, self.fresh, axis=0)[len(self.fresh) :]
        self.past[self.generator.choice(len(self.past), len(self.fresh), replace=False)]


def measure(options: argparse.Namespace, size: dict[str, Any]) -> list[Row]:
    """The rows ``data_share``, ``history`` and ``data_share_drawn``."""
    cpu, arrays = torch.device("cpu"), Appended(size["history"], BATCH // 2)
    with Worker("library", size) as library, Worker("baseline", {**size, "history": 512}) as reference:
        for worker in (library, reference):
            warm_up(worker, options.device, BATCH)
        arrays.exchange()
        turns = [
            {
                "history": library("history", repeats=DRAWS),
                "array": spent(arrays.exchange, cpu),
                "data": library("data", repeats=DRAWS),
                "loader": reference("data", repeats=1),
            }
            for _ in range(max(3, options.repeats))
        ]
        steps = [library("step") for _ in range(options.repeats)]
        peak = round(library("peak"))
    seconds = {name: [turn[name]["wall"] for turn in turns] for name in turns[0]}
    updates = [2 * turn["refiner_update"]["wall"] + turn["discriminator_update"]["wall"] for turn in steps]
    step = middle(updates) + middle(seconds["data"])  # the updates include the history
    cost = middle(seconds["data"]) + middle(seconds["history"])
    common = {"batch": BATCH, "precision": size["precision"], "threads": options.threads}
    rows = []
    for name, mine, theirs, images in (
        ("data_share", "data", "loader", 4 * BATCH),
        ("history", "history", "array", BATCH),
    ):
        ratios = [other / one for one, other in zip(seconds[mine], seconds[theirs], strict=True)]
        rows.append(
            {
                "name": name,
                **common,
                "images_per_second": rounded(images / middle(seconds[mine])),
                "ratio_to_reference": middle(ratios),
                "ratio_spread": spread(ratios),
                "share_of_limit": None,
                "seconds": middle(seconds[mine]),
                "reference_seconds": middle(seconds[theirs]),
                "peak_memory_mb": peak,
            }
        )
    rows[0].update(share_of_step=float(f"{cost / step:.3g}"), step_seconds=rounded(step))
    return [*rows, drawn(options, common, step)]


def drawn(options: argparse.Namespace, common: Row, step: float) -> Row:
    """The row ``data_share_drawn``: the batches of a step, rendered during training as in the recipe ``gaze-full``."""
    device, catalog = torch.device(options.device), synthreal.Catalog.of(["gaze"])
    tree = {"schedule": {"batch": BATCH}, "runtime": {"device": options.device, "threads": options.threads}}
    config = synthreal.configure(catalog, tree, recipe="gaze-full")
    configure_process(config.runtime)
    simulated, real = (
        open_stream(config, catalog, role, device=device, run_dir=Path()) for role in ("simulated", "real")
    )

    def draw() -> None:
        for position in range(3):
            simulated.batch(position)
        real.batch(0)

    draw()
    seconds = [spent(draw, device)["wall"] for _ in range(options.repeats)]
    return {
        "name": "data_share_drawn",
        **common,
        "images_per_second": rounded(4 * BATCH / middle(seconds)),
        "ratio_to_reference": None,
        "share_of_limit": None,
        "seconds": middle(seconds),
        "share_of_step": float(f"{middle(seconds) / (step + middle(seconds)):.3g}"),
    }


def grown(options: argparse.Namespace, size: dict[str, Any], count: int) -> list[Row]:
    """The rows ``pack`` and ``stream`` for a pack of ``count`` images."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        pack = pack_of(folder, GAZE, images=count)
        wrote = time.perf_counter() - started
        file_mb = Path(pack["pack"]).stat().st_size / 1e6
        started = time.perf_counter()
        with Worker("library", {**size, **pack, "history": 512}) as library:
            data, held = library("data", repeats=DRAWS)["wall"], library("held")
            opened = time.perf_counter() - started
            peak = library("peak")
    common = {"batch": BATCH, "precision": "uint8", "threads": options.threads, "images": count}
    return [
        {
            "name": "pack",
            **common,
            "images_per_second": rounded(count / wrote),
            "seconds": rounded(wrote),
            "file_mb": rounded(file_mb),
        },
        {
            "name": "stream",
            **common,
            "images_per_second": rounded(4 * BATCH / data),
            "seconds": rounded(data),
            "held": held,
            "start_and_draw_seconds": rounded(opened),
            "peak_memory_mb": round(peak),
        },
    ]


def main() -> None:
    """Run the benchmark, print and write its rows."""
    options = arguments(__doc__)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        pack = pack_of(folder, GAZE, images=2048)
        precision = precisions(options)[-1]
        size = {**GAZE, **pack, "batch": BATCH, "precision": precision}
        size.update(device=options.device, threads=options.threads)
        rows += measure(options, size)
        for count in () if options.quick else COUNTS:
            rows += grown(options, size, count)
    finish(options, limit_gflops(torch.device(options.device)), rows)


if __name__ == "__main__":
    main()
