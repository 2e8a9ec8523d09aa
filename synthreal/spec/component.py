"""Components: networks, feature transforms and evaluators, which are chosen by name and built for a run's images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from pydantic import BaseModel

from synthreal.errors import UserError
from synthreal.spec.dataset import Batch, ImageSpec, LabelSpec, label_tuple
from synthreal.spec.options import Options, require_model

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

Part = Literal["refiner", "discriminator"]
PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True, kw_only=True)
class NetworkSpec:
    """A refiner ``(B, C, H, W) -> (B, C, H, W)`` in [0, 1] or a discriminator ``-> (B, 1, h, w)`` logits.

    ``build(options, image)`` returns the module. A logit > 0 means "refined". A refiner with an attribute
    ``noise_channels`` = K > 0 is called as ``refiner(image, noise)`` with noise ``(B, K, H, W)``.
    """

    name: str
    part: Part
    options: type[BaseModel] = Options
    build: Callable[[Any, ImageSpec], nn.Module]

    def __post_init__(self) -> None:
        if self.part not in PARTS:
            raise UserError(f"network {self.name!r}: part {self.part!r} is not one of {', '.join(PARTS)}")
        require_model(self.options, f"network {self.name!r}")


@dataclass(frozen=True, kw_only=True)
class FeatureSpec:
    """A feature transform psi: ``build(options, image)`` returns a module ``(B, C, H, W) -> (B, D, h, w)``.

    ``executes``: ``build`` can run code from a file that the options name, so it is called only with the user's trust.
    """

    name: str
    options: type[BaseModel] = Options
    build: Callable[[Any, ImageSpec], nn.Module]
    executes: bool = False

    def __post_init__(self) -> None:
        require_model(self.options, f"psi {self.name!r}")


@dataclass(frozen=True, kw_only=True)
class EvaluatorSpec:
    """A downstream task: the error of its model on real images shows whether refining helps.

    Attributes:
        name: the name in a configuration.
        requires: the labels, one or more, that a data set needs for training and testing the model.
        options: the pydantic model of its options.
        build: ``(options, image) -> nn.Module``, a new model; ``model(image (B, C, H, W)) -> pred``.
        loss: ``(pred, labels) -> ()``.
        metrics: ``(pred, labels) -> {name: (B,)}``, or ``(B, K)`` for K equally weighted answers per image, such as
            joints. Names end in their unit; a percentage is 0 or 100 per answer.
        primary: the metric that decides; lower is better.
        curve: ``(metric, thresholds)`` of a cumulative error curve, or None.
        augment: ``(Batch, Generator) -> Batch``, applied to training batches, or None.
        locate: ``(image (B, C, H, W)) -> (B, K, 2)`` px (x, y), a landmark detector of the domain, or None.
        landmarks: the label ``(K, 2)`` px with the true positions of what ``locate`` detects in simulated images.
        constant: ``(labels) -> pred (1, ...)``, a constant prediction; None: the mean of the first required label.
        answer: ``(pred, labels) -> {name: (B, *shape)}``, the labels for which ``pred`` is exact; labels left out are
            the image's own. None: ``pred`` is the first required label.
        quantities: ``(labels) -> {name: (B, *shape)}``, the numbers that an answer gets right or wrong, such as pitch
            and yaw; names end in their unit. None: the components of the first required label if the prediction has
            its shape, there is no ``answer`` and they are at most 2,000 numbers; otherwise none, as for classes.
        assign: ``(pred, {name: (B, *shape)}) -> pred``, a prediction with these quantities; given with ``quantities``.
    """

    name: str
    requires: tuple[LabelSpec, ...]
    options: type[BaseModel] = Options
    build: Callable[[Any, ImageSpec], nn.Module]
    loss: Callable[[Any, Mapping[str, Tensor]], Tensor]
    metrics: Callable[[Any, Mapping[str, Tensor]], Mapping[str, Tensor]]
    primary: str
    curve: tuple[str, tuple[float, ...]] | None = None
    augment: Callable[[Batch, torch.Generator], Batch] | None = None
    locate: Callable[[Tensor], Tensor] | None = None
    landmarks: str | None = None
    constant: Callable[[Mapping[str, Tensor]], Any] | None = None
    answer: Callable[[Any, Mapping[str, Tensor]], Mapping[str, Tensor]] | None = None
    quantities: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]] | None = None
    assign: Callable[[Any, Mapping[str, Tensor]], Any] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "requires", label_tuple(self.requires, f"evaluator {self.name!r}: requires"))
        if not self.requires:
            raise UserError(f"evaluator {self.name!r}: requires is empty; give the labels that its model predicts")
        if (self.quantities is None) != (self.assign is None):
            raise UserError(f"evaluator {self.name!r}: give both quantities and assign, or neither")
        require_model(self.options, f"evaluator {self.name!r}")
