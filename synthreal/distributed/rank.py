"""Which process this is, by the environment variables that torchrun sets; no process group."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from synthreal.errors import UserError

REPORT_DELAY = 3.0  # seconds


@dataclass(frozen=True)
class Rank:
    """Process ``number`` of ``world``, the ``local``-th on this machine."""

    number: int = 0
    world: int = 1
    local: int = 0

    @classmethod
    def here(cls) -> Rank:
        """From RANK, WORLD_SIZE and LOCAL_RANK; without RANK the only process.

        Raises:
            UserError: they are no numbers, or do not fit together.
        """
        if "RANK" not in os.environ:
            return cls()
        words = {name: os.environ.get(name, default) for name, default in _VARIABLES}
        try:
            number, world, local = (int(word) for word in words.values())
            if not 0 <= number < world or local < 0:
                raise ValueError
        except ValueError:
            given = ", ".join(f"{name}={word}" for name, word in words.items())
            raise UserError(f"{given}: no number of a process; start with torchrun, or unset them") from None
        return cls(number, world, local)

    def device(self, name: str) -> str:
        """The device "auto" stands for in this process: a GPU of its own where there are any."""
        import torch

        return f"cuda:{self.local}" if name == "auto" and self.world > 1 and torch.cuda.is_available() else name


_VARIABLES = (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0"))


def let_main_report_first() -> None:
    """Wait before telling what may be wrong for all: process 0 does not wait, and torchrun ends all once one failed."""
    if os.environ.get("RANK", "0") != "0":
        time.sleep(REPORT_DELAY)
