"""The dry run: mistakes of a plugin are reported before step 0 in one line, and the dry run has no side effects."""

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
from synthreal.train.build import build_game
from synthreal.train.dry_run import dry_run
from synthreal.train.fit import steps
from synthreal.train.sources import open_stream

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


# By function of the evaluator: the change, and the words of the message that name the offender.
EVALUATORS = {
    "metrics": [
        ({"metrics": lambda pred, labels: {"error_px": pred[:, 0, 0] - labels["centre"][:, :, 0]}}, "(2, 2)", "(1, 1)"),
        ({"metrics": lambda pred, labels: {"error_px": error_px(pred, labels).mean()}}, "'error_px'", "()"),
        ({"metrics": lambda pred, labels: {"error_px": 3.0}}, "'error_px'", "float"),
        ({"metrics": error_px}, "no metrics"),
        ({"primary": "error_pix"}, "primary", "'error_pix'"),
        ({"curve": ("erorr_px", (1.0,))}, "curve", "'erorr_px'"),
    ],
    "curve": [({"curve": ("error_px", 0.5)}, "TypeError")],
    "loss": [
        ({"loss": error_px}, "(2,)"),
        ({"loss": lambda pred, labels: error_px(pred, labels).mean().detach()}, "differentiable"),
        ({"loss": fails}, "KeyError: 'centr'", f"({__file__}:"),
    ],
    "augment": [({"augment": lambda batch, generator: batch.image}, "Tensor", "Batch")],
    "build": [({"build": fails}, "KeyError")],
    "constant": [({"constant": lambda labels: torch.zeros(3, 7, 2)}, "RuntimeError")],
    "answer": [
        ({"answer": lambda pred, labels: {"center": pred}}, "'center'", "centre"),
        ({"answer": lambda pred, labels: {"centre": pred[:, 0]}}, "'centre'", "(2, 2)", "(2, 1, 2)"),
        ({"answer": lambda pred, labels: pred}, "no labels"),
        ({"answer": fails}, "KeyError"),
    ],
    "quantities": [
        ({"quantities": lambda labels: {}, "assign": fails}, "{name: (B, *shape)}"),
        ({"quantities": lambda labels: {"x_px": labels["centre"].sum()}, "assign": fails}, "'x_px'", "()"),
        ({"quantities": fails, "assign": fails}, "KeyError"),
    ],
    "assign": [({"quantities": lambda labels: {"x_px": labels["centre"]}, "assign": fails}, "KeyError")],
    "locate": [({"locate": lambda image: image.flatten(1)[:, :2]}, "(2, 2)")],
    "landmarks": [
        ({"landmarks": "center"}, "'center'"),
        ({"locate": lambda image: SPEC.locate(image).expand(-1, 3, -1)}, "(2, 1, 2)", "(2, 3, 2)"),
    ],
}


@pytest.mark.parametrize("function", EVALUATORS)
def test_a_mistake_of_an_evaluator_is_reported_before_the_first_step(toy, tmp_path, function):
    for change, *words in EVALUATORS[function]:
        message = refused(catalog_with(toy, **change), tmp_path)
        assert message.startswith(f"evaluator 'pointer': {function} ")
        assert all(word in message for word in words), message


class Returns(nn.Module):
    """A network that returns a function of the image."""

    def __init__(self, function) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.function = function

    def forward(self, image):
        return self.weight * self.function(image)


NETWORKS = [
    ("refiner", lambda x: x[..., 1:], "(2, 1, 12, 15)"),
    ("refiner", lambda x: 2 * x - 1, "[0, 1]"),
    ("refiner", lambda x: fails(), "KeyError"),
    ("discriminator", lambda x: x.flatten(1), "(2, 192)"),
    ("discriminator", lambda x: torch.cat([x, x], 1), "(2, 2, 12, 16)"),
]


def test_a_network_of_wrong_output_is_reported(toy, tmp_path):
    for part, function, offender in NETWORKS:
        spec = NetworkSpec(name="mine", part=part, build=lambda options, image, function=function: Returns(function))
        networks = {**toy.networks, (part, "mine"): Entry(spec, toy.origins[-1])}
        message = refused(replace(toy, networks=MappingProxyType(networks)), tmp_path, f"{part}=mine")
        assert message.startswith(f"{part} 'mine' ") and offender in message


@pytest.mark.parametrize(
    ("function", "offender"), [(lambda x: x.flatten(1), "(2, 192)"), (lambda x: x.detach(), "without gradient")]
)
def test_a_psi_of_wrong_output_is_reported(toy, tmp_path, function, offender):
    class Psi(nn.Module):
        def forward(self, image):
            return function(image)

    features = {**toy.features, "mine": Entry(FeatureSpec(name="mine", build=lambda o, i: Psi()), toy.origins[-1])}
    message = refused(replace(toy, features=MappingProxyType(features)), tmp_path, "features=mine")
    assert message.startswith("psi 'mine' ") and offender in message


def test_the_dry_run_has_no_side_effects(toy, tmp_path, monkeypatch):
    state = torch.get_rng_state()
    fit_toy(toy, tmp_path / "with", "refiner.options.noise_channels=1")
    assert torch.equal(torch.get_rng_state(), state)
    monkeypatch.setattr("synthreal.train.setup.dry_run", lambda *arguments: None)
    fit_toy(toy, tmp_path / "without", "refiner.options.noise_channels=1")
    assert weights(tmp_path / "with") == weights(tmp_path / "without")


def test_the_only_image_of_a_process_is_tried_twice(toy, tmp_path):
    """Two processes that share a mini-batch of two have one image each."""
    config = configured(toy, "runtime.device=cpu")
    game = build_game(config, toy, torch.device("cpu"))
    with open_stream(config, toy, "simulated", device=torch.device("cpu"), run_dir=tmp_path) as stream:
        batch = stream.batch(0)
    one = Batch(batch.image[:1], {name: values[:1] for name, values in batch.labels.items()})
    dry_run(game, config, toy, one)


def test_an_augmentation_may_drop_labels(toy, tmp_path):
    catalog = catalog_with(toy, augment=lambda batch, generator: Batch(batch.image, {"centre": batch.labels["centre"]}))
    next(steps(configured(catalog), catalog, tmp_path / "run"))
