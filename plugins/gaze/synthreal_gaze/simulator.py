"""The eye simulator: clean images like those of a game engine, rendered on demand.

As in UnityEyes: smooth skin, a bright sclera, a sharp iris, one key light and ambient light, no sensor and, unless
``equalize`` asks for it, no equalisation. The gaze is uniform over a wider range than people use, so that it covers any
target distribution.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from pydantic import Field

from synthreal import Batch, Options
from synthreal_gaze.anatomy import HEIGHT, WIDTH, Anatomy, Pose
from synthreal_gaze.eye import project
from synthreal_gaze.face import Face, Light, glint, height_above_brow, margins, reflection, relief, shade
from synthreal_gaze.random_columns import RandomColumns
from synthreal_gaze.sensor import equalise
from synthreal_gaze.texture import noise, quantise, smoothstep

if TYPE_CHECKING:
    from torch import Tensor

    from synthreal_gaze.eye import Eye


class SimulatorOptions(Options):
    """Ranges of gaze, head pose and crop position."""

    pitch_mean_deg: float = Field(
        0.0, ge=-20, le=20, description="Mean gaze pitch, degrees; below 0 for a camera above the screen."
    )
    pitch_deg: float = Field(
        25.0, ge=0, le=40, description="Gaze pitch is uniform within +/- this of its mean, degrees."
    )
    yaw_deg: float = Field(35.0, ge=0, le=50, description="Gaze yaw is uniform within +/- this, degrees.")
    head_deg: float = Field(12.0, ge=0, le=30, description="Deviation of the head from 40 % of the gaze, +/- degrees.")
    jitter_px: float = Field(1.2, ge=0, le=6, description="Standard deviation of the position of the crop, px.")
    equalize: bool = Field(
        False, description="Equalise the histogram of each image; for real images that are equalised, as MPIIGaze's."
    )


def render_simulator(options: SimulatorOptions, n: int, generator: torch.Generator) -> Batch:
    """Render ``n`` clean eyes with exact labels: images ``(n, 1, 35, 55)`` on the generator's device."""
    columns = RandomColumns.draw(n, 46, generator)
    mean, pitch, yaw = map(math.radians, (options.pitch_mean_deg, options.pitch_deg, options.yaw_deg))
    anatomy = Anatomy.of(columns)
    gaze = columns.uniform(mean - pitch, mean + pitch), columns.uniform(-yaw, yaw)
    pose = Pose.of(columns, *gaze, options.head_deg, options.jitter_px)
    eye = project(anatomy, pose)
    face, light = Face.of(columns), Light.of(columns, 1.2, (0.25, 0.7))
    exposure = columns.uniform(0.8, 1.2)

    grain = noise(n, HEIGHT, WIDTH, (5, 7), generator)
    tone = columns.uniform(0.35, 0.85) * (
        1 - columns.uniform(0.2, 0.6) * smoothstep(height_above_brow(eye, face), -1.5, 2.0)
    )
    skin = tone * shade(relief(eye, face), light, pose) * (1 + 0.02 * grain)
    top, bottom = margins(eye)
    along = smoothstep(eye.u, -0.08, 0.12) * smoothstep(eye.u, 1.08, 0.92)
    lash = columns.uniform(0.15, 0.5) * torch.exp(-((top - eye.row - 0.4) / 0.9).square())
    rim = 0.2 * torch.exp(-((eye.row - bottom - 0.3) / 0.9).square())
    skin = skin * (1 - along * (lash + rim).clamp_max(0.9))

    ball = eyeball(eye, pose, light, columns)
    opening = smoothstep(torch.minimum(eye.upper, eye.lower), -0.5, 0.5)
    image = torch.lerp(skin, ball, opening) * exposure
    return Batch(quantise(equalise(image) if options.equalize else image), eye.labels)


def eyeball(eye: Eye, pose: Pose, light: Light, columns: RandomColumns) -> Tensor:
    """Sclera, iris, pupil and one highlight, ``(n, H, W)``."""
    depth = (1 - eye.ball_x.square() - eye.ball_y.square()).clamp_min(0.05).sqrt()
    facing = (light.x * eye.ball_x + light.y * eye.ball_y + light.z * depth).clamp_min(0)
    lit = light.ambient + (1 - light.ambient) * facing
    sclera = columns.uniform(0.8, 1.0) * lit * (0.7 + 0.3 * depth)
    flesh = smoothstep(eye.u, 0.16, 0.06)
    sclera = sclera * (1 - 0.45 * flesh)

    radius = (eye.iris_x.square() + eye.iris_y.square()).sqrt()
    rays, collar = iris_rays(eye, radius, columns), torch.exp(-((radius - 0.62) / 0.16).square())
    tone = columns.uniform(0.12, 0.42)
    iris = tone * (0.85 + 0.35 * collar + 0.18 * rays) * (1 - 0.55 * smoothstep(radius, 0.78, 1.0))
    half = 0.6 / eye.iris_px
    iris = torch.lerp(
        torch.full_like(iris, 0.02), iris * (0.5 + 0.5 * lit), smoothstep(radius, pose.pupil - half, pose.pupil + half)
    )
    ball = torch.lerp(iris, sclera, smoothstep(radius, 1 - half, 1 + half))
    ball = ball * (1 - columns.uniform(0.25, 0.5) * torch.exp(-eye.upper.clamp_min(0) / 1.8))
    ball = ball * (1 - 0.2 * torch.exp(-eye.lower.clamp_min(0) / 1.2))
    x, y = reflection(light, eye)
    size = columns.uniform(0.35, 0.8)
    return torch.lerp(ball, torch.ones_like(ball), columns.uniform(0.5, 1.0) * glint(eye, x, y, size, size))


def iris_rays(eye: Eye, radius: Tensor, columns: RandomColumns) -> Tensor:
    """Radial fibres of the iris: a random mixture of the 4th and 8th harmonics of the angle, about -1 to 1."""
    scale = 1 / radius.clamp_min(0.05)
    cos, sin = eye.iris_x * scale, eye.iris_y * scale
    total = torch.zeros_like(radius)
    for harmonic in (2, 4, 8):
        cos, sin = cos.square() - sin.square(), 2 * cos * sin
        if harmonic > 2:
            total = total + columns.uniform(-0.7, 0.7) * cos + columns.uniform(-0.7, 0.7) * sin
    return total
