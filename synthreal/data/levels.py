"""Statistics of the pixels of a data set, and warnings about values that look misread.

Depth in raw millimetres, 12-bit values in 16-bit files or inverted images train like any others and may get a good
score on the wrong data. The rules compare a sample of images with the format that the domain declares, and the
simulated images with the real ones. An inverted image is recognised by the mean image, so not where objects lie
anywhere, nor if only the object is inverted and not its background.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, stack, tensor

from synthreal.data.encoding import quantize, to_unit
from synthreal.spec import ImageSpec, Role

COUNT = 256
VALUES = 1 << 23
BRIGHT = 0.995  # quantile of an image's values that counts as its largest value
FILLED = 1 / 8  # share of the range that it must reach
CONTRAST = 0.01  # standard deviation of a nearly constant image, as a share of its largest value
TOLERATED = 0.1  # share of images that may be dark or nearly constant
APART = 0.5  # tolerated difference between the means of two sets
NARROW = 0.5  # tolerated ratio of the widths of the middle 98 % of two sets
SPIKE = 0.01  # share of the pixels at one end of the range that may be holes
RARE = 0.2  # the other set has less than this share of them
INVERTED = -0.5  # correlation of the mean images of two sets
STRUCTURED = 2.0  # standard errors that a mean image must vary by; that of random windows varies by one
ENOUGH = 16  # images; widths and holes of fewer vary too much


@dataclass(frozen=True, kw_only=True)
class Levels:
    """Statistics of images in [0, 1]; ``middle`` and ``dark`` leave the declared special values out.

    Attributes:
        role: role of the data set.
        name: the name of the data set in messages.
        image: the declared format.
        n: number of images.
        middle: 1st and 99th percentile.
        mean: mean image ``(C, H, W)``.
        structured: whether it varies by more than chance makes that of random windows vary.
        ends: shares of the pixels that are exactly 0 and 1.
        background: share of the pixels at ``image.background``; None if it is not declared.
        invalid: share of the pixels at ``image.invalid``; None if it is not declared.
        constant: share of the images that are nearly constant.
        dark: share of the images whose 99.5th percentile is above 0 and below 1/8.
        darkest: the highest of these percentiles; 0 if there are none.
        equal: whether there are several images and all are equal.
    """

    role: Role
    name: str
    image: ImageSpec
    n: int
    middle: tuple[float, float]
    mean: Tensor
    structured: bool
    ends: tuple[float, float]
    background: float | None
    invalid: float | None
    constant: float
    dark: float
    darkest: float
    equal: bool

    def warnings(self) -> list[str]:
        """What looks misread, one line each, with the remedy."""
        where, found = self.name, []
        if self.equal:
            found.append(f"{where}: all of {self.n} images are equal; check its files and its reader")
        elif self.constant > TOLERATED:
            found.append(
                f"{where}: {self.constant:.0%} of {self.n} images are nearly constant; remove empty images, or check "
                "how its reader scales and crops them"
            )
        elif self.image.dtype != "float16" and self.dark > TOLERATED:
            remedy = "which is very dark; if that is wrong, scale them in a reader (12 bits in 16-bit files by 16)"
            if self.special:
                remedy = f"probably in another unit (millimetres?); convert them in a reader to {self.format()}"
            found.append(
                f"{where}: in {self.dark:.0%} of {self.n} images, {BRIGHT:.1%} of the values are at most "
                f"{self.stored(self.darkest)}, {remedy}"
            )
        absent: dict[float, list[str]] = {}
        for name in ("background", "invalid")[: 1 if self.role == "simulated" else 2]:  # a simulator may miss no pixel
            if getattr(self, name) == 0:
                absent.setdefault(getattr(self.image, name), []).append(name)
        for value, names in absent.items():
            found.append(
                f"{where}: no pixel of {self.n} images has the declared value of {' or '.join(names)} pixels, "
                f"{self.stored(value)}; store it there (they may be 0 in the files), and convert the others to "
                f"{self.format()}"
            )
        return found

    @property
    def special(self) -> bool:
        """Whether the format declares a value of background or invalid pixels, as those of depth do."""
        return self.background is not None or self.invalid is not None

    def stored(self, value: float) -> str:
        """A value in [0, 1] as one of the stored dtype, for messages."""
        if self.image.dtype == "float16":
            return f"{value:.3g} of 1"
        largest = np.iinfo(self.image.dtype).max
        return f"{value * largest:,.0f} of {largest:,}"

    def format(self) -> str:
        """The declared format, for messages."""
        return "the image format" + f" ({self.image.meaning})" * bool(self.image.meaning)


def unused_bits(high: int) -> int:
    """The number of upper bits that 16-bit values up to ``high`` leave unused; 0 for fewer than 3 or no values."""
    unused = 16 - high.bit_length()
    return unused if high and unused >= 3 else 0


def sample_size(image: ImageSpec) -> int:
    """The number of images to measure: 256, or as many as have 8 million values."""
    return max(2, min(COUNT, VALUES // math.prod(image.shape)))


def nearly_constant(images: Tensor) -> Tensor:
    """Which of the images ``(N, C, H, W)`` in [0, 1] hardly differ from a single colour, bool ``(N,)``."""
    return images.std((2, 3), correction=0).amax(1) <= CONTRAST * images.amax((1, 2, 3))


def measure_levels(role: Role, image: ImageSpec, stored: Tensor, name: str | None = None) -> Levels:
    """The statistics of stored images ``(N, C, H, W)``, N >= 1, of the format ``image``; ``name``: data.<role>."""
    values = to_unit(stored.cpu())
    declared = {"background": image.background, "invalid": image.invalid}
    masks = {k: values == quantize(tensor(value), image.dtype) for k, value in declared.items() if value is not None}
    shares = {name: float(masks[name].float().mean()) if name in masks else None for name in declared}
    special = stack([*masks.values()]).any(0) if masks else torch.zeros_like(values, dtype=torch.bool)
    rest = values if special.all() else values[~special]
    first, last = np.percentile(rest.numpy(), (1, 99))
    others = [one[~mask].numpy() for one, mask in zip(values, special, strict=True)]
    largest = tensor([float(np.quantile(one, BRIGHT)) if one.size else 0.0 for one in others])
    dark = (largest > 0) & (largest < FILLED)
    return Levels(
        role=role,
        name=name or f"data.{role}",
        image=image,
        n=len(values),
        middle=(float(first), float(last)),
        mean=values.mean(0),
        structured=_is_structured(values),
        ends=(float((values == 0).float().mean()), float((values == 1).float().mean())),
        background=shares["background"],
        invalid=shares["invalid"],
        constant=float(nearly_constant(values).float().mean()),
        dark=float(dark.float().mean()),
        darkest=float(largest[dark].max()) if dark.any() else 0.0,
        equal=len(values) > 1 and bool((values == values[:1]).all()),
    )


def _is_structured(values: Tensor) -> bool:
    error = values.std(0, correction=0).mean() / math.sqrt(len(values))
    return bool(values.mean(0).std(correction=0) > STRUCTURED * error)


def level_warnings(base: Levels, other: Levels) -> list[str]:
    """The warnings about each of two sets; if there are none, the first about their difference, for ``other``."""
    if found := base.warnings() + other.warnings():
        return found
    where, enough = other.name, min(base.n, other.n) >= ENOUGH
    (low, high), (first, last) = base.middle, other.middle
    ranges = " and ".join(
        f"{levels.role} ones from {levels.middle[0]:.2f} to {levels.middle[1]:.2f} (mean {levels.mean.mean():.2f})"
        for levels in (base, other)
    )
    far = f"{where}: its levels are far from those of {base.name}, {ranges}, in [0, 1]; "
    if other.special and enough and last - first < NARROW * (high - low):
        return [f"{far}they are probably in another unit (millimetres?); convert them to {other.format()}"]
    if low > last or first > high or abs(base.mean.mean() - other.mean.mean()) > APART:
        return [f"{far}check that neither is inverted and that both have one scale"]
    declared = [value for value in (other.image.invalid, other.image.background) if value is not None]
    for value, share, usual in zip((0.0, 1.0), other.ends, base.ends, strict=True):
        if declared and enough and value not in declared and share > SPIKE and usual < RARE * share:
            return [
                f"{where}: {share:.1%} of the pixels are exactly {other.stored(value)}, and {usual:.1%} in "
                f"{base.name}; if they are holes, store them as {other.stored(declared[0])}"
            ]
    alike = torch.corrcoef(stack([base.mean.flatten(), other.mean.flatten()]))[0, 1]  # NaN: constant
    if base.structured and other.structured and alike < INVERTED:
        return [f"{where}: its mean image is the negative of that of {base.name}; check that neither is inverted"]
    return []
