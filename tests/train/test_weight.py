"""``loss.weight=auto``: lambda rises above the wanted displacement, falls below it, and survives a resumed run."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from PIL import Image
from quick import fit_toy, weights

from synthreal.config import LossConfig
from synthreal.errors import UserError
from synthreal.train import weight as module
from synthreal.train.weight import FACTORS, LEAST, MOST, WeightControl

CONFIG = LossConfig(weight="auto", drift_px=0.5)


def blocks() -> torch.Tensor:
    """Random chequers of 6 px, ``(32, 1, 72, 72)``."""
    cells = torch.rand((32, 1, 12, 12), generator=torch.Generator().manual_seed(0))
    return cells.repeat_interleave(6, 2).repeat_interleave(6, 3)


BLOCKS = blocks()
X = BLOCKS[..., 3:51, 3:51]


@dataclass
class State:
    """What the control changes of a game, and the averaged weights, which it does not refine with."""

    weight: float
    drift_px: float | None = None
    average: str | None = "averaged weights"


@pytest.fixture
def update(monkeypatch):
    """Adapts a lambda to images refined by the weights of R themselves; returns it with the displacement."""
    control = WeightControl(CONFIG, X)

    def run(weight, refined):
        game = State(weight)
        monkeypatch.setattr(
            module, "refine_preview", lambda game, images: refined if game.average is None else torch.zeros_like(X)
        )
        control.update(game)
        return game.weight, game.drift_px

    return run


def test_lambda_follows_the_displacement(update):
    assert update(8.0, X) == (pytest.approx(8 * FACTORS[0]), pytest.approx(0, abs=1e-3))
    raised, drift = update(8.0, BLOCKS[..., 3:51, 1:49])
    assert raised == pytest.approx(8 * FACTORS[1])
    assert drift == pytest.approx(2, abs=0.2)
    mixed = torch.cat([X[:24], BLOCKS[24:, :, 3:51, 1:49]])  # the quarter that moves by 2 px counts
    assert update(8.0, mixed) == (pytest.approx(8 * FACTORS[1]), pytest.approx(2, abs=0.2))
    between = torch.nn.functional.interpolate(BLOCKS, scale_factor=4, mode="bilinear")[..., 12:204, 10:202]
    kept, drift = update(8.0, torch.nn.functional.avg_pool2d(between, 4))  # half a px
    assert drift == pytest.approx(0.5, abs=0.1)
    assert kept == pytest.approx(8, rel=0.1)


def test_lambda_rises_if_no_content_is_found_again(update):
    assert update(8.0, torch.full_like(X, 0.5)) == (8 * FACTORS[1], None)


def test_lambda_is_bounded(update):
    assert update(LEAST, X)[0] == LEAST
    assert update(MOST, torch.full_like(X, 0.5))[0] == MOST


@pytest.mark.parametrize("images", [torch.full_like(X, 0.5), X[..., :20]], ids=["plain", "small"])
def test_images_without_a_displacement_need_a_number(images):
    with pytest.raises(UserError, match=r"loss\.weight=auto: .* give a number"):
        WeightControl(CONFIG, images)


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """Settings of a run on two folders of chequers, 30 game steps with lambda adapted at two of them."""
    folder = tmp_path_factory.mktemp("pictures")
    for role, gain in (("renders", 200), ("photos", 120)):
        (folder / role).mkdir()
        for i, image in enumerate(X[:20]):
            Image.fromarray((20 + gain * image[0].numpy()).astype(np.uint8)).save(folder / role / f"{i}.png")
    return (
        f'data.simulated={{name="folder", options={{root="{folder}/renders"}}}}',
        f'data.real={{name="folder", options={{root="{folder}/photos"}}}}',
        *(f"{name}=none" for name in ("data.real_labelled", "data.validation", "data.test", "evaluation.evaluator")),
        *("image={channels=1, height=48, width=48}", "schedule.steps=25", "schedule.report_every=5"),
        *("schedule.save_every=100", "loss.weight=auto"),
    )


def logged(run):
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "images_per_second"} for line in lines]


def test_a_fit_adapts_and_logs_lambda_and_resumes_to_the_bit(toy, settings, tmp_path):
    fit_toy(toy, tmp_path / "whole", *settings)
    lines = logged(tmp_path / "whole")
    game = {line["step"]: line for line in lines if line["phase"] == "game"}
    assert all("loss_weight" not in line for line in lines if line["phase"] != "game")
    assert (game[10]["loss_weight"], game[10].get("drift_px")) == (8.0, None)
    assert game[15]["loss_weight"] == game[20]["loss_weight"] != 8.0
    assert game[30]["loss_weight"] != game[20]["loss_weight"]
    assert 0 <= game[15]["drift_px"] < 4

    fit_toy(toy, tmp_path / "parts", *settings, "schedule.steps=13")
    fit_toy(toy, tmp_path / "parts", *settings, resume=True)
    assert weights(tmp_path / "parts") == weights(tmp_path / "whole")
    assert logged(tmp_path / "parts")[-1] == lines[-1]


def test_a_number_is_not_adapted_or_logged(toy, settings, tmp_path):
    fit_toy(toy, tmp_path, *settings, "loss.weight=8")
    assert not any("loss_weight" in line or "drift_px" in line for line in logged(tmp_path))


def test_a_domain_of_small_images_is_refused_before_the_first_step(toy, tmp_path):
    with pytest.raises(UserError, match=r"loss\.weight=auto"):
        fit_toy(toy, tmp_path / "run", "loss.weight=auto")
    assert list(tmp_path.iterdir()) == []
