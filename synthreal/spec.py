"""The words of the library: frozen values a domain plugin returns, and the images that flow between them.

Image convention, said once: float32 ``(B, C, H, W)`` in [0, 1] on the run's device. Networks map to
[-1, 1] inside themselves, so nobody else ever sees that range. On disk images are uint8, uint16 or float16;
stored integers map to [0, 1] by their dtype's maximum, and readers rescale physical units to that range.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict

from synthreal.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor, nn

Role = Literal["simulated", "real", "real_labelled", "validation", "test"]
Part = Literal["refiner", "discriminator"]
StoredDtype = Literal["uint8", "uint16", "float16"]

Colormap = Literal["viridis"]

ROLES: tuple[Role, ...] = get_args(Role)
PARTS: tuple[Part, ...] = get_args(Part)


class Options(BaseModel):
    """Base of every component's options: frozen, unknown keys refused. Without fields it means "no options"."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _odd(side: int) -> int:
    if side % 2 == 0:
        raise ValueError("must be odd, so that it has a middle")
    return side


OddSide = Annotated[int, AfterValidator(_odd)]


@dataclass(frozen=True, kw_only=True)
class ImageSpec:
    """What one image of a domain is.

    Attributes:
        channels: C, 1 to 4.
        height: H in pixels.
        width: W in pixels.
        dtype: how it is stored; integers map to [0, 1] by the dtype's maximum.
        meaning: one phrase for people ("grey eye crop", "depth, 0..1 = palm -150..+150 mm").
        background: value in [0, 1] of constant background, or None.
        invalid: value in [0, 1] that marks missing pixels, or None.
        colormap: "viridis" to show one channel in false colour on sheets, None for grey or RGB.
    """

    channels: int
    height: int
    width: int
    dtype: StoredDtype = "uint8"
    meaning: str = ""
    background: float | None = None
    invalid: float | None = None
    colormap: Colormap | None = None

    __pydantic_config__ = ConfigDict(extra="forbid")

    def __post_init__(self) -> None:
        if not 1 <= self.channels <= 4:
            raise UserError(f"ImageSpec.channels is {self.channels}; images have 1 to 4 channels")
        if self.height < 1 or self.width < 1:
            raise UserError(f"ImageSpec is {self.height}x{self.width} px; both sides must be at least 1")
        if self.dtype not in get_args(StoredDtype):
            raise UserError(f"ImageSpec.dtype is {self.dtype!r}; images are {', '.join(get_args(StoredDtype))}")
        if self.colormap is not None and self.colormap not in get_args(Colormap):
            raise UserError(f"ImageSpec.colormap is {self.colormap!r}; choose {', '.join(get_args(Colormap))} or none")
        for name in ("background", "invalid"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise UserError(f"ImageSpec.{name} is {value}; it is a value in [0, 1], or none")

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(C, H, W)``."""
        return (self.channels, self.height, self.width)

    def alike(self, other: ImageSpec) -> bool:
        """Whether images of one can be used as those of the other; what they mean and how they are shown may differ."""
        return (self.shape, self.dtype) == (other.shape, other.dtype)

    def __str__(self) -> str:
        return f"{self.channels}x{self.height}x{self.width} {self.dtype}"


@dataclass(frozen=True)
class LabelSpec:
    """One label that travels with an image: ``LabelSpec("gaze", (3,), "unit vector, camera frame")``."""

    name: str
    shape: tuple[int, ...]
    unit: str

    def __post_init__(self) -> None:
        if isinstance(self.shape, int):
            raise UserError(f"LabelSpec {self.name!r}: shape is {self.shape}; write it as ({self.shape},)")
        object.__setattr__(self, "shape", tuple(self.shape))

    def __str__(self) -> str:
        return f"{self.name}{list(self.shape)} {self.unit}"


@dataclass(frozen=True)
class Sample:
    """One image ``(C, H, W)`` in its stored dtype and its labels by name (empty when unlabelled)."""

    image: np.ndarray
    labels: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Skipped:
    """What a reader yields in place of a sample it could not read: listed and counted, never lost silently."""

    path: str
    reason: str


@dataclass(frozen=True)
class Batch:
    """Images ``(B, C, H, W)`` float32 in [0, 1] and labels ``(B, *L)``, on one device."""

    image: Tensor
    labels: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """A source of images in one role; it is either read from files or drawn by a simulator.

    Attributes:
        name: what the user types; several specs may share a name when their roles differ.
        role: what the images are for. ``real`` images never carry labels into training.
        image: their :class:`ImageSpec`; None adopts the run's (folders and packs of any domain).
        labels: the labels every sample carries.
        options: the pydantic model of its settings.
        read: ``(options) -> Iterator[Sample | Skipped]``, for data sets on disk. Raises ``UserError``.
        render: ``(options, n, generator) -> Batch``, for simulators that draw. The images live on
            ``generator.device`` and are a function of the generator's state alone.
    """

    name: str
    role: Role
    image: ImageSpec | None
    labels: tuple[LabelSpec, ...] = ()
    options: type[BaseModel] = Options
    read: Callable[[Any], Iterator[Sample | Skipped]] | None = None
    render: Callable[[Any, int, torch.Generator], Batch] | None = None

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise UserError(f"data set {self.name!r}: role {self.role!r} is not one of {', '.join(ROLES)}")
        if (self.read is None) == (self.render is None):
            raise UserError(f"data set {self.name!r}: give exactly one of read (files) and render (a simulator)")
        if not callable(self.read or self.render):
            raise UserError(f"data set {self.name!r}: read and render are functions, not {self.read or self.render!r}")
        if self.image is not None and not isinstance(self.image, ImageSpec):
            raise UserError(f"data set {self.name!r}: image is {self.image!r}; give an ImageSpec, or None")
        object.__setattr__(self, "labels", _labels(self.labels, f"data set {self.name!r}: labels"))
        _model(self.options, f"data set {self.name!r}")

    @property
    def carried(self) -> tuple[LabelSpec, ...]:
        """The labels that come along into a run or a pack: none of a data set of role ``real``."""
        return () if self.role == "real" else self.labels


def _labels(labels: Any, where: str) -> tuple[LabelSpec, ...]:
    if isinstance(labels, LabelSpec) or not all(isinstance(label, LabelSpec) for label in labels):
        raise UserError(f"{where} is {labels!r}; give a tuple of LabelSpecs")
    return tuple(labels)


def _model(options: Any, where: str) -> None:
    if not (isinstance(options, type) and issubclass(options, BaseModel)):
        raise UserError(f"{where}: options is {options!r}; give a subclass of synthreal.Options")


@dataclass(frozen=True, kw_only=True)
class NetworkSpec:
    """A refiner ``(B, C, H, W) -> (B, C, H, W)`` in [0, 1] or a discriminator ``-> (B, 1, h, w)`` logits.

    ``build(options, image)`` returns the module; a discriminator's logit > 0 means "refined". A refiner with an
    attribute ``noise_channels`` = K > 0 is called as ``refiner(image, noise)`` with noise ``(B, K, H, W)``.
    """

    name: str
    part: Part
    options: type[BaseModel] = Options
    build: Callable[[Any, ImageSpec], nn.Module]

    def __post_init__(self) -> None:
        if self.part not in PARTS:
            raise UserError(f"network {self.name!r}: part {self.part!r} is not one of {', '.join(PARTS)}")
        _model(self.options, f"network {self.name!r}")


@dataclass(frozen=True, kw_only=True)
class FeatureSpec:
    """A feature transform psi: ``build(options, image)`` returns a module ``(B, C, H, W) -> (B, D, h, w)``."""

    name: str
    options: type[BaseModel] = Options
    build: Callable[[Any, ImageSpec], nn.Module]

    def __post_init__(self) -> None:
        _model(self.options, f"psi {self.name!r}")


@dataclass(frozen=True, kw_only=True)
class EvaluatorSpec:
    """A downstream task: the model whose error on real images decides whether refining was worth it.

    Attributes:
        name: what the user types.
        requires: labels a data set must carry to train and test it.
        options: its settings.
        build: ``(options, image) -> nn.Module``, a fresh model; ``model(image (B, C, H, W)) -> pred``.
        loss: ``(pred, labels) -> ()``.
        metrics: ``(pred, labels) -> {name: (B,)}``, or ``(B, K)`` when an image holds K answers, such as joints, which
            then count alike; names end in their unit; a percentage is 0 or 100 for each.
        primary: the metric that decides, lower is better.
        curve: ``(metric, thresholds)`` for a cumulative error curve, or None.
        augment: ``(Batch, Generator) -> Batch`` on training batches, or None.
        locate: ``(image (B, C, H, W)) -> (B, K, 2)`` px (x, y): the domain's own detector, or None.
        landmarks: the label ``(K, 2)`` px that says exactly where ``locate`` should point on simulated images.
        constant: ``(labels) -> pred (1, ...)``, the constant answer; None: the mean of the first required label.
        answer: ``(pred, labels) -> {name: (B, *shape)}``: the labels by which ``pred`` would be right, those left out
            being the image's own; None: ``pred`` is the first required label.
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

    def __post_init__(self) -> None:
        object.__setattr__(self, "requires", _labels(self.requires, f"evaluator {self.name!r}: requires"))
        _model(self.options, f"evaluator {self.name!r}")
