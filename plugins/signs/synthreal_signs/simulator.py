"""The sign simulator: German speed limit signs before plain backgrounds, drawn on demand.

Simple on purpose: position, size, tilt, typefaces and tones vary as in photographs, but there is neither light nor
shade, no blur, no noise and no dirt. Refining brings these.
"""

from __future__ import annotations

import math
from typing import Self

import torch
from pydantic import Field, model_validator

from synthreal import Batch, Options
from synthreal_signs.geometry import CLASS, CORNERS, RING, SIZE, SPEEDS
from synthreal_signs.plate import EXTENT, Plate
from synthreal_signs.random_columns import RandomColumns
from synthreal_signs.scene import COLUMNS, draw

LABELS = (CLASS, CORNERS, RING, EXTENT)
POSE_COLUMNS = 8  # with the class


class SimulatorOptions(Options):
    """Ranges of position, size, tilt and contrast."""

    scale: tuple[float, float] = Field(
        (0.56, 0.88), description="Smallest and largest diameter of a plate, as a share of the side of the image."
    )
    offset_px: float = Field(1.5, ge=0, le=8, description="The centre of a plate is within +/- this of the middle, px.")
    tilt_deg: float = Field(18.0, ge=0, le=60, description="A plate faces away to the left or right, +/- degrees.")
    roll_deg: float = Field(6.0, ge=0, le=45, description="A plate is rotated in its plane, +/- degrees.")
    contrast: float = Field(1.0, gt=0, le=1, description="Contrast of digits and ring to the white disc.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        low, high = self.scale
        if not 0.2 <= low <= high <= 1.2:
            raise ValueError("scale: give the smaller share first, both between 0.2 and 1.2")
        return self


def render_simulator(options: SimulatorOptions, n: int, generator: torch.Generator) -> Batch:
    """Render ``n`` signs with exact labels: images ``(n, 3, 32, 32)`` on the generator's device.

    Images are rounded to 8 bits, so that a stored pack equals the rendered images.
    """
    columns = RandomColumns.draw(n, POSE_COLUMNS + COLUMNS, generator)
    speed = columns.index(len(SPEEDS))
    low, high = options.scale
    middle, tilt, roll = (SIZE - 1) / 2, math.radians(options.tilt_deg), math.radians(options.roll_deg)
    plate = Plate.of(
        radius=columns.uniform(low, high) * SIZE / 2,
        x=middle + columns.uniform(-options.offset_px, options.offset_px),
        y=middle + columns.uniform(-options.offset_px, options.offset_px),
        yaw=columns.uniform(-tilt, tilt),
        pitch=columns.uniform(-tilt / 2, tilt / 2),
        roll=columns.uniform(-roll, roll),
        distance=columns.uniform(6.0, 20.0),
    )
    image = draw(plate, speed, columns, options.contrast)
    return Batch((image.clamp(0, 1) * 255).round().div(255), {CLASS.name: speed, **plate.labels()})
