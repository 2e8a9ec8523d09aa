"""Statistics of the pixels of a data set, and warnings about values that look misread.

Depth in raw millimetres, 12-bit values in 16-bit files or inverted images train like any others and may get a good
score on the wrong data. The rules compare a sample of images with the format that the domain declares, and the
simulated images with the real ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from torch import Tensor, stack, tensor

from synthreal.data.encoding import quantize, to_unit
from synthreal.spec import ImageSpec, Role

COUNT = 256
VALUES = 1 << 23
FILLED = 1 / 8  # share of the range that the values must reach
CONTRAST = 0.01  # standard deviation of a nearly constant image, as a share of the largest value
CONSTANT = 0.1  # tolerated share of nearly constant images
APART = 0.5  # tolerated difference between the means of simulated and real images


@dataclass(frozen=True, kw_only=True)
class Levels:
    """Statistics of images in [0, 1]; ``low``, ``high`` and ``middle`` leave the declared special values out.

    Attributes:
        role: role of the data set.
        image: the declared format.
        n: number of images.
        low: smallest value.
        high: largest value.
        middle: 1st and 99th percentile.
        mean: of all pixels.
        spread: standard deviation within an image, averaged over the images.
        background: share of the pixels at ``image.background``; None if it is not declared.
        invalid: share of the pixels at ``image.invalid``; None if it is not declared.
        constant: share of the images that are nearly constant.
        equal: whether there are several images and all are equal.
    """

    role: Role
    image: ImageSpec
    n: int
    low: float
    high: float
    middle: tuple[float, float]
    mean: float
    spread: float
    background: float | None
    invalid: float | None
    constant: float
    equal: bool

    def warnings(self) -> list[str]:
        """What looks misread, one line each, with the remedy."""
        where, found = f"data.{self.role}", []
        if self.equal:
            found.append(f"{where}: all of {self.n} images are equal; check its files and its reader")
        elif self.constant > CONSTANT:
            found.append(
                f"{where}: {self.constant:.0%} of {self.n} images are nearly constant; remove empty images, or check "
                "how its reader scales and crops them"
            )
        elif unused := unused_bits(self.high, self.image.dtype):
            found.append(
                f"{where}: no value is above {self._stored(self.high)}, the upper {unused} bits are unused, as in "
                f"{16 - unused}-bit values stored with 16 bits; multiply them by {2**unused}, or convert them in a "
                f"reader to the image format{self._meaning()}"
            )
        absent: dict[float, list[str]] = {}
        for name in ("background", "invalid")[: 1 if self.role == "simulated" else 2]:  # a simulator may miss no pixel
            if getattr(self, name) == 0:
                absent.setdefault(getattr(self.image, name), []).append(name)
        for value, names in absent.items():
            found.append(
                f"{where}: no pixel of {self.n} images has the declared value of {' or '.join(names)} pixels, "
                f"{self._stored(value)}; store it there (they may be 0 in the files), and convert the others to the "
                f"image format{self._meaning()}"
            )
        return found

    def _stored(self, value: float) -> str:
        """A value in [0, 1] as one of the stored dtype."""
        if self.image.dtype == "float16":
            return f"{value:.3g} of 1"
        largest = np.iinfo(self.image.dtype).max
        return f"{value * largest:,.0f} of {largest:,}"

    def _meaning(self) -> str:
        return f" ({self.image.meaning})" * bool(self.image.meaning)


def unused_bits(high: float, dtype: str) -> int:
    """The number of upper bits that values of an integer dtype, up to ``high`` in [0, 1], leave unused; 0 below 3."""
    if dtype == "float16" or not 0 < high < FILLED:
        return 0
    return int(-math.log2(high - 0.5 / np.iinfo(dtype).max))


def sample_size(image: ImageSpec) -> int:
    """The number of images to measure: 256, or as many as have 8 million values."""
    return max(2, min(COUNT, VALUES // math.prod(image.shape)))


def measure_levels(role: Role, image: ImageSpec, stored: Tensor) -> Levels:
    """The statistics of stored images ``(N, C, H, W)``, N >= 1, of the format ``image``."""
    values = to_unit(stored.cpu())
    declared = {"background": image.background, "invalid": image.invalid}
    masks = {k: values == quantize(tensor(value), image.dtype) for k, value in declared.items() if value is not None}
    shares = {name: float(masks[name].float().mean()) if name in masks else None for name in declared}
    rest = values
    if masks:
        special = stack([*masks.values()]).any(0)
        rest = values if special.all() else values[~special]
    first, last = np.percentile(rest.numpy(), (1, 99))
    spreads = values.std((2, 3), correction=0).amax(1)
    return Levels(
        role=role,
        image=image,
        n=len(values),
        low=float(rest.min()),
        high=float(rest.max()),
        middle=(float(first), float(last)),
        mean=float(values.mean()),
        spread=float(spreads.mean()),
        background=shares["background"],
        invalid=shares["invalid"],
        constant=float((spreads <= CONTRAST * values.max()).float().mean()),
        equal=len(values) > 1 and bool((values == values[:1]).all()),
    )


def level_warnings(simulated: Levels, real: Levels) -> list[str]:
    """The warnings about each of two sets; if there are none, about the distance between their levels."""
    if found := simulated.warnings() + real.warnings():
        return found
    apart = simulated.middle[0] > real.middle[1] or real.middle[0] > simulated.middle[1]
    if not apart and abs(simulated.mean - real.mean) <= APART:
        return []
    ranges = " and ".join(
        f"{levels.role} ones from {levels.middle[0]:.2f} to {levels.middle[1]:.2f} (mean {levels.mean:.2f})"
        for levels in (simulated, real)
    )
    return [
        f"data.real: its levels are far from those of data.simulated, {ranges}, in [0, 1]; check that neither is "
        "inverted and that both have one scale"
    ]
