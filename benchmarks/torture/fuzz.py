"""Give mutated files to every reader: a ``UserError`` or a value within ten seconds and a gigabyte, nothing else.

Usage: ``PYTHONPATH=benchmarks python -m torture.fuzz [--inputs 100000] [--readers pack,...] [--seed 0] [--json FILE]``

Readers run in forked worker processes, one per core; a process that dies or hangs is a finding and is replaced. Input
``i`` of a reader is a function of the seed, its name and ``i``, so a finding is repeated by its number. A reader's
share of the inputs is in :data:`readers.READERS`. Readers that the same commit has finished with the same seed, by the
file of ``--json``, are not repeated.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
import traceback
from itertools import pairwise
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch
from torture.mutations import mutate
from torture.readers import READERS
from torture.results import load, store
from torture.seeds import prepare

from synthreal.errors import UserError

SECONDS = 10.0
MEGABYTES = 1024


def work(name: str, contents: list[bytes], folder: Path, seed: int, numbers: range, pipe: Connection) -> None:
    """Read the inputs; sends each number before, and a finding (None or a text) after reading it, None at the end."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1), os.dup2(null, 2)
    reader = READERS[name]
    place = folder / f"work-{os.getpid()}"
    place.mkdir()
    before = peak()
    for number in numbers:
        pipe.send(number)
        finding = None
        try:
            reader.read(mutate(contents, f"{seed} {name} {number}"), place)
        except UserError:
            pass
        except BaseException as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            message = " ".join(str(error).split())[:200]
            finding = f"{type(error).__name__}: {message} ({Path(last.filename).name}:{last.lineno})"
        if (growth := peak() - before) > MEGABYTES:
            finding, before = f"{growth:.0f} MB of memory", peak()
        pipe.send(finding)
    pipe.send(None)


def peak() -> float:
    """The largest memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "linux" else 1024**2)


class Worker:
    """A process that reads a range of inputs, and what it has reached."""

    def __init__(self, name: str, contents: list[bytes], folder: Path, seed: int, numbers: range) -> None:
        context = multiprocessing.get_context("fork")
        self.pipe, theirs = context.Pipe(duplex=False)
        self.process = context.Process(target=work, args=(name, contents, folder, seed, numbers, theirs))
        self.process.start()
        theirs.close()
        self.numbers, self.current = numbers, numbers.start

    def advance(self, findings: dict[int, str]) -> range | None:
        """Take what the process has sent; the inputs that are left if it has ended, else None."""
        try:
            while self.pipe.poll():
                number = self.pipe.recv()
                if number is None:
                    self.process.join()
                    return range(0)
                self.current = number
                if not self.pipe.poll(SECONDS):
                    findings[number] = f"no answer within {SECONDS:.0f} s"
                    self.process.kill()
                    self.process.join()
                    return range(number + 1, self.numbers.stop)
                if (finding := self.pipe.recv()) is not None:
                    findings[number] = finding
        except EOFError:
            self.process.join()
            findings[self.current] = f"the process died with code {self.process.exitcode}"
            return range(self.current + 1, self.numbers.stop)
        return None


def torture(name: str, contents: list[bytes], folder: Path, seed: int, count: int) -> dict[str, Any]:
    """Give ``count`` mutated contents to a reader; returns a row with its findings by number."""
    findings: dict[int, str] = {}
    processes = os.cpu_count() or 1
    bounds = [count * index // processes for index in range(processes + 1)]
    waiting = [range(*pair) for pair in pairwise(bounds) if pair[0] < pair[1]]
    began, workers = time.monotonic(), list[Worker]()
    while waiting or workers:
        workers += [Worker(name, contents, folder, seed, numbers) for numbers in waiting]
        waiting = []
        wait([worker.pipe for worker in workers])
        for worker in list(workers):
            if (left := worker.advance(findings)) is not None:
                workers.remove(worker)
                waiting += [left] if left else []
    return {"inputs": count, "seed": seed, "seconds": round(time.monotonic() - began, 1), "findings": findings}


def main() -> None:
    """Run, print and write; exits with 1 if there is a finding."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=100_000, help="over all readers")
    parser.add_argument("--readers", default=",".join(READERS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="result; finished readers in it are not repeated")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = load(options.json)
    total = sum(reader.share for reader in READERS.values())
    counts = {name: max(1, options.inputs * READERS[name].share // total) for name in options.readers.split(",")}
    finished = {name for name, row in rows.items() if (row["inputs"], row["seed"]) == (counts.get(name), options.seed)}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        files = prepare(folder) if counts.keys() - finished else {}
        for name in [name for name in counts if name not in finished]:
            rows[name] = torture(name, files[name], folder, options.seed, counts[name])
            print(f"{name}: {json.dumps(rows[name])[:2000]}", flush=True)
            store(options.json, rows)
    sys.exit(1 if any(row["findings"] for row in rows.values()) else 0)


if __name__ == "__main__":
    main()
