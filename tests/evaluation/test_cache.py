"""An estimator is trained once: another image, seed, setting or version is another estimator."""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from toy import IMAGE, synthreal_evaluators

from synthreal.config import AugmentConfig, EvaluationConfig
from synthreal.core import augment
from synthreal.data.resident import Resident
from synthreal.errors import UserError
from synthreal.evaluation import cache as module
from synthreal.evaluation import estimator
from synthreal.evaluation.cache import train_or_load
from synthreal.evaluation.training_sets import TrainingSet

SPEC = synthreal_evaluators()[0]
BUDGET = EvaluationConfig(evaluator="pointer", images=30, epochs=1, batch=9)


@pytest.fixture
def count(monkeypatch):
    """The number of trainings so far."""
    calls, train = [], module.train
    monkeypatch.setattr(module, "train", lambda *what, **how: (calls.append(1), train(*what, **how))[1])
    return calls


def data(seed=0, augment=None):
    generator = torch.Generator().manual_seed(seed)
    image = torch.randint(0, 255, (30, *IMAGE.shape), dtype=torch.uint8, generator=generator)
    return TrainingSet(Resident(image, {"centre": 12 * torch.rand(30, 1, 2, generator=generator)}), augment)


def kept(folder, arm="simulated", images=None, config=BUDGET, seed=0, versions=None):
    return train_or_load(
        folder,
        arm,
        SPEC,
        SPEC.options(),
        IMAGE,
        images or data(),
        config,
        seed=seed,
        autocast=None,
        versions=versions or {"synthreal": "1"},
    )


def test_the_same_is_not_trained_twice_and_gives_the_same_answers(tmp_path, count):
    before = torch.random.get_rng_state()
    first = kept(tmp_path / "kept")
    second = kept(tmp_path / "kept")
    assert len(count) == 1 and torch.equal(torch.random.get_rng_state(), before)
    x = torch.rand(4, *IMAGE.shape)
    assert torch.equal(first(x), second(x)) and not second.training


@pytest.mark.parametrize(
    "other",
    [
        {"images": data(seed=1)},
        {"images": data(augment=AugmentConfig())},
        {"config": BUDGET.model_copy(update={"epochs": 2})},
        {"seed": 1},
        {"versions": {"synthreal": "2"}},
    ],
)
def test_anything_else_is_another_estimator(tmp_path, count, other):
    kept(tmp_path)
    kept(tmp_path, **other)
    assert len(count) == 2 and len(list(tmp_path.iterdir())) == 2


def test_another_meaning_or_colormap_is_the_same_estimator(tmp_path, count):
    for image in (IMAGE, replace(IMAGE, meaning="an eye", colormap="viridis")):
        train_or_load(
            tmp_path, "simulated", SPEC, SPEC.options(), image, data(), BUDGET, seed=0, autocast=None, versions={}
        )
    assert len(count) == 1


@pytest.mark.parametrize(("changed", "trainings"), [("task", 2), ("angles", 2), ("deeper", 2), ("other", 1)], ids=str)
def test_a_change_of_what_the_task_takes_from_its_package_is_another_estimator(
    tmp_path, count, monkeypatch, changed, trainings
):
    """metrics() of a module calls a helper of another: the helper decides which epoch is kept."""
    package = tmp_path / "domain_of_test"
    package.mkdir()
    (package / "__init__.py").write_text("from domain_of_test import other, task\n")
    (package / "other.py").write_text("")
    (package / "deeper.py").write_text("SCALE = 1\n")
    (package / "angles.py").write_text("from domain_of_test import deeper\n\ndef angle(a, b):\n    return a - b\n")
    (package / "task.py").write_text(
        "from toy import metrics as known\nfrom domain_of_test.angles import angle\n\n"
        "def metrics(prediction, labels):\n    return known(prediction, labels)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    spec = replace(SPEC, metrics=importlib.import_module("domain_of_test").task.metrics)
    try:
        for _ in range(2):
            train_or_load(
                tmp_path / "kept", "refined", spec, spec.options(), IMAGE, data(), BUDGET, seed=0, autocast=None,
                versions={},
            )  # fmt: skip
            with (package / f"{changed}.py").open("a") as file:
                file.write("# changed\n")
    finally:
        for name in [name for name in sys.modules if name.startswith("domain_of_test")]:
            del sys.modules[name]
    assert len(count) == trainings


@pytest.mark.parametrize("training", [estimator, augment], ids=lambda module: module.__name__)
def test_a_change_of_how_estimators_are_trained_is_another_estimator(tmp_path, count, monkeypatch, training):
    kept(tmp_path / "kept")
    changed = tmp_path / "changed.py"
    changed.write_bytes(Path(training.__file__).read_bytes() + b"# changed\n")
    monkeypatch.setattr(training, "__file__", str(changed))
    kept(tmp_path / "kept")
    assert len(count) == 2


def test_settings_of_other_arms_do_not_count(tmp_path, count):
    kept(tmp_path)
    kept(tmp_path, config=BUDGET.model_copy(update={"augment": AugmentConfig(noise=0.5)}))
    assert len(count) == 1


def test_a_damaged_file_is_told_and_left(tmp_path):
    kept(tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_bytes(b"torn")
    with pytest.raises(UserError, match=r"simulated-\w+\.safetensors: not a whole .*; delete it and evaluate again"):
        kept(tmp_path)
    assert file.read_bytes() == b"torn"


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write"):
        kept(tmp_path / "file")


def found(folder, images=None, config=BUDGET, versions=None, arm="simulated"):
    return module.load_cached(
        folder,
        arm,
        SPEC,
        SPEC.options(),
        IMAGE,
        images or data(),
        config,
        autocast=None,
        versions=versions or {"synthreal": "1"},
    )


def test_what_is_kept_is_found_whatever_its_seed_and_nothing_is_trained(tmp_path, count):
    assert found(tmp_path / "nowhere") is None
    first = kept(tmp_path, seed=3)
    x = torch.rand(4, *IMAGE.shape)
    again = found(tmp_path)
    assert again is not None and torch.equal(first(x), again(x)) and not again.training
    assert found(tmp_path, images=data(1)) is None
    assert found(tmp_path, config=BUDGET.model_copy(update={"epochs": 2})) is None
    assert found(tmp_path, versions={"synthreal": "2"}) is None
    assert found(tmp_path, arm="refined") is None
    assert len(count) == 1


def test_a_file_of_another_hand_is_passed_over_and_a_damaged_one_told(tmp_path):
    from synthreal.inference.weights import write_weights

    model = kept(tmp_path)
    write_weights(tmp_path / "simulated-0.safetensors", model, {"content": "{"})
    write_weights(tmp_path / "simulated-00.safetensors", model, {})
    assert found(tmp_path) is not None
    (tmp_path / "simulated-000.safetensors").write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"simulated-000\.safetensors: not a whole safetensors file .*delete it"):
        found(tmp_path)
