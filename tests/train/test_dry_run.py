"""The rehearsal: what a plugin gets wrong is told before step 0, in one line, and nothing is changed by trying."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import pytest
import torch
from quick import configured, fit_toy, weights
from torch import nn
from toy import synthreal_evaluators

from synthreal.errors import UserError
from synthreal.hooks.catalog import Catalog, Entry
from synthreal.spec import Batch, FeatureSpec, NetworkSpec
from synthreal.train.fit import steps

SPEC = synthreal_evaluators()[0]


def catalog_with(toy: Catalog, **change) -> Catalog:
    """The toy domain with another evaluator."""
    entry = toy.evaluators["pointer"]
    return replace(toy, evaluators=MappingProxyType({"pointer": Entry(replace(SPEC, **change), entry.origin)}))


def refused(catalog: Catalog, tmp_path, *settings: str) -> str:
    run = tmp_path / "run"
    with pytest.raises(UserError) as error:
        next(steps(configured(catalog, *settings), catalog, run))
    assert not run.exists()
    assert "\n" not in str(error.value)
    return str(error.value)


def error_px(pred, labels):
    return torch.linalg.vector_norm(pred - labels["centre"], dim=-1)[:, 0]


def fails(*arguments):
    raise KeyError("centr")


EVALUATORS = {
    "metrics broadcast": (
        {"metrics": lambda pred, labels: {"error_px": pred[:, 0, 0] - labels["centre"][:, :, 0]}},
        "evaluator 'pointer': metrics gives 'error_px' as (2, 2) for 2 images and (1, 1) for one; return (B,)",
    ),
    "metrics are one number": (
        {"metrics": lambda pred, labels: {"error_px": error_px(pred, labels).mean()}},
        "metrics gives 'error_px' as ()",
    ),
    "metrics are floats": ({"metrics": lambda pred, labels: {"error_px": 3.0}}, "metrics gives 'error_px' as a float"),
    "metrics are no mapping": ({"metrics": error_px}, "metrics returns no metrics"),
    "primary misspelt": ({"primary": "error_pix"}, "but primary or curve is 'error_pix'"),
    "curve misspelt": ({"curve": ("erorr_px", (1.0,))}, "but primary or curve is 'erorr_px'"),
    "curve of one number": ({"curve": ("error_px", 0.5)}, "evaluator 'pointer': curve fails: TypeError"),
    "loss of a batch": ({"loss": error_px}, "loss returns (2,); return one differentiable number"),
    "loss without gradient": (
        {"loss": lambda pred, labels: error_px(pred, labels).mean().detach()},
        "loss returns (); return one differentiable number",
    ),
    "loss with a wrong label": ({"loss": fails}, "evaluator 'pointer': loss fails: KeyError: 'centr'"),
    "augment gives a tensor": ({"augment": lambda batch, generator: batch.image}, "augment returns a Tensor; return a"),
    "build fails": ({"build": fails}, "evaluator 'pointer': build fails: KeyError"),
    "constant of another shape": ({"constant": lambda labels: torch.zeros(3, 7, 2)}, "constant fails: RuntimeError"),
    "answer misspelt": (
        {"answer": lambda pred, labels: {"center": pred}},
        "evaluator 'pointer': answer gives 'center', but the images have centre; name one of them",
    ),
    "answer of another shape": (
        {"answer": lambda pred, labels: {"centre": pred[:, 0]}},
        "answer gives 'centre' as (2, 2), the label is (2, 1, 2); make them equal",
    ),
    "answer is no mapping": ({"answer": lambda pred, labels: pred}, "answer returns no labels; return {name:"),
    "answer fails": ({"answer": fails}, "evaluator 'pointer': answer fails: KeyError"),
    "locate without K": ({"locate": lambda image: image.flatten(1)[:, :2]}, "locate returns (2, 2) for 2 images"),
    "landmarks misspelt": ({"landmarks": "center"}, "landmarks is 'center', which is no label of any data set"),
    "landmarks of another K": (
        {"locate": lambda image: SPEC.locate(image).expand(-1, 3, -1)},
        "landmarks is (2, 1, 2), but locate gives (2, 3, 2); make them equal",
    ),
}


@pytest.mark.parametrize("case", EVALUATORS)
def test_an_evaluator_that_would_fail_later_fails_now(toy, tmp_path, case):
    change, message = EVALUATORS[case]
    assert message in refused(catalog_with(toy, **change), tmp_path)


def test_the_place_in_the_plugins_file_is_named(toy, tmp_path):
    assert f"({__file__}:" in refused(catalog_with(toy, loss=fails), tmp_path)


class Returns(nn.Module):
    """A network that answers with a function of the image."""

    def __init__(self, answer) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.answer = answer

    def forward(self, image):
        return self.weight * self.answer(image)


NETWORKS = {
    ("refiner", lambda x: x[..., 1:]): "refiner 'mine' returns (2, 1, 12, 15) for images (2, 1, 12, 16)",
    ("refiner", lambda x: 2 * x - 1): "return images in [0, 1]",
    ("refiner", lambda x: fails()): "refiner 'mine' fails: KeyError",
    ("discriminator", lambda x: x.flatten(1)): "discriminator 'mine' returns (2, 192)",
    ("discriminator", lambda x: torch.cat([x, x], 1)): "discriminator 'mine' returns (2, 2, 12, 16)",
}


@pytest.mark.parametrize(("case", "message"), NETWORKS.items())
def test_a_network_that_does_not_fit_is_told(toy, tmp_path, case, message):
    part, answer = case
    spec = NetworkSpec(name="mine", part=part, build=lambda options, image: Returns(answer))
    networks = {**toy.networks, (part, "mine"): Entry(spec, toy.origins[-1])}
    catalog = replace(toy, networks=MappingProxyType(networks))
    assert message in refused(catalog, tmp_path, f"{part}=mine")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda x: x.flatten(1), "psi 'mine' returns (2, 192)"),
        (lambda x: x.detach(), "psi 'mine' returns a tensor without gradient"),
    ],
)
def test_a_psi_that_does_not_fit_is_told(toy, tmp_path, answer, message):
    class Psi(nn.Module):
        def forward(self, image):
            return answer(image)

    features = {**toy.features, "mine": Entry(FeatureSpec(name="mine", build=lambda o, i: Psi()), toy.origins[-1])}
    assert message in refused(replace(toy, features=MappingProxyType(features)), tmp_path, "features=mine")


def test_trying_changes_nothing(toy, tmp_path, monkeypatch):
    state = torch.get_rng_state()
    fit_toy(toy, tmp_path / "tried", "refiner.options.noise_channels=1")
    assert torch.equal(torch.get_rng_state(), state)
    monkeypatch.setattr("synthreal.train.setup.dry_run", lambda *arguments: None)
    fit_toy(toy, tmp_path / "untried", "refiner.options.noise_channels=1")
    assert weights(tmp_path / "tried") == weights(tmp_path / "untried")


def test_an_augmentation_may_drop_labels(toy, tmp_path):
    catalog = catalog_with(toy, augment=lambda batch, generator: Batch(batch.image, {"centre": batch.labels["centre"]}))
    next(steps(configured(catalog), catalog, tmp_path / "run"))
