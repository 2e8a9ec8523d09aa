"""The camera data set: synthetic webcam photographs of eyes, with disjoint people per role.

The geometry is the simulator's (:mod:`synthreal_gaze.eye`); only the appearance differs: lashes and the shadow of the
upper lid over a dark iris, dim uneven sclera, skin texture, creases, brows, glasses, reflections, uneven light, blur,
sensor noise, JPEG and histogram equalisation, as in MPIIGaze's normalized crops. The parameters of a person come from
a fixed table indexed by identity number. Each role has its own range of identity numbers.

The gaze distribution follows MPIIGaze (angles of p01 to p14): each person looks uniformly over a screen that spans
about +/- 15 degrees of yaw around 0 and +/- 9 degrees of pitch around -9, because the camera is above the screen.
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
from synthreal_gaze.photograph import Appearance, CameraOptions, Scene, photograph
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
TABLE_COLUMNS = Anatomy.COLUMNS + Face.COLUMNS + Appearance.COLUMNS + 4


@functools.lru_cache(maxsize=4)
def identity_table(device: torch.device) -> Tensor:
    """The parameters of all people: ``(440, K)`` in [0, 1), the same in every process and on every device."""
    last = max(stop for _, stop in IDENTITIES.values())
    return torch.rand(last, TABLE_COLUMNS, generator=torch.Generator().manual_seed(TABLE_SEED)).to(device)


def draw_identities(role: RealRole, n: int, generator: torch.Generator) -> Tensor:
    """``n`` random identity numbers of a role, from the ranges of :data:`IDENTITIES`: ``(n,)`` int64."""
    first, stop = IDENTITIES[role]
    return torch.randint(first, stop, (n,), generator=generator, device=generator.device)


def render_camera(options: CameraOptions, n: int, generator: torch.Generator, role: RealRole) -> Batch:
    """Render ``n`` photographs of a role's people: ``(n, 1, 35, 55)``. Labels are exact; role "real" has none."""
    per_person = RandomColumns(identity_table(generator.device)[draw_identities(role, n, generator)])
    per_image = RandomColumns.draw(n, 44, generator)
    anatomy, face, appearance = Anatomy.of(per_person), Face.of(per_person), Appearance.of(per_person, options.glasses)
    screen = Screen.of(per_person)
    pose = Pose.of(per_image, *screen.draw_gaze(per_image), head_deg=12.0, jitter_px=1.2)
    light = Light.of(per_image, 1.2, (0.35, 0.8))
    eye = project(anatomy, pose)
    image = photograph(Scene(eye, pose, face, appearance, light), per_image, generator, options)
    return Batch(image, {} if role == "real" else eye.labels)


@dataclass(frozen=True)
class Screen:
    """The distribution of a person's gaze targets, in rad: fields of shape ``(n, 1, 1)``."""

    pitch: Tensor
    yaw: Tensor
    half_pitch: Tensor
    half_yaw: Tensor

    @classmethod
    def of(cls, columns: RandomColumns) -> Screen:
        """Uses four columns. Means and deviations over people follow MPIIGaze (uniform +/- 15 deg has std 8.6)."""
        degree = math.radians(1.0)
        return cls(
            columns.normal(-8.9 * degree, 1.0 * degree),
            columns.normal(0.05 * degree, 0.3 * degree),
            columns.normal(8.6 * degree, 0.5 * degree),
            columns.normal(14.6 * degree, 1.3 * degree),
        )

    def draw_gaze(self, columns: RandomColumns) -> tuple[Tensor, Tensor]:
        """Uses four columns. Pitch and yaw, uniform over the screen with a soft edge."""
        degree = math.radians(1.0)
        pitch = self.pitch + self.half_pitch * columns.uniform(-1, 1) + columns.normal(0, degree)
        yaw = self.yaw + self.half_yaw * columns.uniform(-1, 1) + columns.normal(0, 2 * degree)
        return pitch, yaw
