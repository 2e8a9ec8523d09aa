"""The rank of this process, from the environment variables of torchrun; no process group is needed."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from synthreal.errors import UserError

REPORT_DELAY = 3.0  # seconds

_VARIABLES = (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0"))


@dataclass(frozen=True)
class Rank:
    """Process ``number`` of ``world``, the ``local``-th on its machine."""

    number: int = 0
    world: int = 1
    local: int = 0

    @classmethod
    def here(cls) -> Rank:
        """From RANK, WORLD_SIZE and LOCAL_RANK; without RANK, the only process.

        Raises:
            UserError: the variables are not numbers, or contradict each other.
        """
        if "RANK" not in os.environ:
            return cls()
        values = {name: os.environ.get(name, default) for name, default in _VARIABLES}
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


def let_main_report_first() -> None:
    """Delay the error message of a rank other than 0.

    If the mistake is everybody's, rank 0 reports it at once and torchrun ends the others before they repeat it.
    """
    if os.environ.get("RANK", "0") != "0":
        time.sleep(REPORT_DELAY)
