"""The simulator: eyes in the clean look of a game engine, any number of them from a generator.

As in UnityEyes: smooth skin, a bright sclera, a sharply drawn iris, one key light and ambient light, no sensor, no
equalisation. The gaze is uniform over a range wider than people use, so that any target distribution lies within.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from pydantic import Field

from synthreal import Batch, Options
from synthreal_gaze.anatomy import HEIGHT, WIDTH, Anatomy, Pose
from synthreal_gaze.eye import project
from synthreal_gaze.face import Face, Light, arch, glint, margins, reflection, relief, shade
from synthreal_gaze.random_columns import RandomColumns
from synthreal_gaze.texture import noise, quantised, smoothstep

if TYPE_CHECKING:
    from torch import Tensor

    from synthreal_gaze.eye import Eye


class SimulatorOptions(Options):
    """What the simulated eyes may do."""

    pitch_mean_deg: float = Field(
        0.0, ge=-20, le=20, description="Middle of the gaze's pitch, degrees; below 0 for a camera above the screen."
    )
    pitch_deg: float = Field(25.0, ge=0, le=40, description="Gaze pitch is uniform within +/- this of it, degrees.")
    yaw_deg: float = Field(35.0, ge=0, le=50, description="Gaze yaw is uniform within +/- this, degrees.")
    head_deg: float = Field(12.0, ge=0, le=30, description="The head wanders +/- this about its share of the gaze.")
    jitter_px: float = Field(1.2, ge=0, le=6, description="Standard deviation of the crop's shift, px.")


def simulator(options: SimulatorOptions, n: int, generator: torch.Generator) -> Batch:
    """Draw ``n`` clean eyes with exact labels: images ``(n, 1, 35, 55)`` on the generator's device."""
    dice = RandomColumns.roll(n, 46, generator)
    mean, pitch, yaw = map(math.radians, (options.pitch_mean_deg, options.pitch_deg, options.yaw_deg))
    anatomy = Anatomy.of(dice)
    gaze = dice.uniform(mean - pitch, mean + pitch), dice.uniform(-yaw, yaw)
    pose = Pose.of(dice, *gaze, options.head_deg, options.jitter_px)
    eye = project(anatomy, pose)
    face, light = Face.of(dice), Light.of(dice, 1.2, (0.25, 0.7))
    exposure = dice.uniform(0.8, 1.2)

    grain = noise(n, HEIGHT, WIDTH, (5, 7), generator)
    tone = dice.uniform(0.35, 0.85) * (1 - dice.uniform(0.2, 0.6) * smoothstep(arch(eye, face), -1.5, 2.0))
    skin = tone * shade(relief(eye, face), light, pose) * (1 + 0.02 * grain)
    top, bottom = margins(eye)
    along = smoothstep(eye.u, -0.08, 0.12) * smoothstep(eye.u, 1.08, 0.92)
    lash = dice.uniform(0.15, 0.5) * torch.exp(-((top - eye.row - 0.4) / 0.9).square())
    rim = 0.2 * torch.exp(-((eye.row - bottom - 0.3) / 0.9).square())
    skin = skin * (1 - along * (lash + rim).clamp_max(0.9))

    ball = eyeball(eye, pose, light, dice)
    opening = smoothstep(torch.minimum(eye.upper, eye.lower), -0.5, 0.5)
    image = torch.lerp(skin, ball, opening) * exposure
    return Batch(quantised(image), eye.labels)


def eyeball(eye: Eye, pose: Pose, light: Light, dice: RandomColumns) -> Tensor:
    """Sclera, iris, pupil and one glint in the clean look: ``(n, H, W)``."""
    depth = (1 - eye.ball_x.square() - eye.ball_y.square()).clamp_min(0.05).sqrt()
    facing = (light.x * eye.ball_x + light.y * eye.ball_y + light.z * depth).clamp_min(0)
    lit = light.ambient + (1 - light.ambient) * facing
    sclera = dice.uniform(0.8, 1.0) * lit * (0.7 + 0.3 * depth)
    flesh = smoothstep(eye.u, 0.16, 0.06)
    sclera = sclera * (1 - 0.45 * flesh)

    radius = (eye.iris_x.square() + eye.iris_y.square()).sqrt()
    rays, collar = iris_rays(eye, radius, dice), torch.exp(-((radius - 0.62) / 0.16).square())
    tone = dice.uniform(0.12, 0.42)
    iris = tone * (0.85 + 0.35 * collar + 0.18 * rays) * (1 - 0.55 * smoothstep(radius, 0.78, 1.0))
    half = 0.6 / eye.iris_px
    iris = torch.lerp(
        torch.full_like(iris, 0.02), iris * (0.5 + 0.5 * lit), smoothstep(radius, pose.pupil - half, pose.pupil + half)
    )
    ball = torch.lerp(iris, sclera, smoothstep(radius, 1 - half, 1 + half))
    ball = ball * (1 - dice.uniform(0.25, 0.5) * torch.exp(-eye.upper.clamp_min(0) / 1.8))
    ball = ball * (1 - 0.2 * torch.exp(-eye.lower.clamp_min(0) / 1.2))
    x, y = reflection(light, eye)
    size = dice.uniform(0.35, 0.8)
    return torch.lerp(ball, torch.ones_like(ball), dice.uniform(0.5, 1.0) * glint(eye, x, y, size, size))


def iris_rays(eye: Eye, radius: Tensor, dice: RandomColumns) -> Tensor:
    """The iris's radial fibres: a random mixture of the 4th, 8th and 16th harmonics of the angle, about -1 to 1."""
    scale = 1 / radius.clamp_min(0.05)
    cos, sin = eye.iris_x * scale, eye.iris_y * scale
    total = torch.zeros_like(radius)
    for harmonic in (2, 4, 8):
        cos, sin = cos.square() - sin.square(), 2 * cos * sin
        if harmonic > 2:
            total = total + dice.uniform(-0.7, 0.7) * cos + dice.uniform(-0.7, 0.7) * sin
    return total
