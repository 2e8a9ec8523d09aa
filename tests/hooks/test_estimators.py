"""The built-in estimators of labelled pictures."""

from __future__ import annotations

import pytest
import torch

from synthreal.config import ComponentConfig, EvaluationConfig
from synthreal.data.encoding import from_unit
from synthreal.data.resident import Resident
from synthreal.errors import UserError
from synthreal.evaluation.estimator import Task, constant_metrics, measure, train
from synthreal.hooks.catalog import Catalog, parse_options
from synthreal.hooks.estimators import CLASSIFICATION, REGRESSION, Numbers, Standardised
from synthreal.metrics.label_drift import annotation_drift
from synthreal.spec import Batch, ImageSpec

IMAGE = ImageSpec(channels=1, height=16, width=20)
BUDGET = EvaluationConfig(images=300, epochs=8, batch=20, learning_rate=2e-3)


def bars(n, seed):
    """Bars, upright or lying, at random places: their direction is the class, the place of their middle the numbers."""
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.arange(16.0), torch.arange(20.0), indexing="ij")
    place = torch.rand(n, 2, generator=generator) * torch.tensor([10.0, 6.0]) + 5.0
    direction = torch.randint(2, (n,), generator=generator)
    across, along = (x - place[:, :1, None]).abs(), (y - place[:, 1:, None]).abs()
    across, along = (torch.where(direction[:, None, None] == 1, *pair) for pair in ((across, along), (along, across)))
    image = 0.2 + 0.6 * ((across < 1.2) & (along < 4.5))[:, None]
    image = image + 0.05 * torch.randn(image.shape, generator=generator)
    labels = {"class": direction, "values": place - torch.tensor([100.0, 0.0])}
    return Resident(from_unit(image, "uint8"), labels)


OPTIONS = {
    CLASSIFICATION: {"classes": 2, "width": 8},
    REGRESSION: {"mean": (-90.0, 8.0), "deviation": (2.9, 1.7), "width": 8},
}


def trained(spec, data, **task):
    return train(Task(spec, spec.options(**OPTIONS[spec]), IMAGE, BUDGET, **task), data, seed=0)


@pytest.mark.parametrize(("spec", "most"), [(CLASSIFICATION, 5.0), (REGRESSION, 30.0)], ids=["classes", "numbers"])
def test_a_small_set_is_learned_and_judged_against_a_constant(spec, most):
    data, test = bars(300, 0), bars(200, 1)
    model = trained(spec, data)
    found = {name: float(values.mean()) for name, values in measure(spec, model, test).items()}
    constant = constant_metrics(spec, data.labels, test)
    assert found[spec.primary] < most < 0.5 * constant[spec.primary]
    drift = annotation_drift(spec, model, data, data)
    assert float(drift.moved[spec.primary].max()) == 0
    moved = Resident(data.image.roll(3, 3), data.labels)
    if spec is REGRESSION:
        assert annotation_drift(spec, model, data, moved).moved["absolute_error"].mean() > 0.7


def test_errors_are_in_per_cent_and_in_the_unit_of_the_labels():
    logits = torch.tensor([[1.0, 2.0], [3.0, 2.0]])
    found = CLASSIFICATION.metrics(logits, {"class": torch.tensor([1, 1])})
    assert found["error_percent"].tolist() == [0, 100]
    numbers = Numbers(torch.tensor([[1.0, 20.0], [4.0, 20.0]]), torch.tensor([2.0, 40.0]))
    found = REGRESSION.metrics(numbers, {"values": torch.tensor([[2.0, 20.0], [4.0, 40.0]])})
    assert found["relative_error_percent"].tolist() == [25, 25]
    assert found["absolute_error"].tolist() == [0.5, 10]


def test_constants_are_the_most_frequent_class_and_the_mean():
    labels = {"class": torch.tensor([2, 0, 2]), "values": torch.tensor([[1.0], [2.0], [6.0]])}
    assert CLASSIFICATION.constant(labels).tolist() == [[0, 0, 1]]
    mean = REGRESSION.constant(labels)
    assert mean.values.tolist() == [[3]] and mean.deviation.item() == pytest.approx(2.16, abs=0.01)


