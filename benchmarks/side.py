"""A side of a comparison in a process of its own, so that neither shares the other's allocator, threads or caches.

The parent asks over a pipe, one line of JSON a question; A B A B is asking two sides by turns. A module that plays a
side has ``player(size)``, which returns an object whose methods are the questions.
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
WARM = 32  # images of the untimed first call
PATIENCE = 30  # seconds


class Side:
    """``Side("ours", {"batch": 512, ...})("step")``: whatever the player's method ``step`` returns."""

    def __init__(self, module: str, size: dict[str, Any]) -> None:
        command = [sys.executable, str(HERE / "side.py"), module, json.dumps(size)]
        tricks = {"OMP_WAIT_POLICY"} if module == "plain" else set()
        env = {name: value for name, value in os.environ.items() if name not in tricks}
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)

    def __call__(self, question: str, **arguments: Any) -> Any:
        """Ask and wait for the answer."""
        self.ask(question, **arguments)
        return self.answer()

    def ask(self, question: str, **arguments: Any) -> None:
        """Ask without waiting, so that several sides work at once."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([question, arguments]) + "\n")
        self._process.stdin.flush()

    def answer(self) -> Any:
        """Wait for the answer to :meth:`ask`."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args} ended with code {self._process.wait()}; its error is above")
        return json.loads(line)

    def __enter__(self) -> Side:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        if kind is not None:
            self._process.kill()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:  # workers of a DataLoader that do not end
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


def warm_up(side: Side, device: str, batch: int) -> None:
    """Let a side do everything once: on a CPU with a micro-batch, on a GPU with a step of the size it compiles for."""
    if device == "cpu":
        side("warm", count=min(WARM, batch))
    else:
        side("step")


def _serve(module: str, size: dict[str, Any]) -> None:
    answers, sys.stdout = sys.stdout, sys.stderr  # what a library prints must not look like an answer
    player = importlib.import_module(module).player(size)
    for line in sys.stdin:
        question, arguments = json.loads(line)
        answers.write(json.dumps(getattr(player, question)(**arguments)) + "\n")
        answers.flush()


if __name__ == "__main__":
    _serve(sys.argv[1], json.loads(sys.argv[2]))
