"""Disturb ``fit``, ``refine`` and ``evaluate``, start them again, and compare the results with undisturbed ones.

Usage: ``PYTHONPATH=benchmarks python -m torture.kill [--jobs fit] [--random 20] [--events ::9] [--json FILE]``

Trials of each job, on its own:

- ``random``: chains of SIGKILLs at random moments of the undisturbed duration, until the job ends by itself.
- ``kill``: one SIGKILL just before the n-th change of the file system (a file opened for writing, renamed or removed, a
  folder made or removed), then one undisturbed start.
- ``full`` and ``read-only``: from that change on nothing can be written, or nothing changed. The job must end with exit
  code 2, or 0 if it only failed to remove files (a traceback gives 1); then one undisturbed start.

``--events FIRST:LAST:STEP`` chooses changes, as a slice. After every trial the result must equal the undisturbed one to
the last bit, and nothing may lie beside it. Trials that the same commit has finished, by the file of ``--json``, are
not repeated, so a stopped torture continues. Jobs run in forked processes, which do not import torch again.
"""

from __future__ import annotations

import argparse
import errno
import hashlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from packs import data_set
from torture.results import load, store

import synthreal

IMAGES = 48
SMALL = (
    *("schedule.refiner_steps=8", "schedule.discriminator_steps=4", "schedule.steps=16", "schedule.batch=4"),
    *("schedule.save_every=4", "schedule.report_every=4", "schedule.sheet_every=14", "quality.every=5"),
    *("quality.images=20", "history.size=16", "refiner.options.width=4", "refiner.options.blocks=1"),
    *(f"data.{role}.count={IMAGES}" for role in ("simulated", "real_labelled", "validation", "test")),
    *("runtime.threads=1", "runtime.device=cpu", "evaluation.epochs=1"),
)
FAULTS = ("kill", "full", "read-only")
EVENTS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink")
Job = Callable[[Path], None]


def fit(folder: Path) -> None:
    """Fit into ``folder/run``, or continue."""
    run = folder / "run"
    settings = [f"--set={setting}" for setting in (*SMALL, f'data.real={{name="folder", options.root="{folder}/in"}}')]
    resume = ["--resume"] if list((run / "checkpoints").glob("*.pt")) else []
    command("fit", "--plugin", "gaze", "--run", str(run), *settings, *resume)


def evaluate(folder: Path) -> None:
    """Evaluate the run that the undisturbed ``fit`` has left."""
    command("evaluate", str(folder / "run"), "--arms", "simulated,refined")


def refine(source: str) -> Job:
    """Refine ``folder/<source>``."""
    return lambda folder: command(
        *("refine", str(folder / "run"), str(folder / source), str(folder / f"out-{source}"), "--threads", "1")
    )


JOBS: dict[str, Job] = {
    "fit": fit,
    "evaluate": evaluate,
    **{f"refine-{kind}": refine(source) for kind, source in {"pack": "p.h5", "folder": "in", "shards": "t"}.items()},
}


def command(*arguments: str) -> None:
    """Run the command line in this process; exits with its code."""
    from synthreal.cli import main

    sys.argv = ["synthreal", *arguments]
    main()


def data_sets(folder: Path) -> None:
    """A folder of pictures with sidecars, a pack and tar shards of noise."""
    for kind, name in {"pack": "p.h5", "folder": "in", "shards": "t"}.items():
        data_set(kind, folder, IMAGES).rename(folder / name)


def start(job: Job, folder: Path, fault: str = "", number: int = 0) -> multiprocessing.process.BaseProcess:
    """Start a job in a forked process, with a fault at its change ``number`` of the file system."""

    def run() -> None:
        log = os.open(folder.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1), os.dup2(log, 2)
        sys.addaudithook(hook(folder, fault, number))
        job(folder)

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    return process


