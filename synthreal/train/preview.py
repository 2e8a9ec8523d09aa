"""What R paints at this moment of a fit, for looks and contact sheets."""

from __future__ import annotations

from pathlib import Path

import torch

from synthreal.config import RunConfig
from synthreal.core.game import Game
from synthreal.core.refiner import refine
from synthreal.device import seeded_generator, uncompiled
from synthreal.files import writing
from synthreal.train.contact_sheet import save_sheet
from synthreal.train.loader import DataFeed

SHEET = 10


@torch.no_grad()
def refine_preview(game: Game, images: torch.Tensor) -> torch.Tensor:
    """R(x) as refine and evaluate will give it, ``(N, C, H, W)``; the game's generator is left alone."""
    refiner = game.averaged()
    training = refiner.training
    refiner.eval()
    with uncompiled(refiner), game.precision():
        refined = refine(refiner, images, seeded_generator(0, images.device), micro_batch=game.micro_batch)
    refiner.train(training)
    return refined.float()


def write_preview(game: Game, feed: DataFeed, path: Path, config: RunConfig) -> None:
    """Save simulated | refined | real for the same first images every time."""
    assert config.image is not None, "resolve() sets the image"
    with writing(path.parent):
        path.parent.mkdir(exist_ok=True)
    x, y = (feed.streams[kind].batch(0).image[:SHEET] for kind in ("simulated", "real"))
    save_sheet(
        path, [("simulated", x), ("refined", refine_preview(game, x)), ("real", y)], colormap=config.image.colormap
    )
