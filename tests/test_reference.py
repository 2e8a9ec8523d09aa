"""The plain reference of the benchmarks has the library's networks and losses and takes the same training steps."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
import torch

from synthreal.config import LossConfig
from synthreal.core.discriminator import LocalDiscriminator
from synthreal.core.game import Game, update_discriminator, update_refiner
from synthreal.core.history import History
from synthreal.core.refiner import Refiner
from synthreal.hooks.builtin import PAPER_GAZE

PLAIN = runpy.run_path(str(Path(__file__).resolve().parent.parent / "benchmarks" / "reference.py"))
RATE, WEIGHT = 0.05, 0.7


def both():
    """The library's game and the reference, with the same weights."""
    torch.manual_seed(0)
    refiner, discriminator = Refiner().double(), LocalDiscriminator(1, PAPER_GAZE).double()
    plain = PLAIN["refiner"]().double(), PLAIN["discriminator"]().double()
    for ours, theirs in zip((refiner, discriminator), plain, strict=True):
        for mine, its in zip(ours.parameters(), theirs.parameters(), strict=True):
            its.data.copy_(mine.data)
    game = Game(
        refiner=refiner,
        discriminator=discriminator,
        features=[(torch.nn.Identity(), 1.0)],
        loss=LossConfig(weight=WEIGHT),
        optimizer_refiner=torch.optim.SGD(refiner.parameters(), lr=RATE),
        optimizer_discriminator=torch.optim.SGD(discriminator.parameters(), lr=RATE),
        generator=torch.Generator().manual_seed(0),
        history=History(8, (1, 35, 55), dtype="float32", device=torch.device("cpu")),
    )
    return game, PLAIN["Reference"](*plain, weight=WEIGHT, buffer=8, rate=RATE)


def test_both_take_the_same_training_steps():
    game, reference = both()
    batches = torch.rand(6, 2, 1, 35, 55, dtype=torch.float64)
    for turn in range(2):
        for i in range(2):
            ours = update_refiner(game, batches[i], adversarial=True)
            adversarial, regularization = reference.update_refiner(batches[i])
            torch.testing.assert_close(ours.adversarial, adversarial)
            torch.testing.assert_close(ours.regularization, regularization)
        if turn == 0:  # the history is empty: both show D fresh images only
            loss = reference.update_discriminator(batches[2], batches[3])
            torch.testing.assert_close(update_discriminator(game, batches[2], batches[3]).loss, loss)
    for mine, its in zip(game.refiner.parameters(), reference.refiner.parameters(), strict=True):
        torch.testing.assert_close(mine, its)


def test_its_history_fills_is_drawn_from_and_stays_its_size():
    _, reference = both()
    for turn in range(12):
        loss = reference.update_discriminator(*torch.rand(2, 4, 1, 35, 55, dtype=torch.float64))
        assert torch.isfinite(loss)
        assert len(reference.past) == min(8, 2 * (turn + 1))


@pytest.mark.parametrize(
    ("network", "arguments", "count"),
    [
        ("refiner", (), 296_129),
        ("discriminator", (), 75_906),
        ("refiner", (7, 10), 4_018_625),
        ("hand_discriminator", (), 178_050),
    ],
)
def test_its_networks_are_the_papers(network, arguments, count):
    assert sum(parameter.numel() for parameter in PLAIN[network](*arguments).parameters()) == count
