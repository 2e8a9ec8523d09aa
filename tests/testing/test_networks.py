"""The rules of networks and feature transforms, each broken alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from broken import PLUGIN, failed, with_network
from torch import nn

from synthreal.hooks.catalog import Entry
from synthreal.spec import FeatureSpec
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


def test_psi_of_one_size(toy):
    spec = FeatureSpec(name="fixed", build=lambda options, image: Fixed())
    catalog = replace(toy, features={**toy.features, "fixed": Entry(spec, toy.recipes["toy"].origin)})
    assert "psi 'fixed'" in failed(catalog, "convolutional")["convolutional"]
