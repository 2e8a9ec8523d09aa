"""Refined images of the current state of a training run, for quality reports and contact sheets."""

from __future__ import annotations

from pathlib import Path

import torch

from synthreal.config import ResolvedConfig
from synthreal.core.game import Game
from synthreal.core.refiner import refine
from synthreal.device import seeded_generator, uncompiled
from synthreal.files import write_errors
from synthreal.train.contact_sheet import save_sheet
from synthreal.train.sources import DataFeed

SHEET = 10


@torch.no_grad()
def refine_preview(game: Game, images: torch.Tensor) -> torch.Tensor:
    """R(x) ``(N, C, H, W)`` in [0, 1], in eval mode, uncompiled, with noise from seed 0.

    The game's generator does not advance.
    """
    refiner = game.averaged()
    training = refiner.training
    refiner.eval()
    with uncompiled(refiner), game.precision():
        refined = refine(refiner, images, seeded_generator(0, images.device), micro_batch=game.micro_batch)
    refiner.train(training)
    return refined.float()


def write_preview(game: Game, feed: DataFeed, path: Path, config: ResolvedConfig) -> None:
    """Write a contact sheet of simulated, refined and real images, the same ones every time."""
    with write_errors(path.parent):
        path.parent.mkdir(exist_ok=True)
    x, y = (feed.streams[kind].batch(0).image[:SHEET] for kind in ("simulated", "real"))
    save_sheet(
        path, [("simulated", x), ("refined", refine_preview(game, x)), ("real", y)], colormap=config.image.colormap
    )
