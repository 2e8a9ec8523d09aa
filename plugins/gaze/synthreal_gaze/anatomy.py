"""Parameters of an eye: what belongs to a person, what changes from image to image, and where the camera sees it.

Lengths are millimetres, projected by a scaled orthography at the scale of MPIIGaze's normalized crops (60x36 px,
focal length 960 px, distance 600 mm, so 1.6 px/mm) resized to 55x35: an iris of 11.8 mm is 17 px wide, as measured on
real crops. Face and camera axes are x right, y down, z away from the camera; a frontal face looks along (0, 0, -1).
The layout is a left eye's crop: the inner corner is at the image's left.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from synthreal_gaze.geometry import EYE

if TYPE_CHECKING:
    from torch import Tensor

    from synthreal_gaze.random_columns import RandomColumns

HEIGHT, WIDTH = EYE.height, EYE.width
SCALE_X, SCALE_Y = 1.6 * WIDTH / 60, 1.6 * HEIGHT / 36  # px per mm


@dataclass(frozen=True)
class Anatomy:
    """What belongs to a person; every field ``(n, 1, 1)``, mm unless said otherwise."""

    half_width: Tensor
    tilt: Tensor
    upper: Tensor
    lower: Tensor
    upper_peak: Tensor
    lower_peak: Tensor
    fullness: Tensor
    follow: Tensor
    iris: Tensor
    ball_x: Tensor
    ball_y: Tensor
    ball_z: Tensor

    COLUMNS = 12

    @classmethod
    def of(cls, dice: RandomColumns) -> Anatomy:
        """Twelve columns to one eye: corners 26 to 31 mm apart, iris 11 to 12.4 mm across."""
        return cls(
            half_width=dice.uniform(13.2, 15.4),
            tilt=dice.uniform(-0.6, 1.6),
            upper=dice.uniform(5.0, 7.2),
            lower=dice.uniform(3.0, 4.8),
            upper_peak=dice.uniform(-1.5, 1.5),
            lower_peak=dice.uniform(-0.5, 2.5),
            fullness=dice.uniform(0.1, 0.7),
            follow=dice.uniform(0.7, 0.9),
            iris=dice.uniform(5.6, 6.2),
            ball_x=dice.uniform(-0.6, 0.8),
            ball_y=dice.uniform(-3.3, -1.9),
            ball_z=dice.uniform(4.0, 6.0),
        )


@dataclass(frozen=True)
class Pose:
    """What changes from image to image; every field ``(n, 1, 1)``: rad, px for the shift, ratios for the rest."""

    pitch: Tensor
    yaw: Tensor
    head_pitch: Tensor
    head_yaw: Tensor
    shift_x: Tensor
    shift_y: Tensor
    zoom: Tensor
    openness: Tensor
    pupil: Tensor

    COLUMNS = 7

    @classmethod
    def of(cls, dice: RandomColumns, pitch: Tensor, yaw: Tensor, head_deg: float, jitter_px: float) -> Pose:
        """Seven columns and a gaze to a pose: the head turns a part of the way and wanders by ``head_deg``."""
        head = math.radians(head_deg)
        return cls(
            pitch=pitch,
            yaw=yaw,
            head_pitch=0.4 * pitch + dice.uniform(-head, head),
            head_yaw=0.4 * yaw + dice.uniform(-head, head),
            shift_x=dice.normal(0, jitter_px),
            shift_y=dice.normal(-0.8, jitter_px),
            zoom=dice.uniform(0.95, 1.05),
            openness=1.05 - 0.45 * dice.uniform(0, 1) ** 3,
            pupil=dice.uniform(0.28, 0.55),
        )


class Place:
    """Face coordinates (mm) to pixels under the head's turn: the third axis is MPIIGaze's head direction."""

    def __init__(self, p: Pose) -> None:
        self.sin_p, self.cos_p = p.head_pitch.sin(), p.head_pitch.cos()
        self.sin_y, self.cos_y = p.head_yaw.sin(), p.head_yaw.cos()
        self.kx, self.ky = SCALE_X * p.zoom, SCALE_Y * p.zoom
        self.cx, self.cy = (WIDTH - 1) / 2 + p.shift_x, (HEIGHT - 1) / 2 + p.shift_y

    def __call__(self, a: Tensor, b: Tensor, c: Tensor | float) -> tuple[Tensor, Tensor]:
        """Column and row of the face's point ``(a, b, c)`` mm, counted from the middle of the corners."""
        x = self.cos_y * a - self.sin_p * self.sin_y * b + self.cos_p * self.sin_y * c
        return self.cx + self.kx * x, self.cy + self.ky * (self.cos_p * b + self.sin_p * c)
