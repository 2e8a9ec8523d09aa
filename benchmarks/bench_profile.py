"""Profile of an update of R, and the speed of its convolutions alone.

Usage: ``python benchmarks/bench_profile.py [--quick] [--device auto] [--threads 1] [--repeats 5] [--json FILE]``

Rows ``profile`` are shares of the operators' own time in updates of the paper's gaze refiner with micro-batches of 32:
the 64-to-64 convolutions of the blocks, the other convolutions (stem, head, D), and the rest (activations, sums,
losses, casts, SGD). Rows ``kernel`` time one 64-to-64 convolution alone, forward and for each gradient, with its share
of the limit. Row ``kernels together`` is the speed of an update that consists of nothing else.
"""

from __future__ import annotations

import argparse
import tempfile
from typing import Any

import torch
from clock import Spent, spent
from library import LibraryWorkload
from limit import higher, limit_gflops
from packs import GAZE, pack_of
from record import Row, arguments, finish, precisions, timed_row
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from synthreal.core import update_refiner

WIDTH, BATCH = 64, 32
DIRECTIONS = {
    "forward": [False, False, False],
    "input gradient": [True, False, False],
    "weight gradient": [False, True, True],
}


def shares(size: dict[str, Any], repeats: int) -> list[Row]:
    """The rows ``profile`` of one precision."""
    workload = LibraryWorkload(size)
    x = workload.images(BATCH)
    update_refiner(workload.game, x, adversarial=True)
    gpu = workload.device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if gpu else [])]
    with profile(activities=activities, record_shapes=True) as profiled:
        for _ in range(repeats):
            update_refiner(workload.game, x, adversarial=True)
    seconds = dict.fromkeys(("blocks, forwards", "blocks, backwards", "stem, head and D", "everything else"), 0.0)
    for event in profiled.key_averages(group_by_input_shape=True):
        if event.device_type != DeviceType.CPU:  # the time of a kernel is counted for its operator
            continue
        took = event.self_device_time_total if gpu else event.self_cpu_time_total
        seconds[_group(event.key, event.input_shapes)] += took
    total = sum(seconds.values())
    common = {"precision": size["precision"], "threads": size["threads"], "batch": BATCH}
    return [
        {"name": "profile", "what": what, **common, "share_of_update": float(f"{took / total:.3g}")}
        for what, took in seconds.items()
    ]


def _group(name: str, shapes: list[list[int]]) -> str:
    if "conv" not in name:
        return "everything else"
    if [WIDTH, WIDTH, 3, 3] not in shapes:
        return "stem, head and D"
    return "blocks, backwards" if "backward" in name else "blocks, forwards"


def kernels(options: argparse.Namespace, precision: str) -> list[Row]:
    """The rows ``kernel`` of one precision."""
    device = torch.device(options.device)
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    maps, gradient = (
        torch.randn(BATCH, WIDTH, 35, 55, device=device, dtype=dtype).contiguous(memory_format=torch.channels_last)
        for _ in range(2)
    )
    weight = torch.randn(WIDTH, WIDTH, 3, 3, device=device, dtype=dtype).contiguous(memory_format=torch.channels_last)
    bias = torch.randn(WIDTH, device=device, dtype=dtype)
    place = ([1, 1], [1, 1], [1, 1], False, [0, 0], 1)
    gflop = 2 * maps.numel() * WIDTH * 9 / 1e9
    rows: list[Row] = []
    for what, mask in DIRECTIONS.items():

        def run(mask: list[bool] = mask) -> None:
            if any(mask):
                torch.ops.aten.convolution_backward(gradient, maps, weight, [WIDTH], *place, mask)
            else:
                torch.nn.functional.conv2d(maps, weight, bias, padding=1)

        turns = [spent(run, device) for _ in range(5 * options.repeats + 2)][2:]
        rows.append(_kernel(what, gflop, turns, precision, options))
    total = {clock: sum(row["work"][clock] for row in rows) for clock in ("wall", "cpu")}
    return [*rows, _kernel("kernels together", 3 * gflop, [total], precision, options)]


def _kernel(what: str, gflop: float, turns: list[Spent], precision: str, options: argparse.Namespace) -> Row:
    row = timed_row("kernel", options=options, batch=BATCH, precision=precision, images=BATCH, gflop=gflop, turns=turns)
    return {**row, "what": what}


def main() -> None:
    """Run the benchmark, print and write its rows."""
    options = arguments(__doc__)
    torch.set_num_threads(options.threads)
    limit, rows = limit_gflops(torch.device(options.device)), []
    with tempfile.TemporaryDirectory() as folder:
        size = {**GAZE, **pack_of(folder, GAZE, images=64), "history": 64, "batch": 2}
        size.update(device=options.device, threads=options.threads)
        for precision in precisions(options):
            rows += shares({**size, "precision": precision}, options.repeats)
            rows += kernels(options, precision)
    finish(options, higher(limit, limit_gflops(torch.device(options.device))), rows)


if __name__ == "__main__":
    main()
