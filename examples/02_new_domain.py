"""A whole new domain in one file: read a dial. Drawn dials are clean, photographed ones are dim, blurred and noisy.

    synthreal fit --plugin examples/02_new_domain.py
    synthreal evaluate runs/dials

Replace ``drawn`` by your simulator and ``photographed`` by your pictures, and the rest stays as it is.
"""

from itertools import pairwise

import torch
from pydantic import Field
from torch import nn
from torch.nn.functional import interpolate

import synthreal
from synthreal import Batch, DatasetSpec, EvaluatorSpec, ImageSpec, LabelSpec, Options
from synthreal.config import RunConfig

SIDE = 32
DIAL = ImageSpec(channels=1, height=SIDE, width=SIDE, meaning="grey photograph of a dial")
NEEDLE = LabelSpec("needle", (2,), "unit vector, x right, y down")


class DialOptions(Options):
    """What the simulator draws."""

    ticks: int = Field(12, ge=4, le=36, description="Marks round the dial.")


def face(ticks, n, generator):
    """Clean dials ``(n, 1, 32, 32)`` and the labels that are exactly true of them."""

    def uniform(low, high):
        unit = torch.rand((n, 1, 1), generator=generator, device=generator.device)
        return low + (high - low) * unit

    axis = torch.arange(SIDE, device=generator.device)
    x, y = axis - (15.5 + uniform(-1, 1)), axis[:, None] - (15.5 + uniform(-1, 1))
    radius, angle = (x**2 + y**2).sqrt(), uniform(0, 2 * torch.pi)
    rim = uniform(12, 14)
    along, across = x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()
    needle = (1.4 - across.abs()).clamp(0, 1) * (along > -3) * (along < rim - 4)
    mark = (torch.cos(ticks * torch.atan2(y, x)) > 0.8) & (radius > rim - 3) & (radius < rim)
    disc = (rim + 1 - radius).clamp(0, 1)
    image = (0.35 + 0.6 * disc - 0.55 * mark - 0.85 * needle * disc).clamp(0, 1)
    direction = torch.cat([angle.cos(), angle.sin()], dim=1)[..., 0]
    return image[:, None], {NEEDLE.name: direction}


def drawn(options, n, generator):
    """The simulator: any number of dials, a function of the generator alone, on its device."""
    return Batch(*face(options.ticks, n, generator))


def photographed(options, n, generator):
    """The camera: the same dials in bad light; a stand-in for the photographs you have."""
    image, labels = face(options.ticks, n, generator)
    light = torch.rand((n, 1, 2, 2), generator=generator, device=generator.device)
    light = interpolate(light, size=(SIDE, SIDE), mode="bilinear", align_corners=True)
    soft = nn.functional.avg_pool2d(image, 3, stride=1, padding=1, count_include_pad=False)
    noise = torch.randn(image.shape, generator=generator, device=generator.device)
    return Batch((0.15 + soft * (0.35 + 0.25 * light) + 0.06 * noise).clamp(0, 1), labels)


class Reader(nn.Module):
    """The model you want to train: dials ``(B, 1, 32, 32)`` to needle directions ``(B, 2)``."""

    def __init__(self, width):
        super().__init__()
        widths = pairwise([1, width, 2 * width, 2 * width, 2 * width])
        layers = [(nn.Conv2d(a, b, 3, stride=2, padding=1), nn.ReLU()) for a, b in widths]
        self.body = nn.Sequential(*(layer for pair in layers for layer in pair), nn.Flatten(), nn.Linear(8 * width, 2))

    def forward(self, image):
        """``(B, 1, 32, 32)`` to ``(B, 2)``."""
        return self.body(2 * image - 1)


class ReaderOptions(Options):
    """How large the model is."""

    width: int = Field(16, ge=1, description="Feature maps of the first layer.")


def error(pred, labels):
    """Angle between the answer and the truth, in degrees, ``(B,)``."""
    truth = labels[NEEDLE.name]
    cross = pred[:, 0] * truth[:, 1] - pred[:, 1] * truth[:, 0]
    return torch.rad2deg(torch.atan2(cross.abs(), (pred * truth).sum(-1)))


@synthreal.hookimpl
def synthreal_datasets():
    """Where images come from: one spec for each name and role."""
    yield DatasetSpec(name="drawn", role="simulated", image=DIAL, labels=(NEEDLE,), options=DialOptions, render=drawn)
    for role in ("real", "real_labelled", "validation", "test"):  # labels of role "real" never reach training
        yield DatasetSpec(
            name="photographed", role=role, image=DIAL, labels=(NEEDLE,), options=DialOptions, render=photographed
        )


@synthreal.hookimpl
def synthreal_evaluators():
    """What the images are for."""
    yield EvaluatorSpec(
        name="dial",
        requires=(NEEDLE,),
        options=ReaderOptions,
        build=lambda options, image: Reader(options.width),
        loss=lambda pred, labels: (pred - labels[NEEDLE.name]).square().sum(-1).mean(),
        metrics=lambda pred, labels: {"error_deg": error(pred, labels)},
        primary="error_deg",
        curve=("error_deg", (2.0, 5.0, 10.0, 20.0, 45.0)),
    )


@synthreal.hookimpl
def synthreal_recipes():
    """A complete run, sized to train in under a minute on a laptop."""
    real = {role: {"name": "photographed", "count": 1000} for role in ("real", "real_labelled", "validation", "test")}
    refiner = {"blocks": 3, "width": 12, "padding": "replicate", "noise_channels": 1}
    return {
        "dials": RunConfig.from_tree(
            {
                "data": {"simulated": {"name": "drawn", "count": 2000}, **real},
                "refiner": {"name": "resnet", "options": refiner},
                "features": ["gradients", {"name": "identity", "weight": 0.1}],
                "loss": {"weight": 4.0},
                "history": {"size": 1600},
                "schedule": {"refiner_steps": 50, "discriminator_steps": 20, "steps": 400, "batch": 16},
                "optimizer": {"refiner": {"learning_rate": 1e-3}, "discriminator": {"learning_rate": 1e-3}},
                "evaluation": {"evaluator": "dial", "images": 2000, "epochs": 8, "batch": 32},
                "runtime": {"threads": 1},  # images this small are slower on more
            }
        )
    }
