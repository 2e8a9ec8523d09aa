"""An estimator is trained once; another image, seed, setting or version is another estimator."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from toy import IMAGE, synthreal_evaluators

import synthreal.evaluation.cache as module
from synthreal.config import AugmentConfig, EvaluationConfig
from synthreal.data.encoding import to_unit
from synthreal.data.resident import Resident
from synthreal.errors import UserError
from synthreal.evaluation.cache import load_cached, train_or_load
from synthreal.evaluation.estimator import Task
from synthreal.evaluation.training_sets import TrainingSet
from synthreal.inference.weights import write_weights

SPEC = synthreal_evaluators()[0]
BUDGET = EvaluationConfig(evaluator="pointer", images=30, epochs=1, batch=9)
TASK = Task(SPEC, SPEC.options(), IMAGE, BUDGET, versions={"synthreal": "1"})


@pytest.fixture
def count(monkeypatch):
    """One entry for every training."""
    calls, train = [], module.train
    monkeypatch.setattr(module, "train", lambda *args, **kwargs: (calls.append(1), train(*args, **kwargs))[1])
    return calls


def data(seed=0, augment=None, versions=1):
    generator = torch.Generator().manual_seed(seed)
    image = torch.randint(0, 255, (30, *IMAGE.shape), dtype=torch.uint8, generator=generator)
    return TrainingSet(Resident(image, {"centre": 12 * torch.rand(30, 1, 2, generator=generator)}), augment, versions)


def cached(folder, images=None, task=TASK, seed=0):
    return train_or_load(folder, "simulated", task, images or data(), seed=seed)


def budget(**changed):
    return replace(TASK, budget=BUDGET.model_copy(update=changed))


def test_an_estimator_is_trained_once_and_read_back_with_the_same_predictions(tmp_path, count):
    before = torch.random.get_rng_state()
    first = cached(tmp_path / "estimators")
    second = cached(tmp_path / "estimators")
    assert len(count) == 1 and torch.equal(torch.random.get_rng_state(), before)
    x = torch.rand(4, *IMAGE.shape)
    assert torch.equal(first(x), second(x)) and not second.training


@pytest.mark.parametrize(
    "other",
    [
        {"images": data(seed=1)},
        {"images": data(augment=AugmentConfig())},
        {"images": data(versions=2)},
        {"images": replace(data(), photographs=data(seed=1).images)},
        {"task": budget(epochs=2)},
        {"task": replace(TASK, precision="bfloat16")},
        {"task": replace(TASK, layout="channels_first")},
        {"task": replace(TASK, versions={"synthreal": "2"})},
        {"seed": 1},
    ],
)
def test_any_change_of_data_configuration_seed_or_version_is_another_estimator(tmp_path, count, other):
    cached(tmp_path)
    cached(tmp_path, **other)
    assert len(count) == 2 and len(list(tmp_path.iterdir())) == 2


def test_settings_that_training_does_not_use_are_not_part_of_the_key(tmp_path, count):
    shown = replace(IMAGE, meaning="an eye", colormap="viridis")
    for task in (TASK, replace(TASK, image=shown), budget(augment=AugmentConfig(noise=0.5)), budget(calibration=3)):
        cached(tmp_path, task=task)
    assert len(count) == 1


def test_a_damaged_file_is_an_error_and_stays(tmp_path):
    cached(tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_bytes(b"torn")
    with pytest.raises(UserError, match=rf"{file.name}: .*; delete it and evaluate again"):
        cached(tmp_path)
    assert file.read_bytes() == b"torn"


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write"):
        cached(tmp_path / "file")


def test_load_cached_finds_an_estimator_of_any_seed_and_trains_nothing(tmp_path, count):
    assert load_cached(tmp_path / "nowhere", "simulated", TASK, data()) is None
    first = cached(tmp_path, seed=3)
    again = load_cached(tmp_path, "simulated", TASK, data())
    x = torch.rand(4, *IMAGE.shape)
    assert again is not None and torch.equal(first(x), again(x)) and not again.training
    assert load_cached(tmp_path, "simulated", TASK, data(1)) is None
    assert load_cached(tmp_path, "simulated", budget(epochs=2), data()) is None
    assert load_cached(tmp_path, "refined", TASK, data()) is None
    assert len(count) == 1


def test_load_cached_skips_foreign_files_and_reports_damaged_ones(tmp_path):
    model = cached(tmp_path)
    write_weights(tmp_path / "simulated-0.safetensors", model, {"content": "{"})
    write_weights(tmp_path / "simulated-00.safetensors", model, {})
    assert load_cached(tmp_path, "simulated", TASK, data()) is not None
    (tmp_path / "simulated-000.safetensors").write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"simulated-000\.safetensors: .*delete it"):
        load_cached(tmp_path, "simulated", TASK, data())


def test_a_teacher_is_trained_or_read_first_and_labels_the_photographs(tmp_path, count):
    photographs = data(seed=1).images
    taught = replace(data(), photographs=Resident(photographs.image))
    student = train_or_load(tmp_path, "simulated+teacher", TASK, taught, seed=0)
    assert sorted(path.name.partition("-")[0] for path in tmp_path.iterdir()) == ["simulated", "simulated+teacher"]
    teacher = cached(tmp_path)
    labelled = Resident(photographs.image, {"centre": teacher(to_unit(photographs.image)).detach()})
    alone = module.train(TASK, data().images, seed=0, photographs=labelled)
    x = torch.rand(4, *IMAGE.shape)
    torch.testing.assert_close(student(x), alone(x))
    assert not torch.equal(student(x), teacher(x))
    assert len(count) == 3 and train_or_load(tmp_path, "simulated+teacher", TASK, taught, seed=0) and len(count) == 3


def test_a_teacher_whose_predictions_are_no_labels_is_refused(tmp_path):
    spec = replace(SPEC, build=lambda options, image: Pairs(), loss=lambda pred, labels: pred[0].sum())
    spec = replace(spec, metrics=lambda pred, labels: {"error_px": pred[0].flatten(), "within_1px": pred[0].flatten()})
    taught = replace(data(), photographs=Resident(data(seed=1).images.image))
    with pytest.raises(UserError, match="cannot label images; give it an answer"):
        train_or_load(tmp_path, "simulated+teacher", replace(TASK, spec=spec), taught, seed=0)


class Pairs(nn.Module):
    """Predicts two tensors."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, image):
        return self.scale * image.mean((1, 2, 3)), self.scale
