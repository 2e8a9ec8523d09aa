"""Time and memory of ``synthreal adapt`` on 200 renders and 200 photographs of 640x480 px.

Usage: ``python benchmarks/bench_large.py [--quick] [--device auto] [--threads 1] [--json FILE] [--folder FOLDER]``

The pictures are those of ``scenes.py``; ``--folder`` holds them, or they are written there first. ``refined`` and the
run are written there as well, to be looked at. Memory is the largest sum over all processes of the command; CPU minutes
are those of all threads, and say how much of the machine other programs left. ``--quick`` gives the command two
minutes, not eight.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from limit import limit_gflops
from record import Row, arguments, finish, rounded
from scenes import write_scenes

PICTURES, MINUTES, QUICK_MINUTES = 200, 8.0, 2.0
SETTINGS: tuple[str, ...] = ()  # of the run, for tests
POLL = 0.2  # seconds


def resident_mb(session: int) -> float:
    """The memory in MB of all processes of a session; pages that several share count once per process."""
    kilobytes = 0
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            if os.getsid(int(status.parent.name)) == session:
                lines = status.read_text(encoding="utf-8", errors="replace").splitlines()
                kilobytes += sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
        except (OSError, ValueError):  # ended meanwhile
            continue
    return kilobytes * 1024 / 1e6


def adapt(folders: tuple[Path, Path], target: Path, *, minutes: float, options: argparse.Namespace) -> Row:
    """Run the command; wall time, and the peak of its memory.

    Raises:
        SystemExit: the command failed.
    """
    command = [sys.executable, "-m", "synthreal", "adapt", *map(str, folders), str(target / "refined")]
    command += ["--run", str(target / "run"), "--minutes", str(minutes)]
    for setting in (f"runtime.device={options.device}", *SETTINGS):
        command += ["--set", setting]
    threads = {name: str(options.threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    start, peak = time.perf_counter(), 0.0
    running = subprocess.Popen(command, env={**os.environ, **threads}, start_new_session=True)
    while running.poll() is None:
        peak = max(peak, resident_mb(running.pid))
        time.sleep(POLL)
    if running.returncode:
        raise SystemExit(f"synthreal adapt ended with code {running.returncode}")
    minutes_taken = (time.perf_counter() - start) / 60
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "name": "adapt_large",
        "images": len(list((target / "refined").glob("*.png"))),
        "minutes_given": minutes,
        "minutes": rounded(minutes_taken),
        "cpu_minutes": rounded((used.ru_utime + used.ru_stime) / 60),
        "peak_memory_mb": rounded(peak),
    }


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--folder", type=Path)
    own, given = parser.parse_known_args()
    options = arguments(__doc__, given)
    with tempfile.TemporaryDirectory() as temporary:
        folder = own.folder or Path(temporary)
        folders = folder / "renders", folder / "photographs"
        if not all(one.is_dir() for one in folders):
            write_scenes(folder, PICTURES)
        rows: list[dict[str, Any]] = [
            adapt(folders, folder, minutes=QUICK_MINUTES if options.quick else MINUTES, options=options)
        ]
    finish(options, limit_gflops(torch.device(options.device)), rows)


if __name__ == "__main__":
    main()
