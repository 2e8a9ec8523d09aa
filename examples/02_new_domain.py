"""A complete domain in one file: reading a dial. Simulated dials are clean, real ones are dim, blurred and noisy.

    synthreal fit --plugin examples/02_new_domain.py
    synthreal evaluate runs/dials --trust  # the plugin that the run names is a file, not an installed package

For your own domain, replace ``render_simulated`` by your simulator and ``render_real`` by a reader of your photographs.
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
    """Appearance of the dials."""

    ticks: int = Field(12, ge=4, le=36, description="Number of marks around the dial.")


def render_dials(ticks, n, generator):
    """Clean dials ``(n, 1, 32, 32)`` and their exact labels."""

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


def render_simulated(options, n, generator):
    """The simulator: ``n`` dials that depend only on the options and the generator, on the generator's device."""
    return Batch(*render_dials(options.ticks, n, generator))


def render_real(options, n, generator):
    """A stand-in for photographs: dials in bad light, blurred and noisy."""
    image, labels = render_dials(options.ticks, n, generator)
    light = torch.rand((n, 1, 2, 2), generator=generator, device=generator.device)
    light = interpolate(light, size=(SIDE, SIDE), mode="bilinear", align_corners=True)
    blurred = nn.functional.avg_pool2d(image, 3, stride=1, padding=1, count_include_pad=False)
    noise = torch.randn(image.shape, generator=generator, device=generator.device)
    return Batch((0.15 + blurred * (0.35 + 0.25 * light) + 0.06 * noise).clamp(0, 1), labels)


class DialReader(nn.Module):
    """The downstream model: dials ``(B, 1, 32, 32)`` to needle directions ``(B, 2)``."""

    def __init__(self, width):
        super().__init__()
        widths = pairwise([1, width, 2 * width, 2 * width, 2 * width])
        layers = [(nn.Conv2d(a, b, 3, stride=2, padding=1), nn.ReLU()) for a, b in widths]
        self.body = nn.Sequential(*(layer for pair in layers for layer in pair), nn.Flatten(), nn.Linear(8 * width, 2))

    def forward(self, image):
        """``(B, 1, 32, 32)`` to ``(B, 2)``."""
        return self.body(2 * image - 1)


class DialReaderOptions(Options):
    """Size of the model."""

    width: int = Field(16, ge=1, description="Channels of the first layer.")


def angle_error(pred, labels):
    """Angle between prediction and truth in degrees, ``(B,)``."""
    truth = labels[NEEDLE.name]
    cross = pred[:, 0] * truth[:, 1] - pred[:, 1] * truth[:, 0]
    return torch.rad2deg(torch.atan2(cross.abs(), (pred * truth).sum(-1)))


@synthreal.hookimpl
def synthreal_datasets():
    """The sources of images: one spec per name and role."""
    common = {"image": DIAL, "labels": (NEEDLE,), "options": DialOptions}
    yield DatasetSpec(name="simulated-dials", role="simulated", render=render_simulated, **common)
    for role in ("real", "real_labelled", "validation", "test"):  # labels of role "real" never reach training
        yield DatasetSpec(name="real-dials", role=role, render=render_real, **common)


@synthreal.hookimpl
def synthreal_evaluators():
    """The downstream task that the images are for."""
    yield EvaluatorSpec(
        name="dial",
        requires=(NEEDLE,),
        options=DialReaderOptions,
        build=lambda options, image: DialReader(options.width),
        loss=lambda pred, labels: (pred - labels[NEEDLE.name]).square().sum(-1).mean(),
        metrics=lambda pred, labels: {"error_deg": angle_error(pred, labels)},
        primary="error_deg",
        curve=("error_deg", (2.0, 5.0, 10.0, 20.0, 45.0)),
    )


@synthreal.hookimpl
def synthreal_recipes():
    """A complete configuration that trains in under a minute on a laptop."""
    real = {role: {"name": "real-dials", "count": 1000} for role in ("real", "real_labelled", "validation", "test")}
    refiner = {"blocks": 3, "width": 12, "padding": "replicate", "noise_channels": 1}
    return {
        "dials": RunConfig.from_tree(
            {
                "data": {"simulated": {"name": "simulated-dials", "count": 2000}, **real},
                "refiner": {"name": "resnet", "options": refiner},
                "features": ["gradients", {"name": "identity", "weight": 0.1}],
                "loss": {"weight": 4.0},
                "history": {"size": 1600},
                "schedule": {"refiner_steps": 50, "discriminator_steps": 20, "steps": 400, "batch": 16},
                "optimizer": {"refiner": {"learning_rate": 1e-3}, "discriminator": {"learning_rate": 1e-3}},
                "evaluation": {"evaluator": "dial", "images": 2000, "epochs": 8, "batch": 32},
                "runtime": {"threads": 1},  # more threads are slower on small images
            }
        )
    }
