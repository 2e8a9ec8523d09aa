"""The recipes: the numbers of the paper, and short runs."""

from __future__ import annotations

import json

import pytest
import torch
from hand_fixtures import write_nyu

import synthreal
from synthreal.config import ResolvedConfig, SGDConfig
from synthreal.data import Pack

pytestmark = pytest.mark.usefixtures("short_two_sample_tests")


@pytest.fixture(scope="module")
def hands() -> synthreal.Catalog:
    return synthreal.Catalog.of(["hands"])


def _parameters(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_plugin_registers_what_its_readme_lists(hands):
    ours = {key for key, entry in hands.datasets.items() if entry.origin.plugin == "hands"}
    real = ("real", "real_labelled", "validation", "test")
    expected = {("simulator", "simulated"), ("simulator-224", "simulated"), ("nyu", "simulated")}
    assert ours == expected | {(name, role) for name in ("camera", "camera-224", "nyu") for role in real}
    assert set(hands.recipes) == {"hands", "hands-nyu"}
    assert hands.recipe().recipe == "hands"


def test_a_recipe_survives_toml(hands):
    for settings in [{}, {"history": None}, {"schedule": {"patch": None}}]:
        for name in ["hands", "hands-nyu"]:
            config = synthreal.configure(hands, settings, recipe=name)
            assert ResolvedConfig.from_toml(config.to_toml()) == config


def test_hands_nyu_is_the_paper(hands):
    config = synthreal.configure(hands, recipe="hands-nyu")
    assert (config.image.shape, config.image.dtype) == ((1, 224, 224), "uint16")
    refiner = hands.build_network("refiner", config.refiner, config.image)
    discriminator = hands.build_network("discriminator", config.discriminator, config.image)
    assert (_parameters(refiner), refiner.receptive_field) == (4_018_625, 127)
    assert (_parameters(discriminator), discriminator.receptive_field) == (178_050, 71)
    assert discriminator(torch.rand(1, 1, 224, 224)).shape == (1, 1, 7, 7)
    with torch.no_grad():
        assert refiner(torch.rand(1, 1, 16, 16)).shape == (1, 1, 16, 16)
    schedule, optimizer = config.schedule, config.optimizer
    assert (schedule.refiner_steps, schedule.discriminator_steps) == (500, 200)
    assert (schedule.refiner_updates, schedule.discriminator_updates) == (2, 1)
    assert optimizer.refiner == optimizer.discriminator == SGDConfig(learning_rate=0.0098)
    evaluator = config.evaluation.evaluator.options
    assert (evaluator["stacks"], evaluator["maps"]) == (2, 64)


def test_the_learning_rate_is_the_papers_for_a_sum_over_patches(hands):
    """SGD at 0.0002 on the sum of 7x7 cross-entropies moves D exactly as 0.0098 on their mean."""
    config = synthreal.configure(hands, recipe="hands-nyu")
    image = torch.rand(2, 1, 224, 224, generator=torch.Generator().manual_seed(0))
    moved = []
    for rate, reduce in ((0.0002, "sum"), (config.optimizer.discriminator.learning_rate, "mean")):
        torch.manual_seed(0)
        network = hands.build_network("discriminator", config.discriminator, config.image)
        optimizer = torch.optim.SGD(network.parameters(), lr=rate)
        losses = torch.nn.functional.softplus(-network(image)).flatten(1)
        getattr(losses, reduce)(dim=1).mean().backward()
        optimizer.step()
        moved.append(torch.cat([parameter.detach().flatten() for parameter in network.parameters()]))
    torch.testing.assert_close(*moved)


def test_hands_nyu_runs_on_patches_of_files(hands, tmp_path):
    write_nyu(tmp_path / "nyu", frames=3)
    roles = ("simulated", "real", "real_labelled", "validation", "test")
    difference = {
        "data": {role: {"options": {"root": str(tmp_path / "nyu"), "views": [1, 2]}} for role in roles},
        "refiner": {"options": {"width": 4}},
        "schedule": {"refiner_steps": 2, "discriminator_steps": 2, "steps": 2, "batch": 2, "patch": 64},
        "runtime": {"device": "cpu", "threads": 1},
    }
    config = synthreal.configure(hands, difference, recipe="hands-nyu")
    last = synthreal.fit(config, hands, tmp_path / "run")
    assert last.step == 6 and last.phase == "game"
    assert sorted(path.name for path in (tmp_path / "run/data").iterdir()) == ["real.h5", "simulated.h5"]
    with Pack(tmp_path / "run/data/real.h5") as real:
        assert real.labels == ()
    refined = synthreal.Refine.load(tmp_path / "run")(torch.rand(1, 1, 224, 224))
    assert refined.shape == (1, 1, 224, 224)


SHORT = {
    # fewer real images than the two-sample test needs: it takes a minute
    "data": {"simulated": {"count": 20}, "real": {"count": 18}, "real_labelled": {"count": 20}, "test": {"count": 18}},
    "schedule": {"refiner_steps": 1, "discriminator_steps": 1, "steps": 3, "batch": 8},
    "evaluation": {"images": 20, "epochs": 1, "batch": 20, "evaluator": {"options": {"features": 8}}},
    "runtime": {"device": "cpu", "threads": 1},
}


def test_hands_fits_and_evaluates(hands, tmp_path):
    config = synthreal.configure(hands, SHORT)
    synthreal.fit(config, hands, tmp_path / "run")
    synthreal.evaluate([tmp_path / "run"])
    result = json.loads((tmp_path / "run/evaluation.json").read_text())
    assert list(result["arms"]) == ["simulated", "refined", "versions", "histogram", "real"]
    for summary in result["arms"].values():
        assert set(summary) == {"error_px", "error_mm", "pck_5px", "curve", "against_simulated"}
        curve = summary["curve"]
        assert curve["threshold"] == list(range(1, 21)) and curve["unit"] == "px"
        assert curve["percent"] == sorted(curve["percent"])
        assert curve["percent"][4] == pytest.approx(summary["pck_5px"]["mean"])
    assert set(result["constant"]) == {"error_px", "error_mm", "pck_5px"}
    preservation = result["preservation"]
    assert preservation["detector_error_px"] < 0.8 and 1.9 < preservation["control_px"] < 2.1


def test_the_history_stores_float32(hands):
    for name in ["hands", "hands-nyu"]:
        config = synthreal.configure(hands, recipe=name)
        assert config.image.dtype == "uint16" and config.history.dtype == "float32"


@pytest.mark.slow
def test_an_unsuitable_estimator_is_an_error_before_training(hands, tmp_path):
    difference = {
        "data": {
            role: {"name": f"{'simulator' if role == 'simulated' else 'camera'}-224", "count": 2}
            for role in ("simulated", "real", "real_labelled", "validation", "test")
        },
        "evaluation": {"evaluator": {"options": {"maps": 16}}},
        "runtime": {"device": "cpu", "threads": 1},
    }
    with pytest.raises(synthreal.UserError, match="maps: 16 for images of 224 px"):
        synthreal.fit(synthreal.configure(hands, difference), hands, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_keep_background_preserves_the_background(hands):
    for name in ["hands", "hands-nyu"]:
        config = synthreal.configure(
            hands, {"refiner": {"options": {"keep_background": True, "width": 4}}}, recipe=name
        )
        refiner = hands.build_network("refiner", config.refiner, config.image)
        spec = hands.dataset("simulator", "simulated")
        image = spec.render(spec.options(), 4, torch.Generator().manual_seed(0)).image
        noise = [torch.randn(4, refiner.noise_channels, 64, 64)] if refiner.noise_channels else []
        with torch.no_grad():
            refined = refiner(image, *noise)
        nothing = image == 1
        assert (refined[nothing] == 1).all()
        assert (refined[~nothing] != image[~nothing]).float().mean() > 0.99
