"""Weights & Biases. ``WANDB_MODE=offline`` and all its other variables apply."""

from __future__ import annotations

import os
from pathlib import Path
from secrets import token_hex

from synthreal.config import ResolvedConfig
from synthreal.train.loggers.run_id import read_run_id, write_run_id

PROJECT = "synthreal"


class WandB:
    """A run of the project ``WANDB_PROJECT``, or "synthreal"; its own files are in ``folder``.

    A resumed run has the same identifier. Steps that a killed process had logged already are ignored by the server; on
    the CPU they are the same.
    """

    def __init__(self, folder: Path, name: str, config: ResolvedConfig, *, resume: bool) -> None:
        import wandb

        run_id = (read_run_id(folder) if resume else None) or token_hex(8)
        write_run_id(folder, run_id)
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=name,
            id=run_id,
            resume="allow",
            dir=str(folder),
            config=config.tree(),
            settings=wandb.Settings(console="off"),  # the progress bars
        )

    def log(self, step: int, values: dict[str, float]) -> None:
        """Add values by tag."""
        self._run.log(values, step=step)

    def close(self, *, finished: bool) -> None:
        """Write what is pending, and tell the server how the run ended."""
        self._run.finish(exit_code=0 if finished else 1)
