"""A workload in its own process, so that two workloads share neither allocator, threads nor caches.

The parent calls methods over a pipe with one line of JSON per call, and can alternate between two workers. The module
of a workload defines ``workload(size)``, which returns the object whose methods are called.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

HERE = Path(__file__).resolve().parent
WARM = 32  # images in the untimed first call
TIMEOUT = 30  # seconds


class Worker:
    """``Worker("library", {"batch": 512, ...})("step")`` returns the result of the workload's method ``step``."""

    def __init__(self, module: str, size: dict[str, Any]) -> None:
        command = [sys.executable, str(HERE / "worker.py"), module, json.dumps(size)]
        removed = {"GOMP_SPINCOUNT"} if module == "baseline" else set()
        env = {name: value for name, value in os.environ.items() if name not in removed}
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)

    def __call__(self, method: str, **arguments: Any) -> Any:
        """Call a method and wait for its result."""
        self.send(method, **arguments)
        return self.receive()

    def send(self, method: str, **arguments: Any) -> None:
        """Call a method without waiting, so that several workers run at once."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([method, arguments]) + "\n")
        self._process.stdin.flush()

    def receive(self) -> Any:
        """Wait for the result of :meth:`send`."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args} ended with code {self._process.wait()}; its error is above")
        return json.loads(line)

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        if kind is not None:
            self._process.kill()
        try:
            self._process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:  # a DataLoader with workers that hang
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


def warm_up(worker: Worker, device: str, batch: int) -> None:
    """Run everything once: on a CPU with a micro-batch, on a GPU with the batch size that it compiles for."""
    if device == "cpu":
        worker("warm", count=min(WARM, batch))
    else:
        worker("step")


def _serve(module: str, size: dict[str, Any]) -> None:
    results, sys.stdout = sys.stdout, sys.stderr  # keep the output of libraries apart from results
    workload = importlib.import_module(module).workload(size)
    for line in sys.stdin:
        method, arguments = json.loads(line)
        results.write(json.dumps(getattr(workload, method)(**arguments)) + "\n")
        results.flush()


if __name__ == "__main__":
    _serve(sys.argv[1], json.loads(sys.argv[2]))
