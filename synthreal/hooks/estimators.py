"""The built-in estimators of labelled pictures: one of classes, one of numbers.

Both are small convolutional networks that see a picture reduced to 64 px at most and standardised: a model that reads
brightness and contrast would tell renders from photographs by them, and no user would train one like that.

2026-11-30, 8 classes of speed limit signs (GTSRB), trained on 2,400 photographs of about 125 tracks, tested on 740 of
70 others, 20 epochs (50 to 65 s on a busy core): 18 and 20 % of errors (two seeds). One seed each, 15 to 20 epochs: the
mean of the last feature maps 34 to 41 %, 4x4 places of them without shifted pictures 20 %, with twice the shift (two
seeds) 33 and 34 %, with rotation and more shift 26 to 32 %, max pooling 18 %. Two seeds differ by 2 %, so only the mean
and the larger shift are worse for certain. Numbers: the pointer of 2,000 drawn dials of 32 px, 12 epochs (18 s), is off
by 2.5 degrees of 265 (3 % of the deviation).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn.functional import affine_grid, cross_entropy, grid_sample, interpolate, one_hot, smooth_l1_loss

from synthreal.data.quantities import join_components, split_components
from synthreal.errors import UserError
from synthreal.spec import ANY, Batch, EvaluatorSpec, ImageSpec, LabelSpec, Options

LARGEST = 64  # px of the longer side that the networks see
SMALLEST = 8
PLACES = 4  # in height and width, at which the classifier sees the features
DROPOUT = 0.5
SHIFT, SCALE = 0.04, 0.1  # of training pictures with classes, at most
CLASS = LabelSpec("class", (), "index")
VALUES = LabelSpec("values", (ANY,), "as given")


class ClassificationOptions(Options):
    """Options of the estimator of classes."""

    classes: int = Field(ge=2, le=10_000, description="Number of classes.")
    width: int = Field(16, ge=1, le=1024, description="Feature maps of the first of four convolutions; each doubles.")


class RegressionOptions(Options):
    """Options of the estimator of numbers."""

    mean: tuple[float, ...] = Field(min_length=1, description="Mean of each number of the training images.")
    deviation: tuple[float, ...] = Field(description="Standard deviation of each; errors are in per cent of it.")
    width: int = Field(16, ge=1, le=1024, description="Feature maps of the first of four convolutions; each doubles.")

    @model_validator(mode="after")
    def _match(self) -> Self:
        if len(self.mean) != len(self.deviation) or min(self.deviation) <= 0:
            raise ValueError("deviation: give one for each mean, greater than 0")
        return self


class Numbers(NamedTuple):
    """A prediction of numbers ``(B, K)`` as they are labelled, and the deviation ``(K,)`` of the training images."""

    values: Tensor
    deviation: Tensor


class Standardised(nn.Module):
    """Brings images to mean 0 and deviation 1 of all pixels and channels, and to 64 px at most, antialiased."""

    def forward(self, image: Tensor) -> Tensor:
        """``(B, C, H, W)`` to ``(B, C, h, w)``."""
        longest = max(image.shape[2:])
        if longest > LARGEST:
            size = [max(SMALLEST, round(side * LARGEST / longest)) for side in image.shape[2:]]
            image = interpolate(image, size, mode="bilinear", antialias=True)
        centred = image - image.mean((1, 2, 3), keepdim=True)
        return centred / centred.square().mean((1, 2, 3), keepdim=True).sqrt().clamp_min(1e-3)


def _convolutions(channels: int, width: int) -> nn.Sequential:
    layers: list[nn.Module] = [Standardised()]
    for place, (maps, following) in enumerate(pairwise((channels, width, 2 * width, 4 * width, 8 * width))):
        layers += [
            nn.Conv2d(maps, following, 3, stride=2 if place else 1, padding=1, bias=False),
            nn.BatchNorm2d(following),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


class Classifier(nn.Module):
    """The network of ``classification``."""

    def __init__(self, options: ClassificationOptions, image: ImageSpec) -> None:
        super().__init__()
        self.features = _convolutions(image.channels, options.width)
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(PLACES),
            nn.Flatten(),
            nn.Dropout(DROPOUT),
            nn.Linear(8 * options.width * PLACES**2, options.classes),
        )

    def forward(self, image: Tensor) -> Tensor:
        """Logits ``(B, classes)`` of images ``(B, C, H, W)`` in [0, 1]."""
        logits: Tensor = self.head(self.features(image))
        return logits


class Regressor(nn.Module):
    """The network of ``regression``."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, options: RegressionOptions, image: ImageSpec) -> None:
        super().__init__()
        self.features = _convolutions(image.channels, options.width)
        with torch.no_grad():
            found = self.features.eval()(torch.zeros(1, *image.shape)).numel()
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(found, 8 * options.width),
            nn.ReLU(inplace=True),
            nn.Linear(8 * options.width, len(options.mean)),
        )
        self.register_buffer("mean", torch.tensor(options.mean))
        self.register_buffer("deviation", torch.tensor(options.deviation))

    def forward(self, image: Tensor) -> Numbers:
        """The numbers of images ``(B, C, H, W)`` in [0, 1]."""
        standard = self.head(self.features(image)).float()
        return Numbers(self.mean + self.deviation * standard, self.deviation)


