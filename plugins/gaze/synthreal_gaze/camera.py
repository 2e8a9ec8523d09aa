"""The camera domain: the simulator's eyes as a webcam photographs them, with people who never change roles.

The geometry is the simulator's (:mod:`synthreal_gaze.eye`), so only appearance differs: lashes and the shadow of the
upper lid over a dark iris, dim uneven sclera, skin texture, creases, brows, glasses, reflections, uneven light, blur,
sensor noise, JPEG and at last histogram equalisation, as in MPIIGaze's normalized crops. Everything that belongs to a
person comes from a fixed table indexed by identity number, and each role owns its own numbers.

Gaze follows MPIIGaze (angles of p01 to p14): each person looks evenly over a screen that spans about +/- 15 degrees
of yaw around 0 and +/- 9 degrees of pitch around -9, the camera sitting above it.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from synthreal import Batch
from synthreal_gaze.anatomy import Anatomy, Pose
from synthreal_gaze.eye import project
from synthreal_gaze.face import Face, Light
from synthreal_gaze.geometry import RealRole
from synthreal_gaze.photograph import CameraOptions, Look, Scene, photograph
from synthreal_gaze.random_columns import RandomColumns

if TYPE_CHECKING:
    from torch import Tensor

IDENTITIES: dict[RealRole, tuple[int, int]] = {
    "real": (0, 200),
    "real_labelled": (200, 300),
    "validation": (300, 340),
    "test": (340, 440),
}
TABLE_SEED = 1612_07828
TABLE_COLUMNS = Anatomy.COLUMNS + Face.COLUMNS + Look.COLUMNS + 4


@functools.lru_cache(maxsize=4)
def people(device: torch.device) -> Tensor:
    """The table of everyone: ``(440, K)`` in [0, 1), the same in every process and on every device."""
    last = max(stop for _, stop in IDENTITIES.values())
    return torch.rand(last, TABLE_COLUMNS, generator=torch.Generator().manual_seed(TABLE_SEED)).to(device)


def identities(role: RealRole, n: int, generator: torch.Generator) -> Tensor:
    """Who is photographed: ``n`` identity numbers of a role of :data:`IDENTITIES`, ``(n,)`` int64."""
    first, stop = IDENTITIES[role]
    return torch.randint(first, stop, (n,), generator=generator, device=generator.device)


def camera(options: CameraOptions, n: int, generator: torch.Generator, role: RealRole) -> Batch:
    """Draw ``n`` photographs of one role's people: ``(n, 1, 35, 55)``; labels exact, and none for role "real"."""
    person = RandomColumns(people(generator.device)[identities(role, n, generator)])
    moment = RandomColumns.roll(n, 44, generator)
    anatomy, face, look = Anatomy.of(person), Face.of(person), Look.of(person, options.glasses)
    screen = Screen.of(person)
    pose = Pose.of(moment, *screen.gaze(moment), head_deg=12.0, jitter_px=1.2)
    light = Light.of(moment, 1.2, (0.35, 0.8))
    eye = project(anatomy, pose)
    image = photograph(Scene(eye, pose, face, look, light), moment, generator, options)
    return Batch(image, {} if role == "real" else eye.labels)


@dataclass(frozen=True)
class Screen:
    """Where a person's targets lie, rad; every field ``(n, 1, 1)``."""

    pitch: Tensor
    yaw: Tensor
    half_pitch: Tensor
    half_yaw: Tensor

    @classmethod
    def of(cls, dice: RandomColumns) -> Screen:
        """Four columns; mean and spread over people as in MPIIGaze (15 deg of yaw = std 8.6 of a uniform)."""
        degree = math.radians(1.0)
        return cls(
            dice.normal(-8.9 * degree, 1.0 * degree),
            dice.normal(0.05 * degree, 0.3 * degree),
            dice.normal(8.6 * degree, 0.5 * degree),
            dice.normal(14.6 * degree, 1.3 * degree),
        )

    def gaze(self, dice: RandomColumns) -> tuple[Tensor, Tensor]:
        """Four columns to pitch and yaw, even over the screen with a soft edge."""
        degree = math.radians(1.0)
        pitch = self.pitch + self.half_pitch * dice.uniform(-1, 1) + dice.normal(0, degree)
        yaw = self.yaw + self.half_yaw * dice.uniform(-1, 1) + dice.normal(0, 2 * degree)
        return pitch, yaw