def hook(folder: Path, fault: str, number: int) -> Callable[[str, tuple[Any, ...]], None]:
    """An audit hook that brings a fault from a change below ``folder`` on; without one it counts the changes."""
    count, file = 0, os.open(folder.with_suffix(".events"), os.O_WRONLY | os.O_CREAT)

    def count_change(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event not in EVENTS or not isinstance(arguments[0], (str, bytes, os.PathLike)):
            return
        if event == "open" and not (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            return
        if not os.fsdecode(arguments[0]).startswith(f"{folder}/"):
            return
        count += 1
        if not fault:
            os.pwrite(file, f"{count:9}".encode(), 0)
        elif count >= number and fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif count >= number and (fault == "read-only" or event in ("open", "os.mkdir")):
            code = errno.EROFS if fault == "read-only" else errno.ENOSPC
            raise OSError(code, os.strerror(code))

    return count_change


def state(folder: Path) -> dict[str, str]:
    """The hash of every file below a folder. Speed and the time of writing do not count, all else does."""
    hashes = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_dir():
            hashes[name] = "folder"
        elif path.name == "log.jsonl":
            lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            hashes[name] = digest(repr([{**line, "images_per_second": 0} for line in lines]).encode())
        elif path.suffix == ".pt":
            hashes[name] = digest(repr(plain(torch.load(path, weights_only=True))).encode())
        elif path.suffix == ".h5":
            with synthreal.data.Pack(path) as pack:
                hashes[name] = pack.sha256()
        else:
            hashes[name] = digest(path.read_bytes())
    return hashes


def digest(content: bytes) -> str:
    """The first 16 digits of SHA-256."""
    return hashlib.sha256(content).hexdigest()[:16]


def plain(value: Any) -> Any:
    """Nested values with tensors replaced by the hashes of their bytes."""
    if isinstance(value, torch.Tensor):
        return (
            str(value.dtype),
            tuple(value.shape),
            digest(value.contiguous().flatten().view(torch.uint8).numpy().tobytes()),
        )
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


class Torture:
    """The trials of one job in a scratch folder, and their outcomes."""

    def __init__(self, name: str, scratch: Path, begin: Path) -> None:
        self.name, self.job, self.begin = name, JOBS[name], begin
        self.folder = scratch / "trial"
        reference = self._fresh()
        started = time.monotonic()
        self._finish(start(self.job, reference))
        self.seconds = time.monotonic() - started
        self.events = int(reference.with_suffix(".events").read_text(encoding="ascii"))
        self.expected = state(reference)
        self.end = scratch / f"end-{name}"
        shutil.copytree(reference, self.end)

    def chain(self, moments: random.Random) -> int:
        """Kill at random moments until the job ends by itself, then compare; the number of kills."""
        folder, kills = self._fresh(), 0
        while True:
            process = start(self.job, folder)
            process.join(moments.uniform(0, self.seconds))
            if not process.is_alive():
                break
            process.kill()
            process.join()
            kills += 1
        self._finish(process)
        self._compare(folder, f"{kills} random kills")
        return kills

    def fault(self, fault: str, number: int) -> None:
        """Bring a fault at the change ``number``, start again, compare."""
        folder = self._fresh()
        process = start(self.job, folder, fault, number)
        process.join()
        if process.exitcode not in ((-signal.SIGKILL,) if fault == "kill" else (0, 2)):
            raise SystemExit(f"{self.name}: {fault} at {number}: code {process.exitcode}: {self._log()}")
        self._finish(start(self.job, folder))
        self._compare(folder, f"{fault} at change {number}")

    def _fresh(self) -> Path:
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.begin, self.folder)
        self.folder.with_suffix(".log").unlink(missing_ok=True)
        return self.folder

    def _finish(self, process: multiprocessing.process.BaseProcess) -> None:
        process.join()
        if process.exitcode:
            raise SystemExit(f"{self.name}: ended with code {process.exitcode}: {self._log()}")

    def _log(self) -> str:
        return self.folder.with_suffix(".log").read_text(encoding="utf-8", errors="replace")[-500:]

    def _compare(self, folder: Path, after: str) -> None:
        found = state(folder)
        wrong = sorted(
            name for name in found.keys() | self.expected.keys() if found.get(name) != self.expected.get(name)
        )
        if wrong:
            raise SystemExit(f"{self.name}: after {after} these differ or are left over: {', '.join(wrong)}")


def main() -> None:
    """Run, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", default=",".join(JOBS))
    parser.add_argument("--random", type=int, default=20, help="SIGKILLs at random moments, for each job")
    parser.add_argument("--faults", default=",".join(FAULTS), help="faults at changes of the file system")
    parser.add_argument("--events", default=":", help="slice of the changes of the file system")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random moments")
    parser.add_argument("--json", type=Path, help="result; finished trials in it are not repeated")
    options = parser.parse_args()
    rows = load(options.json)
    torch.set_num_threads(1)
    import kornia  # noqa: F401  # imported before the fork

    import synthreal.train  # noqa: F401
    import synthreal_gaze  # noqa: F401
    from synthreal.metrics import summary, twosample

    # 300 steps would take most of the time of `evaluate`, and write nothing
    summary.two_sample_test = partial(twosample.two_sample_test, steps=5)  # type: ignore[assignment]

    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        begin = scratch / "begin"
        begin.mkdir()
        data_sets(begin)
        for job in ["fit", *(job for job in options.jobs.split(",") if job != "fit")]:
            torture = Torture(job, scratch, begin)
            if job == "fit":
                begin = torture.end
            if job not in options.jobs.split(","):
                continue
            row = rows.setdefault(job, {"kills": 0, "chains": 0, **{fault: [] for fault in FAULTS}})
            row |= {"seconds": round(torture.seconds, 2), "changes": torture.events}
            while row["kills"] < options.random:
                row["kills"] += torture.chain(random.Random(f"{options.seed} {row['chains']}"))
                row["chains"] += 1
                store(options.json, rows)
            bounds = slice(*(int(bound) if bound else None for bound in options.events.split(":")))
            for fault in filter(None, options.faults.split(",")):
                for number in range(1, torture.events + 1)[bounds]:
                    if number not in row[fault]:
                        torture.fault(fault, number)
                        row[fault].append(number)
                        store(options.json, rows)
    for job, row in rows.items():
        print(job, *(f"{key} {len(value) if isinstance(value, list) else value}" for key, value in row.items()))


if __name__ == "__main__":
    main()