def jitter(batch: Batch, generator: torch.Generator) -> Batch:
    """Shift pictures by up to 4 % of their sides and scale them by up to 10 %; the border continues outside."""
    image = batch.image
    scale, right, down = (2 * torch.rand(3, len(image), generator=generator, device=image.device) - 1).unbind()
    zero, scale = torch.zeros_like(scale), 1 + SCALE * scale
    rows = [torch.stack([scale, zero, 2 * SHIFT * right], 1), torch.stack([zero, scale, 2 * SHIFT * down], 1)]
    grid = affine_grid(torch.stack(rows, 1), list(image.shape), align_corners=False)
    return Batch(grid_sample(image, grid, padding_mode="border", align_corners=False), batch.labels)


def classification_loss(pred: Tensor, labels: Mapping[str, Tensor]) -> Tensor:
    """Cross-entropy, mean over the batch, ``()``. Raises ``UserError`` for a class that the network lacks."""
    known, index = pred.shape[1], labels["class"]
    if not index.is_cuda and int(index.max()) >= known:  # on a GPU, looking would wait for it in every step
        raise UserError(
            f"class {int(index.max())} of an image is not one of evaluation.evaluator.options.classes ({known}); "
            "raise it"
        )
    return cross_entropy(pred.float(), index)


def classification_metrics(pred: Tensor, labels: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``error_percent`` ``(B,)``: 0 for the right class, 100 for another."""
    return {"error_percent": 100.0 * (pred.argmax(1) != labels["class"]).float()}


def most_frequent(labels: Mapping[str, Tensor]) -> Tensor:
    """Logits ``(1, classes)`` of the class that most images have."""
    return one_hot(labels["class"].bincount().argmax()[None]).float()


def regression_loss(pred: Numbers, labels: Mapping[str, Tensor]) -> Tensor:
    """Absolute error in deviations, squared below half of one, mean over batch and numbers, ``()``.

    Raises ``UserError`` if the network has another number of outputs than the label.
    """
    if pred.values.shape != labels["values"].shape:
        raise UserError(
            f"label 'values' has {labels['values'].shape[1]} numbers, evaluation.evaluator.options.mean "
            f"{pred.values.shape[1]}; give mean and deviation for each"
        )
    return smooth_l1_loss(pred.values / pred.deviation, labels["values"] / pred.deviation, beta=0.5)


def regression_metrics(pred: Numbers, labels: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``relative_error_percent``, of the deviation, and ``absolute_error``, as labelled: means over K, ``(B,)``."""
    error = (pred.values - labels["values"]).abs()
    return {"relative_error_percent": 100.0 * (error / pred.deviation).mean(1), "absolute_error": error.mean(1)}


def mean_numbers(labels: Mapping[str, Tensor]) -> Numbers:
    """The mean of the labels ``(1, K)``, and their deviation."""
    values = labels["values"]
    return Numbers(values.mean(0, keepdim=True), values.std(0, correction=0).clamp_min(torch.finfo().tiny))


CLASSIFICATION = EvaluatorSpec(
    name="classification",
    requires=(CLASS,),
    options=ClassificationOptions,
    build=Classifier,
    loss=classification_loss,
    metrics=classification_metrics,
    primary="error_percent",
    augment=jitter,
    constant=most_frequent,
    answer=lambda pred, labels: {"class": pred.argmax(1)},
)
REGRESSION = EvaluatorSpec(
    name="regression",
    requires=(VALUES,),
    options=RegressionOptions,
    build=Regressor,
    loss=regression_loss,
    metrics=regression_metrics,
    primary="relative_error_percent",
    constant=mean_numbers,
    answer=lambda pred, labels: {"values": pred.values},
    quantities=lambda labels: split_components(VALUES, labels["values"]),
    assign=lambda pred, values: pred._replace(values=join_components(values, pred.values.shape)),
)
