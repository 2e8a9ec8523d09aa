"""The built-in components, registered by the hooks that any plugin implements."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Self

import torch
from pydantic import Field, model_validator
from torch import nn

from synthreal.core.convolution import Padding
from synthreal.core.discriminator import GlobalDiscriminator, Layer, LocalDiscriminator, conv, pool
from synthreal.core.features import Blur, ChannelMean, Gradients, Laplacian, Learned
from synthreal.core.refiner import Refiner
from synthreal.data.encoding import from_unit, to_unit
from synthreal.data.folder import FolderOptions, read_folder
from synthreal.data.pack import PackOptions, read_pack
from synthreal.data.pictures import PICTURES, PicturesOptions, read_pictures
from synthreal.errors import UserError
from synthreal.hooks.estimators import CLASSIFICATION, REGRESSION
from synthreal.hooks.hookspecs import hookimpl
from synthreal.spec import (
    ROLES,
    DatasetSpec,
    EvaluatorSpec,
    FeatureSpec,
    ImageSpec,
    NetworkSpec,
    OddSide,
    Options,
    UserPath,
)

PAPER_GAZE = (conv(96, 3, 2), conv(64, 3, 2), pool(3, 1), conv(32, 3), conv(32, 1))
MOST_WEIGHTS = 1 << 28  # of the convolutions of a network, 60 times the paper's largest; they take 1 GiB


class RefinerOptions(Options):
    """Options of the residual refiner; the defaults are the paper's for gaze."""

    kernel: OddSide = Field(3, ge=1, le=255, description="Odd side of the convolutions in pixels.")
    blocks: int = Field(4, ge=1, le=1000, description="Residual blocks.")
    width: int = Field(64, ge=1, le=4096, description="Feature maps.")
    padding: Padding = Field("zeros", description="zeros (as in the paper), replicate or reflect.")
    noise_channels: int = Field(0, ge=0, le=64, description="Gaussian noise maps added to the input channels.")
    keep_background: bool = Field(
        False,
        description="Leave background and invalid pixels unchanged. They count in the mean of self-regularization, "
        "so lambda weighs less on the others.",
    )

    @model_validator(mode="after")
    def _bound_weights(self) -> Self:
        inputs = 4 + self.noise_channels + 2 * self.blocks * self.width  # of all convolutions; images have 4 at most
        if inputs * self.width * self.kernel**2 > MOST_WEIGHTS:
            raise ValueError(f"more than {MOST_WEIGHTS:,} weights; lower blocks, width or kernel")
        return self


class DiscriminatorOptions(Options):
    """Options of a discriminator; the default is the paper's for gaze."""

    layers: tuple[Layer, ...] = Field(
        PAPER_GAZE, min_length=1, max_length=1000, description="Layers from input to head."
    )

    @model_validator(mode="after")
    def _bound_weights(self) -> Self:
        layers = [conv(4, 1), *(layer for layer in self.layers if layer.kind == "conv")]  # images have 4 maps at most
        if sum(a.maps * b.maps * b.kernel**2 for a, b in pairwise(layers)) > MOST_WEIGHTS:
            raise ValueError(f"layers: more than {MOST_WEIGHTS:,} weights; lower maps or kernel")
        return self


class BlurOptions(Options):
    """Options of the Gaussian blur."""

    sigma: float = Field(1.0, gt=0, le=100, description="Standard deviation in pixels.")


class GradientsOptions(Options):
    """Options of the image derivatives."""

    sigma: float = Field(0.0, ge=0, le=100, description="Standard deviation of a preceding blur in pixels; 0 for none.")


class LaplacianOptions(Options):
    """Options of the Laplacian."""

    kernel: OddSide = Field(3, ge=3, le=255, description="Odd side of the filter in pixels.")


class LearnedOptions(Options):
    """Options of the features of a trained module."""

    path: UserPath = Field(
        description="A program saved by torch.export.save: (B, C, H, W) -> (B, D, h, w) for any B. Loading it can run "
        "code from the file, so it needs --trust."
    )


