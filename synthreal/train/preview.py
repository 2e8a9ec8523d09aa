"""What R paints at this moment of a fit, for looks and contact sheets."""

from __future__ import annotations

from pathlib import Path

import torch

from synthreal.config import RunConfig
from synthreal.core.game import Game
from synthreal.core.refiner import refine
from synthreal.device import eagerly, generator_of
from synthreal.files import writing
from synthreal.train.contact_sheet import save_sheet
from synthreal.train.loader import Feed

SHEET = 10


@torch.no_grad()
def painted(game: Game, images: torch.Tensor) -> torch.Tensor:
    """R(x) as refine and evaluate will give it, ``(N, C, H, W)``; the game's generator is left alone."""
    refiner = game.averaged()
    training = refiner.training
    refiner.eval()
    with eagerly(refiner), game.precision():
        refined = refine(refiner, images, generator_of(0, images.device), micro_batch=game.micro_batch)
    refiner.train(training)
    return refined.float()


def sheet(game: Game, feed: Feed, path: Path, config: RunConfig) -> None:
    """Save simulated | refined | real for the same first images every time."""
    assert config.image is not None, "resolve() sets the image"
    with writing(path.parent):
        path.parent.mkdir(exist_ok=True)
    x, y = (feed.streams[kind].batch(0).image[:SHEET] for kind in ("simulated", "real"))
    save_sheet(path, [("simulated", x), ("refined", painted(game, x)), ("real", y)], colormap=config.image.colormap)
