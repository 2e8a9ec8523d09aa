"""The rules of networks and feature transforms, each broken alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from broken import PLUGIN, failed, with_network
from pydantic import Field
from torch import nn

from synthreal.hooks.catalog import Entry
from synthreal.spec import FeatureSpec, Options
from synthreal.testing.check import run_rule
from synthreal.testing.domain import Domain


class Halved(nn.Conv2d):
    def __init__(self):
        super().__init__(1, 1, 3, stride=2, padding=1)


class Bright(nn.Conv2d):
    def __init__(self):
        super().__init__(1, 1, 1)

    def forward(self, image):
        return super().forward(image) + 7


class Fixed(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(192, 192), nn.Sigmoid(), nn.Unflatten(1, (1, 12, 16)))


class Normalised(nn.Module):
    receptive_field = 3

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, image):
        return torch.sigmoid(self.conv(image - image.mean((2, 3), keepdim=True)))


class Wide(nn.Sequential):
    receptive_field = 3  # px; true of its height alone

    def __init__(self):
        super().__init__(nn.Conv2d(1, 1, (3, 7), padding=(1, 3)), nn.Sigmoid())


class Pooled(nn.Sequential):
    def __init__(self):
        super().__init__(nn.AdaptiveAvgPool2d(4), nn.Conv2d(1, 1, 1))


class Single(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(192, 1), nn.Unflatten(1, (1, 1, 1)))


@pytest.mark.parametrize(
    ("part", "module", "rule", "word"),
    [
        ("refiner", Halved, "refiner-sizes", "no strides"),
        ("refiner", Bright, "refiner-sizes", "tanh"),
        ("refiner", Fixed, "refiner-sizes", "15x21"),
        ("refiner", Normalised, "convolutional", "receptive_field = 3"),
        ("refiner", Wide, "convolutional", "receptive_field = 3"),
        ("discriminator", Fixed, "convolutional", "another size"),
        ("discriminator", Pooled, "convolutional", "no larger"),
    ],
)
def test_networks(toy, part, module, rule, word):
    message = failed(with_network(toy, part, module), rule)[rule]
    assert f"{part} 'mine'" in message and word in message


def test_a_discriminator_with_one_logit_claims_nothing(toy):
    outcome = run_rule(Domain.of(with_network(toy, "discriminator", Single), PLUGIN), "convolutional")
    assert outcome.status == "ok" and "mine" in outcome.message


def with_psi(toy, **fields):
    spec = FeatureSpec(**fields)
    return replace(toy, features={**toy.features, spec.name: Entry(spec, toy.recipes["toy"].origin)})


def test_psi_of_one_size(toy):
    catalog = with_psi(toy, name="fixed", build=lambda options, image: Fixed())
    assert "psi 'fixed'" in failed(catalog, "convolutional")["convolutional"]


def test_psi_with_strides_of_half_an_image_is_convolutional(toy, monkeypatch):
    domain = Domain.of(with_psi(toy, name="strided", build=lambda options, image: nn.AvgPool2d(32)), PLUGIN)
    image = replace(domain.config.image, height=64, width=64)
    monkeypatch.setitem(vars(domain), "config", domain.config.model_copy(update={"image": image}))
    assert run_rule(domain, "convolutional").status == "ok"


class Weights(Options):
    path: str = Field(description="A file of weights.")


def test_psi_whose_options_no_recipe_gives_is_not_tried(toy):
    catalog = with_psi(toy, name="filed", options=Weights, build=lambda options, image: Fixed())
    outcome = run_rule(Domain.of(catalog, PLUGIN), "convolutional")
    assert outcome.status == "ok" and "filed was not tried" in outcome.message and "path" in outcome.message


def test_networks_are_built_without_a_trace_in_the_global_generator(toy):
    before = torch.get_rng_state()
    catalog = with_psi(toy, name="drawn", build=lambda options, image: nn.Conv2d(1, 2, 3))
    assert failed(catalog, "convolutional") == {}
    assert torch.equal(torch.get_rng_state(), before)
