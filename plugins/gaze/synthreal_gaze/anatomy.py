"""Parameters of an eye: anatomy per person, pose per image, and the projection of the face into the crop.

Lengths are in millimetres. The projection is a scaled orthography at the scale of MPIIGaze's normalized crops (60x36
px, focal length 960 px, distance 600 mm, hence 1.6 px/mm) resized to 55x35: an iris of 11.8 mm is 17 px wide, as
measured on real crops. Face and camera axes are x right, y down, z away from the camera; a frontal face looks along
(0, 0, -1). Crops show a left eye, with the inner corner on the left of the image.
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
    """The parameters of one person's eye: fields of shape ``(n, 1, 1)``, lengths in mm."""

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
    def of(cls, columns: RandomColumns) -> Anatomy:
        """Uses twelve columns. Corners are 26 to 31 mm apart, the iris is 11 to 12.4 mm wide."""
        return cls(
            half_width=columns.uniform(13.2, 15.4),
            tilt=columns.uniform(-0.6, 1.6),
            upper=columns.uniform(5.0, 7.2),
            lower=columns.uniform(3.0, 4.8),
            upper_peak=columns.uniform(-1.5, 1.5),
            lower_peak=columns.uniform(-0.5, 2.5),
            fullness=columns.uniform(0.1, 0.7),
            follow=columns.uniform(0.7, 0.9),
            iris=columns.uniform(5.6, 6.2),
            ball_x=columns.uniform(-0.6, 0.8),
            ball_y=columns.uniform(-3.3, -1.9),
            ball_z=columns.uniform(4.0, 6.0),
        )


@dataclass(frozen=True)
class Pose:
    """The parameters of one image: fields of shape ``(n, 1, 1)``; angles in rad, shifts in px, the rest are ratios."""

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
    def of(cls, columns: RandomColumns, pitch: Tensor, yaw: Tensor, head_deg: float, jitter_px: float) -> Pose:
        """Uses seven columns. The head follows 40 % of the gaze, plus a uniform deviation of up to ``head_deg``."""
        head = math.radians(head_deg)
        return cls(
            pitch=pitch,
            yaw=yaw,
            head_pitch=0.4 * pitch + columns.uniform(-head, head),
            head_yaw=0.4 * yaw + columns.uniform(-head, head),
            shift_x=columns.normal(0, jitter_px),
            shift_y=columns.normal(-0.8, jitter_px),
            zoom=columns.uniform(0.95, 1.05),
            openness=1.05 - 0.45 * columns.uniform(0, 1) ** 3,
            pupil=columns.uniform(0.28, 0.55),
        )


class Projection:
    """Maps face coordinates (mm) to pixels for a head pose; the third axis is MPIIGaze's head direction."""

    def __init__(self, p: Pose) -> None:
        self.sin_p, self.cos_p = p.head_pitch.sin(), p.head_pitch.cos()
        self.sin_y, self.cos_y = p.head_yaw.sin(), p.head_yaw.cos()
        self.kx, self.ky = SCALE_X * p.zoom, SCALE_Y * p.zoom
        self.cx, self.cy = (WIDTH - 1) / 2 + p.shift_x, (HEIGHT - 1) / 2 + p.shift_y

    def __call__(self, a: Tensor, b: Tensor, c: Tensor | float) -> tuple[Tensor, Tensor]:
        """Column and row (px) of the face point ``(a, b, c)``, in mm from the midpoint of the eye corners."""
        x = self.cos_y * a - self.sin_p * self.sin_y * b + self.cos_p * self.sin_y * c
        return self.cx + self.kx * x, self.cy + self.ky * (self.cos_p * b + self.sin_p * c)
