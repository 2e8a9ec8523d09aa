"""The rank of this process, from the environment variables of torchrun; no process group is needed."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from synthreal.errors import UserError

REPORT_DELAY = 3.0  # seconds


@dataclass(frozen=True)
class Rank:
    """Process ``number`` of ``world``, the ``local``-th on its machine."""

    number: int = 0
    world: int = 1
    local: int = 0

    @classmethod
    def here(cls) -> Rank:
        """From RANK, WORLD_SIZE and LOCAL_RANK; without RANK, the only process. Raises ``UserError`` for bad values."""
        if (rank := os.environ.get("RANK")) is None:
            return cls()
        values = {"RANK": rank, "WORLD_SIZE": os.environ.get("WORLD_SIZE", "1"), "LOCAL_RANK": local_rank(rank)}
        try:
            number, world, local = (int(value) for value in values.values())
            if not 0 <= number < world or local < 0:
                raise ValueError
        except ValueError:
            given = ", ".join(f"{name}={value}" for name, value in values.items())
            raise UserError(f"{given}: not a valid rank; start with torchrun, or unset them") from None
        return cls(number, world, local)

    def device(self, name: str) -> str:
        """The device that "auto" means for this process: its own GPU if there are several processes and GPUs."""
        import torch

        return f"cuda:{self.local}" if name == "auto" and self.world > 1 and torch.cuda.is_available() else name


def local_rank(rank: str) -> str:
    """LOCAL_RANK, without it the rank, as on a single machine."""
    return os.environ.get("LOCAL_RANK", rank)


def let_main_report_first() -> None:
    """Delay the error message of a rank other than 0.

    If every process makes the same mistake, rank 0 reports it and torchrun ends the others before they repeat it.
    """
    if os.environ.get("RANK", "0") != "0":
        time.sleep(REPORT_DELAY)