def test_brightness_and_contrast_change_no_prediction():
    image = torch.rand(2, 3, 20, 90, generator=torch.Generator().manual_seed(0))
    see = Standardised()
    assert see(image).shape == (2, 3, 14, 64)
    torch.testing.assert_close(see(0.1 + 0.3 * image), see(image), atol=1e-4, rtol=1e-4)
    assert see(torch.ones(1, 1, 8, 8)).abs().max() == 0
    assert see(torch.rand(1, 1, 4, 400)).shape == (1, 1, 8, 64)


@pytest.mark.parametrize("spec", OPTIONS, ids=["classes", "numbers"])
@pytest.mark.parametrize("size", [(1, 8, 8), (3, 200, 60), (2, 9, 300)])
def test_images_of_any_size_are_judged(spec, size):
    channels, height, width = size
    image = ImageSpec(channels=channels, height=height, width=width)
    pred = spec.build(spec.options(**OPTIONS[spec]), image)(torch.rand(2, *size))
    labels = {"class": torch.tensor([0, 1]), "values": torch.zeros(2, 2)}
    assert spec.loss(pred, labels).shape == ()
    assert {values.shape for values in spec.metrics(pred, labels).values()} == {(2,)}


def test_other_labels_than_those_of_the_options_are_an_error():
    logits, numbers = torch.zeros(2, 3), Numbers(torch.zeros(2, 3), torch.ones(3))
    with pytest.raises(UserError, match=r"class 3 of an image is not one of .*\.classes \(3\); raise it"):
        CLASSIFICATION.loss(logits, {"class": torch.tensor([0, 3])})
    with pytest.raises(UserError, match=r"label 'values' has 1 numbers, .*mean 3; give mean and deviation for each"):
        REGRESSION.loss(numbers, {"values": torch.zeros(2, 1)})


@pytest.mark.parametrize(
    ("name", "options", "part"),
    [
        ("regression", {"mean": [1], "deviation": [1, 2]}, "deviation: give one for each mean"),
        ("regression", {"mean": [1], "deviation": [0]}, "greater than 0"),
        ("regression", {"mean": [], "deviation": []}, "mean"),
        ("classification", {"classes": 1}, "classes"),
        ("classification", {}, "classes: missing"),
    ],
)
def test_wrong_options_are_named(name, options, part):
    spec = Catalog.of(()).evaluator(name)
    with pytest.raises(UserError) as error:
        parse_options(ComponentConfig(name=name, options=options), spec.options, "evaluation.evaluator")
    assert part in str(error.value)


def test_the_loss_of_numbers_does_not_depend_on_their_unit():
    numbers = Numbers(torch.tensor([[1.0], [3.0]]), torch.tensor([2.0]))
    thousand = Numbers(*(1000 * part for part in numbers))
    labels = torch.tensor([[0.5], [9.0]])
    one, other = (REGRESSION.loss(numbers, {"values": labels}), REGRESSION.loss(thousand, {"values": 1000 * labels}))
    torch.testing.assert_close(one, other)


def test_training_pictures_are_shifted_and_scaled_a_little():
    place = torch.zeros(60, 1, 60, 100)
    place[:, :, 29:31, 49:51] = 1.0
    batch = CLASSIFICATION.augment(Batch(place, {"class": torch.arange(60)}), torch.Generator().manual_seed(0))
    assert torch.equal(batch.labels["class"], torch.arange(60)) and batch.image.shape == place.shape
    y, x = torch.meshgrid(torch.arange(60.0), torch.arange(100.0), indexing="ij")
    mass = batch.image.sum((1, 2, 3))
    down, right = ((batch.image[:, 0] * side).sum((1, 2)) / mass for side in (y - 29.5, x - 49.5))
    assert 1.8 < down.abs().max() < 3 and 3.2 < right.abs().max() < 5
    assert mass.min() < 3.6 and mass.max() > 4.4
    assert REGRESSION.augment is None
