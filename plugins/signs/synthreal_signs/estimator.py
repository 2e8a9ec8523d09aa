"""The downstream task: which speed limit a photograph shows.

Each image is reduced to grey and standardised to mean 0 and deviation 1. Photographs of the same sign differ twentyfold
in brightness, and light and sensor turn its ring from red to brown, blue or green; a model that saw this would learn
the few signs of the training set by heart, and nobody would train one like that. Training images are shifted, scaled
and rotated, because a detector never crops exactly.

Chosen on the validation tracks (2026-12-01; 8,000 images x 10 epochs, batch 64, Adam 2e-3, means of three seeds;
chance: 87.5 %): trained on photographs 5.8 % of errors, on drawn signs 15.5 %. With half of the movement, photographs
give 5.5 %, and drawn signs of a narrower range of sizes 20.6 % (with all of it 21.3 %). Drawn signs of another range
give 25.6 % in colour and 16.7 % in grey. A training step takes about 16 ms on one core with AVX512-BF16.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import affine_grid, cross_entropy, grid_sample, one_hot

from synthreal import Batch, EvaluatorSpec, ImageSpec, Options, UserError
from synthreal_signs.detector import locate_ring
from synthreal_signs.geometry import CLASS, SPEEDS
from synthreal_signs.plate import EXTENT

SMALLEST = 16  # px
SHIFT, SCALE, ROTATION_DEG = 0.08, 0.18, 12.0  # of training images, at most; the shift is a share of the side


class EstimatorOptions(Options):
    """Size of the network."""

    width: int = Field(16, ge=1, le=256, description="Feature maps of the first stage; the others have twice as many.")
    hidden: int = Field(64, ge=1, le=4096, description="Units of the hidden fully connected layer.")
    dropout: float = Field(0.3, ge=0, lt=1, description="Share of inputs of the fully connected layers set to 0.")


class SignNet(nn.Module):
    """Six 3x3 convolutions in three stages, each halving the sides, and two fully connected layers."""

    def __init__(self, options: EstimatorOptions, image: ImageSpec) -> None:
        """Build the network for one image size. Raises ``UserError`` if it is too small."""
        super().__init__()
        if min(image.height, image.width) < SMALLEST:
            raise UserError(
                f"the signs estimator needs images of at least {SMALLEST}x{SMALLEST} px, not "
                f"{image.height}x{image.width}; use larger ones, or evaluation.evaluator=none"
            )
        width = options.width
        layers: list[nn.Module] = []
        for maps, following in pairwise((1, width, 2 * width, 2 * width)):
            layers += [*_conv(maps, following), *_conv(following, following), nn.MaxPool2d(2)]
        found = 2 * width * (image.height // 8) * (image.width // 8)
        self.features = nn.Sequential(*layers, nn.Flatten())
        self.head = nn.Sequential(
            nn.Dropout(options.dropout),
            nn.Linear(found, options.hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(options.dropout),
            nn.Linear(options.hidden, len(SPEEDS)),
        )

    def forward(self, image: Tensor) -> Tensor:
        """Logits ``(B, 8)`` of images ``(B, C, H, W)`` in [0, 1]."""
        logits: Tensor = self.head(self.features(standardise(image)))
        return logits


def _conv(channels: int, maps: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(channels, maps, 3, padding=1, bias=False), nn.BatchNorm2d(maps), nn.ReLU(inplace=True)


def standardise(image: Tensor) -> Tensor:
    """Grey images ``(B, 1, H, W)``, the mean over channels, with mean 0 and deviation 1 each; a plain image is 0."""
    grey = image.mean(1, keepdim=True)
    centred = grey - grey.mean((1, 2, 3), keepdim=True)
    return centred / centred.square().mean((1, 2, 3), keepdim=True).sqrt().clamp_min(1e-3)


def augment(batch: Batch, generator: torch.Generator) -> Batch:
    """Shift by up to 8 % of the side, scale by up to 18 %, rotate by up to 12 degrees; the border continues outside.

    Only the class remains valid and is returned.
    """
    image = batch.image
    unit = 2 * torch.rand((4, len(image)), generator=generator, device=image.device) - 1
    right, down = 2 * SHIFT * unit[:2]
    scale, angle = 1 + SCALE * unit[2], math.radians(ROTATION_DEG) * unit[3]
    cos, sin = scale * angle.cos(), scale * angle.sin()
    aspect = image.shape[-2] / image.shape[-1]
    rows = [torch.stack((cos, -sin * aspect, right), 1), torch.stack((sin / aspect, cos, down), 1)]
    grid = affine_grid(torch.stack(rows, 1), list(image.shape), align_corners=False)
    moved = grid_sample(image, grid, padding_mode="border", align_corners=False)
    return Batch(moved, {CLASS.name: batch.labels[CLASS.name]})


def loss(pred: Tensor, labels: Mapping[str, Tensor]) -> Tensor:
    """Cross-entropy of logits ``(B, 8)``, mean over the batch, ``()``."""
    return cross_entropy(pred.float(), labels[CLASS.name])


def metrics(pred: Tensor, labels: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``error_percent``, 0 for the right class and 100 for another, and ``error_kmh``, how far off it is, ``(B,)``."""
    found, true = pred.argmax(1), labels[CLASS.name]
    speeds = torch.tensor(SPEEDS, dtype=torch.float32, device=true.device)
    return {
        "error_percent": 100.0 * (found != true).float(),
        "error_kmh": (speeds[found] - speeds[true]).abs(),
    }


def most_frequent(labels: Mapping[str, Tensor]) -> Tensor:
    """Logits ``(1, 8)`` of the class that most images have."""
    counts = labels[CLASS.name].bincount(minlength=len(SPEEDS))
    return one_hot(counts.argmax()[None], len(SPEEDS)).float()


def answer(pred: Tensor, labels: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Logits ``(B, 8)`` as the label ``class`` ``(B,)``."""
    return {CLASS.name: pred.argmax(1)}


EVALUATOR = EvaluatorSpec(
    name="signs",
    requires=(CLASS,),
    options=EstimatorOptions,
    build=SignNet,
    loss=loss,
    metrics=metrics,
    primary="error_percent",
    curve=("error_kmh", tuple(float(kmh) for kmh in range(0, 101, 10))),
    augment=augment,
    locate=locate_ring,
    landmarks=EXTENT.name,
    constant=most_frequent,
    answer=answer,
)