def _refiner(options: RefinerOptions, image: ImageSpec) -> nn.Module:
    if options.padding == "reflect" and options.kernel // 2 >= min(image.height, image.width):
        side = options.kernel // 2
        raise UserError(f"refiner.options.padding: reflect needs images, and schedule.patch, larger than {side} px")
    return Refiner(image.channels, **options.model_dump(exclude={"keep_background"}), kept=_kept_values(options, image))


def _kept_values(options: RefinerOptions, image: ImageSpec) -> tuple[float, ...]:
    """The values of background and missing pixels, as declared and rounded to the levels of stored images."""
    if not options.keep_background:
        return ()
    values = [value for value in (image.background, image.invalid) if value is not None]
    if not values:
        raise UserError(
            "refiner.options.keep_background: these images have no background and no invalid value; set it to false"
        )
    declared = torch.tensor(values)
    return tuple(sorted({*declared.tolist(), *to_unit(from_unit(declared, image.dtype)).tolist()}))


def _layers(options: DiscriminatorOptions) -> tuple[Layer, ...]:
    for i, layer in enumerate(options.layers):
        if (layer.kind == "conv") != (layer.maps > 0):
            raise UserError(f"discriminator.options.layers[{i}]: a conv needs maps of 1 or more, a pool has none")
    return options.layers


def _local(options: DiscriminatorOptions, image: ImageSpec) -> nn.Module:
    return LocalDiscriminator(image.channels, _layers(options))


def _global(options: DiscriminatorOptions, image: ImageSpec) -> nn.Module:
    return GlobalDiscriminator(image.channels, image.height, image.width, _layers(options))


def _learned(options: LearnedOptions, image: ImageSpec) -> nn.Module:
    try:
        module = Learned.load(options.path)
    except (OSError, RuntimeError, ValueError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(
            f"{options.path}: not a program of torch.export ({reason}); save it with torch.export.save"
        ) from error
    try:
        for batch in (2, 3):
            module(torch.zeros(batch, *image.shape))
    except (AssertionError, RuntimeError, ValueError) as error:
        raise UserError(
            f"{options.path}: does not take batches of {image} ({str(error).splitlines()[0]}); export it for images "
            "of that shape with a dynamic batch dimension"
        ) from error
    return module


@hookimpl
def synthreal_datasets() -> Iterator[DatasetSpec]:
    """Data sets that adopt the run's image spec.

    ``folder``: the image files below a folder; ``pictures``: windows from pictures of any size; ``pack``: a .h5 file.
    """
    for role in ("real", "simulated"):
        yield DatasetSpec(name="folder", role=role, image=None, options=FolderOptions, read=read_folder)
    for role in sorted(ROLES, key="real".__ne__):  # real first, because the first is the default
        yield DatasetSpec(name=PICTURES, role=role, image=None, options=PicturesOptions, read=read_pictures)
    for role in ROLES:
        yield DatasetSpec(name="pack", role=role, image=None, options=PackOptions, read=read_pack)


@hookimpl
def synthreal_networks() -> Iterable[NetworkSpec]:
    """The networks of the paper and of its ablation."""
    return (
        NetworkSpec(name="resnet", part="refiner", options=RefinerOptions, build=_refiner),
        NetworkSpec(name="local", part="discriminator", options=DiscriminatorOptions, build=_local),
        NetworkSpec(name="global", part="discriminator", options=DiscriminatorOptions, build=_global),
    )


@hookimpl
def synthreal_evaluators() -> Iterable[EvaluatorSpec]:
    """The estimators of labelled pictures."""
    return CLASSIFICATION, REGRESSION


@hookimpl
def synthreal_features() -> Iterable[FeatureSpec]:
    """The feature transforms psi."""
    return (
        FeatureSpec(name="identity", build=lambda options, image: nn.Identity()),
        FeatureSpec(name="gradients", options=GradientsOptions, build=lambda options, image: Gradients(options.sigma)),
        FeatureSpec(name="channel-mean", build=lambda options, image: ChannelMean()),
        FeatureSpec(name="blur", options=BlurOptions, build=lambda options, image: Blur(options.sigma)),
        FeatureSpec(name="laplacian", options=LaplacianOptions, build=lambda options, image: Laplacian(options.kernel)),
        FeatureSpec(name="learned", options=LearnedOptions, build=_learned, executes=True),
    )
