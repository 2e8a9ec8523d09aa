"""Start-up time of commands, and memory of a run for its images.

Usage: ``python benchmarks/bench_start.py [--quick] [--device auto] [--threads 1] [--repeats 5] [--json FILE]``

Rows ``start`` are fresh processes: Python alone, ``import synthreal``, ``synthreal --help``, torch, the transform;
``heavy`` lists the large libraries that the process imported. Row ``fit_memory`` is the memory of a process that opens
the images of a run, in megabytes per million images, simulated and real together.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time

import torch
from limit import limit_gflops
from packs import GAZE, pack_of
from record import Row, arguments, finish, middle, spread
from worker import Worker

FEW, MANY = 1_000, 500_000
HEAVY = ("torch", "kornia", "albumentations", "h5py", "pydantic", "rich", "typer", "scipy", "matplotlib")
STARTS = {
    "python": "pass",
    "import synthreal": "import synthreal",
    "synthreal --help": "import sys; sys.argv = ['synthreal', '--help']; import synthreal.cli; synthreal.cli.main()",
    "import torch": "import torch",
    "synthreal.Refine": "import synthreal; synthreal.Refine",
}
REPORT = (
    "import atexit, sys; atexit.register(lambda: print(*[n for n in {heavy} if n in sys.modules], file=sys.stderr))\n"
)


def start(name: str, code: str, repeats: int) -> Row:
    """Median seconds of a fresh process, after one that fills the caches."""
    seconds = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        command = [sys.executable, "-c", REPORT.format(heavy=HEAVY) + code]
        ended = subprocess.run(command, capture_output=True, text=True, check=True)
        seconds.append(time.perf_counter() - started)
    return {
        "name": "start",
        "what": name,
        "seconds": middle(seconds[1:]),
        "seconds_spread": spread(seconds[1:]),
        "heavy": ended.stderr.splitlines()[-1].strip() or "none",
    }


def memory(folder: str, size: dict[str, object], few: int, many: int) -> Row:
    """Megabytes per million 35x55 images, from the peaks of two runs that differ only in the number of images."""
    peaks = []
    for count in (few, many):
        with Worker("library", {**size, **pack_of(folder, GAZE, images=count)}) as worker:
            worker("warm", count=2)
            peaks.append(worker("peak"))
    data_sets = 2  # simulated and real
    return {
        "name": "fit_memory",
        "what": f"{few:,} to {many:,} images",
        "mb_per_million": round((peaks[1] - peaks[0]) / (data_sets * (many - few)) * 1e6),
    }


def main() -> None:
    """Run the benchmark, print and write its rows."""
    options = arguments(__doc__)
    rows = [start(name, code, options.repeats) for name, code in STARTS.items()]
    with tempfile.TemporaryDirectory() as folder:
        size = {**GAZE, "batch": 2, "history": 8, "precision": "fp32"}
        size.update(device=options.device, threads=options.threads)
        rows.append(memory(folder, size, FEW, MANY // 10 if options.quick else MANY))
    finish(options, limit_gflops(torch.device(options.device)), rows)


if __name__ == "__main__":
    main()
