"""Short runs of the toy domain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from synthreal.config import RunConfig
from synthreal.config.toml import parse_settings
from synthreal.data.source import Source
from synthreal.hooks.catalog import Catalog
from synthreal.hooks.resolve import configure
from synthreal.spec import Role
from synthreal.train.fit import fit
from synthreal.train.log import Report
from synthreal.train.sources import open_data

TOY = Path(__file__).resolve().parent / "toy.py"

# Eleven steps: every phase, a history that fills and is drawn from, and three checkpoints, of which two remain.
QUICK = (
    "data.simulated.count=40",
    "data.real.count=30",
    "data.real_labelled.count=30",
    "data.validation.count=14",
    "data.test.count=15",
    "refiner.options.width=4",
    "history.size=12",
    "schedule.refiner_steps=3",
    "schedule.discriminator_steps=2",
    "schedule.steps=6",
    "schedule.batch=8",
    "schedule.report_every=1",
    "schedule.save_every=4",
    "evaluation.images=30",
    "evaluation.epochs=2",
    "evaluation.batch=9",
)


def configured(toy: Catalog, *settings: str) -> RunConfig:
    """The toy recipe with the short schedule and ``key=value`` settings."""
    return configure(toy, *parse_settings([*QUICK, *settings]))


def fit_toy(toy: Catalog, run_dir: Path, *settings: str, resume: bool = False, **more: Any) -> Report | None:
    """Train the configuration of ``configured``."""
    torch.set_num_threads(1)
    return fit(configured(toy, *settings), toy, run_dir, resume=resume, **more)


def open_role(toy: Catalog, run_dir: Path, role: Role, *settings: str) -> Source:
    """Open the data of a role, on the CPU."""
    return open_data(configured(toy, *settings), toy, role, device=torch.device("cpu"), run_dir=run_dir)


def flags(*settings: str) -> list[str]:
    """``--set`` flags of settings."""
    return [word for setting in settings for word in ("--set", setting)]


def weights(run_dir: Path) -> bytes:
    """The refiner's weights as bytes."""
    return b"".join(value.numpy().tobytes() for _, value in sorted(load_file(run_dir / "refiner.safetensors").items()))


def files(folder: Path) -> list[str]:
    """Every file below a folder, relative to it."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def same(one: Any, other: Any) -> bool:
    """Whether two nested states are bit-identical."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)
