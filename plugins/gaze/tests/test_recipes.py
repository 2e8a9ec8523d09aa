"""The recipes: the numbers of the paper, and short runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from gaze_fixtures import write_pair, write_people

import synthreal
from synthreal.config import ResolvedConfig, SGDConfig
from synthreal.data import Pack

pytestmark = pytest.mark.usefixtures("short_two_sample_tests")


@pytest.fixture(scope="module")
def gaze() -> synthreal.Catalog:
    return synthreal.Catalog.of(["gaze"])


def _parameters(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_plugin_registers_what_its_readme_lists(gaze: synthreal.Catalog) -> None:
    ours = {key for key, entry in gaze.datasets.items() if entry.origin.plugin == "gaze"}
    real = ("real", "real_labelled", "validation", "test")
    assert ours == {("simulator", "simulated"), ("unityeyes", "simulated")} | {
        (name, role) for name in ("camera", "mpiigaze") for role in real
    }
    assert set(gaze.recipes) == {"gaze", "gaze-full", "gaze-mpiigaze"}
    assert gaze.recipe().recipe == "gaze"


def test_a_recipe_survives_toml(gaze: synthreal.Catalog) -> None:
    for settings in [{}, {"history": None}]:
        for name in ["gaze", "gaze-full", "gaze-mpiigaze"]:
            config = synthreal.configure(gaze, settings, recipe=name)
            assert ResolvedConfig.from_toml(config.to_toml()) == config


def test_gaze_mpiigaze_is_the_paper(gaze: synthreal.Catalog) -> None:
    config = synthreal.configure(gaze, recipe="gaze-mpiigaze")
    refiner = gaze.build_network("refiner", config.refiner, config.image)
    discriminator = gaze.build_network("discriminator", config.discriminator, config.image)
    assert (_parameters(refiner), refiner.receptive_field) == (296_129, 19)
    assert (_parameters(discriminator), discriminator.receptive_field) == (75_906, 23)
    assert discriminator(torch.rand(1, *config.image.shape)).shape == (1, 1, 9, 14)
    schedule = config.schedule
    assert (schedule.refiner_steps, schedule.discriminator_steps, schedule.batch) == (1000, 200, 512)
    assert config.optimizer.refiner == config.optimizer.discriminator == SGDConfig(learning_rate=0.126)
    assert config.data.simulated.options["equalize"] is True  # MPIIGaze's crops are equalised, UnityEyes' pictures not


@pytest.mark.parametrize("source", ["simulator", "unityeyes"])
def test_an_equalize_that_is_no_switch_is_refused_by_name(gaze: synthreal.Catalog, source: str) -> None:
    options = {"equalize": "perhaps"} | ({"root": "eyes"} if source == "unityeyes" else {})
    with pytest.raises(synthreal.UserError, match=r"equalize") as caught:
        synthreal.configure(gaze, {"data": {"simulated": {"name": source, "options": options}}})
    assert "\n" not in str(caught.value)


def test_gaze_full_has_the_papers_networks_and_renders_during_training(gaze: synthreal.Catalog, tmp_path: Path) -> None:
    config = synthreal.configure(gaze, recipe="gaze-full")
    refiner = gaze.build_network("refiner", config.refiner, config.image)
    assert (_parameters(refiner), config.schedule.batch, config.history.size) == (296_129, 512, 51_200)
    assert _parameters(gaze.build_network("discriminator", config.discriminator, config.image)) == 75_906
    assert (config.data.simulated.count, config.data.real.count) == (None, None)
    paper = synthreal.configure(gaze, recipe="gaze-mpiigaze")
    assert config.evaluation.evaluator == paper.evaluation.evaluator
    small = {"schedule": {"refiner_steps": 1, "discriminator_steps": 1, "steps": 1, "batch": 4}, "history": {"size": 8}}
    config = synthreal.configure(gaze, small, recipe="gaze-full")
    report = synthreal.fit(config, gaze, tmp_path / "run")
    assert report.step == 3 and report.loss_discriminator > 0


def test_gaze_mpiigaze_runs_on_files(gaze: synthreal.Catalog, tmp_path: Path) -> None:
    eyes, photographs = tmp_path / "eyes", tmp_path / "mpiigaze"
    for number in range(1, 5):
        write_pair(eyes, number)
    write_people(photographs)
    roles = ("real", "real_labelled", "validation", "test")
    difference = {
        "data": {"simulated": {"options": {"root": str(eyes)}}}
        | {role: {"options": {"root": str(photographs)}} for role in roles},
        "schedule": {"refiner_steps": 2, "discriminator_steps": 2, "steps": 2, "batch": 8, "report_every": 1},
        "history": {"size": 8},
    }
    config = synthreal.configure(gaze, difference, recipe="gaze-mpiigaze")
    reports = list(synthreal.steps(config, gaze, tmp_path / "run"))
    assert [report.phase for report in reports] == ["refiner"] * 2 + ["discriminator"] * 2 + ["game"] * 2
    assert all(report.loss_discriminator > 0 for report in reports[2:])
    refine = synthreal.Refine.load(tmp_path / "run", device="cpu")
    assert refine(torch.rand(2, 1, 35, 55)).shape == (2, 1, 35, 55)


def test_gaze_fits_and_evaluates(gaze: synthreal.Catalog, tmp_path: Path) -> None:
    counts = {"simulated": 96, "real": 64, "real_labelled": 64, "validation": 32, "test": 48}
    difference = {
        "data": {role: {"count": count} for role, count in counts.items()},
        "refiner": {"options": {"width": 4}},
        "history": {"size": 16},
        "schedule": {"refiner_steps": 4, "discriminator_steps": 2, "steps": 4, "batch": 8},
        "evaluation": {"images": 64, "epochs": 1},
    }
    run = tmp_path / "run"
    synthreal.fit(synthreal.configure(gaze, difference), gaze, run)
    result = synthreal.evaluate([run])
    assert json.loads((run / "evaluation.json").read_text()) == result.to_json()
    assert set(result.arms) == {"simulated", "refined", "versions", "histogram", "real"}
    assert set(result.arms["refined"].metrics) == {"error_deg", "within_7deg", "within_13deg"}
    assert result.test.n == 48
    assert result.preservation.detector_error_px < 0.9  # exact labels reach the detector


def test_photographs_of_a_folder_can_be_the_real_images(
    gaze: synthreal.Catalog, tmp_path: Path, samples: Callable[[str], Path]
) -> None:
    real = {"name": "folder", "options": {"root": str(samples("mpiigaze_unlabelled"))}}
    difference = {
        "data": {"real": real, "simulated": {"count": 32}},
        "refiner": {"options": {"width": 4}},
        "history": {"size": 16},
        "schedule": {"refiner_steps": 2, "discriminator_steps": 1, "steps": 2, "batch": 8},
    }
    last = synthreal.fit(synthreal.configure(gaze, difference), gaze, tmp_path / "run")
    assert last is not None and last.step == 5
    assert len(Pack(tmp_path / "run" / "data" / "real.h5")) == 224
