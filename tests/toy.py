"""A complete toy domain for tests: find a bright disc. Real discs are darker, on striped noise.

It implements all five hooks and a recipe that trains in about three seconds on one core.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

import synthreal
from synthreal import Batch, DatasetSpec, EvaluatorSpec, FeatureSpec, ImageSpec, LabelSpec, NetworkSpec, Options
from synthreal.config import RunConfig

IMAGE = ImageSpec(channels=1, height=12, width=16, meaning="a disc on grey")
CENTRE = LabelSpec("centre", (1, 2), "px, x and y")


class DiscOptions(Options):
    radius: float = Field(default=2.5, gt=0, description="Radius of the disc in pixels.")


def disc(n: int, radius: float, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
    """Soft masks ``(n, 1, 12, 16)`` of discs at random places, and their centres ``(n, 1, 2)``."""
    device = generator.device
    span = torch.tensor([IMAGE.width - 1.0, IMAGE.height - 1.0], device=device)
    centre = 2 + torch.rand(n, 1, 2, generator=generator, device=device) * (span - 4)
    y, x = torch.meshgrid(torch.arange(12.0, device=device), torch.arange(16.0, device=device), indexing="ij")
    distance = torch.linalg.vector_norm(torch.stack([x, y], -1) - centre[..., None, :], dim=-1)[:, None]
    return (radius + 0.5 - distance).clamp(0, 1), {"centre": centre}


def simulator(options: DiscOptions, n: int, generator: torch.Generator) -> Batch:
    mask, labels = disc(n, options.radius, generator)
    return Batch(0.3 + 0.6 * mask, labels)


def camera(options: DiscOptions, n: int, generator: torch.Generator) -> Batch:
    mask, labels = disc(n, options.radius, generator)
    noise = torch.randn(mask.shape, generator=generator, device=generator.device)
    stripes = torch.sin(torch.arange(16.0, device=generator.device) * 1.6)
    return Batch((0.25 + 0.3 * mask + 0.05 * stripes + 0.03 * noise).clamp(0, 1), labels)


class PointerOptions(Options):
    width: int = Field(default=6, ge=1, description="Feature maps.")


class Pointer(nn.Module):
    """``(B, 1, 12, 16)`` to ``(B, 1, 2)`` px: the centre of gravity of a learned map."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.map = nn.Sequential(nn.Conv2d(1, width, 5, padding=2), nn.ReLU(), nn.Conv2d(width, 1, 5, padding=2))

    def forward(self, image: Tensor) -> Tensor:
        return gravity(torch.softmax(10 * self.map(image).float().flatten(2), dim=-1).view_as(image))


class Tint(nn.Module):
    """A refiner of two numbers: brightness and contrast."""

    def __init__(self) -> None:
        super().__init__()
        self.tone = nn.Parameter(torch.tensor([0.0, 1.0]))

    def forward(self, image: Tensor) -> Tensor:
        return self.tone[0] + self.tone[1] * image


def gravity(weight: Tensor) -> Tensor:
    total = weight.sum(dim=(2, 3)).clamp_min(1e-6)
    x, y = torch.arange(16.0, device=weight.device), torch.arange(12.0, device=weight.device)
    return torch.stack([(weight.sum(2) * x).sum(-1) / total, (weight.sum(3) * y).sum(-1) / total], dim=-1)


def locate(image: Tensor) -> Tensor:
    """The centre of gravity of pixels above half of the brightness range: ``(B, 1, 12, 16) -> (B, 1, 2)`` px."""
    low, high = image.amin((2, 3), keepdim=True), image.amax((2, 3), keepdim=True)
    return gravity((image - (low + high) / 2).clamp_min(0))


def metrics(prediction: Tensor, labels: dict[str, Tensor]) -> dict[str, Tensor]:
    error = torch.linalg.vector_norm(prediction - labels["centre"], dim=-1)[:, 0]
    return {"error_px": error, "within_1px": 100.0 * (error <= 1)}


@synthreal.hookimpl
def synthreal_datasets() -> list[DatasetSpec]:
    shared = {"image": IMAGE, "options": DiscOptions}
    discs = [DatasetSpec(name="discs", role="simulated", labels=(CENTRE,), render=simulator, **shared)]
    for role in ("real", "real_labelled", "validation", "test"):
        labels = () if role == "real" else (CENTRE,)
        discs.append(DatasetSpec(name="photographs", role=role, labels=labels, render=camera, **shared))
    return discs


@synthreal.hookimpl
def synthreal_networks() -> list[NetworkSpec]:
    return [NetworkSpec(name="tint", part="refiner", build=lambda options, image: Tint())]


@synthreal.hookimpl
def synthreal_features() -> list[FeatureSpec]:
    return [FeatureSpec(name="halves", build=lambda options, image: nn.AvgPool2d(2))]


@synthreal.hookimpl
def synthreal_evaluators() -> list[EvaluatorSpec]:
    return [
        EvaluatorSpec(
            name="pointer",
            requires=(CENTRE,),
            options=PointerOptions,
            build=lambda options, image: Pointer(options.width),
            loss=lambda prediction, labels: (prediction - labels["centre"]).abs().mean(),
            metrics=metrics,
            primary="error_px",
            curve=("error_px", (0.5, 1.0, 2.0, 4.0)),
            locate=locate,
            landmarks="centre",
        )
    ]


TOY = RunConfig.from_tree(
    {
        "data": {
            "simulated": {"name": "discs", "count": 300},
            "real": {"name": "photographs", "count": 200},
            "real_labelled": {"name": "photographs", "count": 100},
            "validation": {"name": "photographs", "count": 40},
            "test": {"name": "photographs", "count": 60},
        },
        "refiner": {"name": "resnet", "options": {"blocks": 1, "width": 8, "padding": "replicate"}},
        "discriminator": {"name": "local", "options": {"layers": [{"maps": 8, "kernel": 3, "stride": 2}]}},
        "loss": {"weight": 0.5},
        "history": {"size": 64},
        "schedule": {
            "refiner_steps": 20,
            "discriminator_steps": 10,
            "steps": 200,
            "batch": 16,
            "report_every": 10,
            "save_every": 100,
            "sheet_every": 100,
        },
        "optimizer": {"refiner": {"learning_rate": 2e-3}, "discriminator": {"learning_rate": 2e-3}, "ema": 0.9},
        "evaluation": {"evaluator": "pointer", "images": 200, "epochs": 6, "batch": 20, "learning_rate": 0.01},
        "runtime": {"device": "cpu", "precision": "float32", "threads": 1},
    }
)


@synthreal.hookimpl
def synthreal_recipes() -> dict[str, RunConfig]:
    return {"toy": TOY}
