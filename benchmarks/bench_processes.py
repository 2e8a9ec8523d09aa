"""Speed of ``synthreal fit`` with one and with two processes, on the same mini-batches.

Usage: ``python benchmarks/bench_processes.py [--quick] [--device auto] [--threads 1] [--repeats 5] [--json FILE]``

Both run under torchrun, in alternating turns. A turn fits the recipe ``gaze`` with a float32 refiner of the paper's
width; images/s are the median of the second half of its log. ``ratio_to_one`` compares neighbouring turns; 2 is ideal.
``cpu_ratio`` compares the CPU seconds of all processes, including their start, with those of one process. On GPUs, each
process uses its own.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import torch
from limit import limit_gflops
from record import Row, arguments, finish, middle, rounded, spread

BATCH, STEPS = 64, 20
WIDTH = 64
COUNTS = (1, 2)


def turn(processes: int, folder: Path, options: argparse.Namespace) -> tuple[float, float]:
    """One fit: images per second, and CPU seconds of all processes."""
    run = folder / f"{processes}-{len(list(folder.iterdir()))}"
    settings = {
        "schedule": f"{{refiner_steps=0, discriminator_steps=0, steps={STEPS}, batch={BATCH}, report_every=1}}",
        "refiner.options.width": WIDTH,
        "data.simulated.count": 4 * BATCH,
        "data.real.count": 4 * BATCH,
        "quality": "none",
        "runtime.precision": "float32",
        "runtime.device": options.device,
        "runtime.threads": options.threads,
    }
    words = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [*launch, "-m", "synthreal", "fit", "--plugin", "gaze", "--run-dir", str(run), *words],
        env={**os.environ, "OMP_NUM_THREADS": str(options.threads)},
        check=True,
        capture_output=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    log = [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    rates = [line["images_per_second"] for line in log[len(log) // 2 :]]
    return median(rates), after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Run the benchmark, print and write its rows."""
    options = arguments(__doc__)
    counts = [count for count in COUNTS if options.device == "cpu" or count <= torch.cuda.device_count()]
    with tempfile.TemporaryDirectory() as folder:
        turns = [{count: turn(count, Path(folder), options) for count in counts} for _ in range(options.repeats)]
    rows: list[Row] = []
    for count in counts:
        against = [(one[count][0] / one[1][0], one[count][1] / one[1][1]) for one in turns]
        rows.append(
            {
                "name": "fit",
                "processes": count,
                "batch": BATCH,
                "images_per_second": middle(one[count][0] for one in turns),
                "ratio_to_one": middle(rate for rate, _ in against),
                "ratio_spread": spread(rate for rate, _ in against),
                "cpu_ratio": rounded(median(cost for _, cost in against)),
            }
        )
    finish(options, limit_gflops(torch.device(options.device)), rows)


if __name__ == "__main__":
    main()
