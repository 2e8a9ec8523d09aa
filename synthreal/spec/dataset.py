"""Data sets: the format of their images and labels, one sample, one batch, and the spec of a data set in a role."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict

from synthreal.errors import UserError, printable
from synthreal.spec.options import Options, require_model

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

Role = Literal["simulated", "real", "real_labelled", "validation", "test"]
StoredDtype = Literal["uint8", "uint16", "float16"]
Colormap = Literal["viridis"]

ROLES: tuple[Role, ...] = get_args(Role)
STORED_DTYPES: tuple[StoredDtype, ...] = get_args(StoredDtype)
LARGEST_SIDE = 1 << 16  # px of an image
ANY = -1  # a length in the shape of a label that an evaluator requires


@dataclass(frozen=True, kw_only=True)
class ImageSpec:
    """The images of a domain.

    Attributes:
        channels: C, 1 to 4.
        height: H in pixels, 1 to 65,536.
        width: W in pixels, 1 to 65,536.
        dtype: the stored dtype; integers are divided by its maximum.
        meaning: a phrase for people ("grey eye crop", "depth, 0..1 = palm -150..+150 mm").
        background: the value in [0, 1] of a constant background, or None.
        invalid: the value in [0, 1] of missing pixels, or None.
        colormap: "viridis" shows one channel in false colour on contact sheets, None shows grey or RGB.
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
        if not (1 <= self.height <= LARGEST_SIDE and 1 <= self.width <= LARGEST_SIDE):
            raise UserError(f"ImageSpec is {self.height}x{self.width} px; both sides must be 1 to {LARGEST_SIDE}")
        if self.dtype not in STORED_DTYPES:
            raise UserError(f"ImageSpec.dtype is {self.dtype!r}; images are {', '.join(STORED_DTYPES)}")
        if self.colormap is not None and self.colormap not in get_args(Colormap):
            raise UserError(f"ImageSpec.colormap is {self.colormap!r}; choose {', '.join(get_args(Colormap))} or none")
        for name in ("background", "invalid"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise UserError(f"ImageSpec.{name} is {value}; it must be a value in [0, 1], or none")

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(C, H, W)``."""
        return (self.channels, self.height, self.width)

    def alike(self, other: ImageSpec) -> bool:
        """Whether images of both specs have the same shape and dtype."""
        return (self.shape, self.dtype) == (other.shape, other.dtype)

    def __str__(self) -> str:
        return f"{self.channels}x{self.height}x{self.width} {self.dtype}"


@dataclass(frozen=True)
class LabelSpec:
    """A label of an image: ``LabelSpec("gaze", (3,), "unit vector, camera frame")``.

    In the shape of a label that an evaluator requires, -1 is any length. ``classes`` are the names that an index ``()``
    chooses from, shown instead of it; they may be left out.
    """

    name: str
    shape: tuple[int, ...]
    unit: str
    classes: tuple[str, ...] = ()

    __pydantic_config__ = ConfigDict(extra="forbid")

    def __post_init__(self) -> None:
        if isinstance(self.shape, int):
            raise UserError(f"LabelSpec {self.name!r}: shape is {self.shape}; write it as ({self.shape},)")
        object.__setattr__(self, "shape", tuple(self.shape))
        if isinstance(self.classes, str) or (self.classes and self.shape):
            raise UserError(f"LabelSpec {self.name!r}: classes are names, in a tuple, of a label of shape ()")
        object.__setattr__(self, "classes", tuple(self.classes))

    def __str__(self) -> str:
        sides = ", ".join("any" if side == ANY else str(side) for side in self.shape)
        return f"{self.name}[{sides}] {self.unit}"


@dataclass(frozen=True)
class Sample:
    """One image ``(C, H, W)`` in its stored dtype, with labels ``(*L)`` by name (empty when unlabelled)."""

    image: np.ndarray
    labels: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Skipped:
    """A file that could not be read. Readers yield it in place of a sample; it is counted and reported.

    Control characters, and bytes of a name that are not UTF-8, are escaped, because reports and records are UTF-8.
    """

    path: str
    reason: str

    def __post_init__(self) -> None:
        for name in ("path", "reason"):
            object.__setattr__(self, name, printable(getattr(self, name)))


@dataclass(frozen=True)
class Batch:
    """Images ``(B, C, H, W)``, float32 in [0, 1], and labels ``(B, *L)`` by name, on one device."""

    image: Tensor
    labels: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """A data set in one role, either read from files or rendered by a simulator.

    Attributes:
        name: the name in a configuration; specs of different roles may share it.
        role: the use of the images, one of ``ROLES``; the labels of ``real`` images are dropped.
        image: the spec of the images; None adopts the run's (folders and packs of any domain).
        labels: the labels of every sample.
        options: the pydantic model of its options.
        read: ``(options) -> Iterator[Sample | Skipped]``, for data sets of files. It may raise ``UserError``.
        render: ``(options, n, generator) -> Batch`` of n images, for simulators. The images are on
            ``generator.device`` and are a function of the options and the state of the generator alone.
    """

    name: str
    role: Role
    image: ImageSpec | None
    labels: tuple[LabelSpec, ...] = ()
    options: type[BaseModel] = Options
    read: Callable[[Any], Iterator[Sample | Skipped]] | None = None
    render: Callable[[Any, int, torch.Generator], Batch] | None = None

    def __post_init__(self) -> None:
        where = f"data set {self.name!r}"
        if self.role not in ROLES:
            raise UserError(f"{where}: role {self.role!r} is not one of {', '.join(ROLES)}")
        if (self.read is None) == (self.render is None):
            raise UserError(f"{where}: give exactly one of read (files) and render (a simulator)")
        if not callable(self.read or self.render):
            raise UserError(f"{where}: read and render are functions, not {self.read or self.render!r}")
        if self.image is not None and not isinstance(self.image, ImageSpec):
            raise UserError(f"{where}: image is {self.image!r}; give an ImageSpec, or None")
        object.__setattr__(self, "labels", label_tuple(self.labels, f"{where}: labels"))
        require_model(self.options, where)

    @property
    def available_labels(self) -> tuple[LabelSpec, ...]:
        """The labels that a run or a pack gets from this data set: none in the role ``real``."""
        return () if self.role == "real" else self.labels


def label_tuple(labels: Any, where: str) -> tuple[LabelSpec, ...]:
    """The labels of the field ``where`` of a spec as a tuple. Raises ``UserError`` for anything but LabelSpecs."""
    if isinstance(labels, LabelSpec) or not all(isinstance(label, LabelSpec) for label in labels):
        raise UserError(f"{where} is {labels!r}; give a tuple of LabelSpecs")
    return tuple(labels)
