"""Webcam photographs of eyes: the appearance that the simulator lacks, from lashes to equalisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from pydantic import Field

from synthreal import Options
from synthreal_gaze.face import glint, height_above_brow, margins, reflection, relief, shade
from synthreal_gaze.sensor import equalise, jpeg
from synthreal_gaze.texture import blur, noise, quantise, smoothstep

if TYPE_CHECKING:
    from torch import Tensor

    from synthreal_gaze.anatomy import Pose
    from synthreal_gaze.eye import Eye
    from synthreal_gaze.face import Face, Light
    from synthreal_gaze.random_columns import RandomColumns


class CameraOptions(Options):
    """Image quality of the camera, and glasses."""

    noise: float = Field(1.0, ge=0, le=4, description="Factor on sensor noise.")
    blur: float = Field(1.0, ge=0, le=4, description="Factor on defocus and motion blur.")
    glasses: float = Field(0.2, ge=0, le=1, description="Share of people with glasses.")
    equalize: bool = Field(True, description="Equalise the histogram of each crop, as MPIIGaze does.")


@dataclass(frozen=True)
class Appearance:
    """The appearance of one person: fields ``(n, 1, 1)``; reflectances and strengths in [0, 1], lengths in px."""

    skin: Tensor
    sclera: Tensor
    iris: Tensor
    pores: Tensor
    lash: Tensor
    lash_length: Tensor
    lower_lash: Tensor
    brow: Tensor
    crease: Tensor
    lid: Tensor
    ring: Tensor
    waterline: Tensor
    socket: Tensor
    frame_tilt: Tensor
    frame_width: Tensor
    glasses: Tensor
    frame_y: Tensor
    frame_bend: Tensor
    frame_tone: Tensor

    COLUMNS = 19

    @classmethod
    def of(cls, columns: RandomColumns, glasses: float) -> Appearance:
        """Uses nineteen columns; ``glasses`` is the share of people who wear them."""
        return cls(
            skin=columns.uniform(0.45, 0.8),
            sclera=columns.uniform(0.75, 1.75),
            iris=columns.uniform(0.08, 0.24),
            pores=columns.uniform(0.002, 0.03),
            lash=columns.uniform(0.4, 0.95),
            lash_length=columns.uniform(0.8, 2.2),
            lower_lash=columns.uniform(0.0, 0.35),
            brow=columns.uniform(0.2, 0.8),
            crease=columns.uniform(0.15, 0.75),
            lid=columns.uniform(-0.15, 0.4),
            ring=columns.uniform(0.05, 0.4),
            waterline=columns.uniform(0.05, 0.4),
            socket=columns.uniform(0.0, 0.45),
            frame_tilt=columns.uniform(-0.25, 0.25),
            frame_width=columns.uniform(0.35, 0.9),
            glasses=columns.chance(glasses),
            frame_y=columns.uniform(-9.0, 13.0),
            frame_bend=columns.uniform(-0.015, 0.015),
            frame_tone=columns.uniform(-1.0, 1.0),
        )


@dataclass(frozen=True)
class Scene:
    """The scene in front of the camera."""

    eye: Eye
    pose: Pose
    face: Face
    appearance: Appearance
    light: Light


def photograph(scene: Scene, columns: RandomColumns, generator: torch.Generator, options: CameraOptions) -> Tensor:
    """Render, expose, blur, add noise, compress and equalise: ``(n, 1, H, W)`` in [0, 1]."""
    eye = scene.eye
    n, height, width = len(eye.u), eye.y.shape[1], eye.x.shape[2]
    streaks = noise(n, height, width, (6, 34), generator)
    skin, ball = _skin(scene, streaks, generator), _ball(scene, columns, generator)
    image = torch.lerp(skin, ball, smoothstep(torch.minimum(eye.upper, eye.lower), -0.8, 0.8))
    image = image * (1 - _lashes(eye, scene.appearance, streaks))
    image = _glasses(image, eye, scene.appearance, columns)

    uneven = columns.normal(0.0, 0.025) * eye.x + columns.normal(0.01, 0.022) * eye.y
    uneven = uneven + columns.uniform(0.03, 0.25) * noise(n, height, width, (2, 3), generator)
    uneven = uneven + columns.uniform(0.0, 0.14) * noise(n, height, width, (5, 8), generator)
    image = image * torch.exp(uneven) * columns.uniform(0.35, 0.8)
    image = image / (1 + 0.35 * image)

    soft = options.blur * columns.uniform(0.35, 0.85)
    smear = options.blur * 1.3 * columns.uniform(0.0, 1.0) ** 4
    sideways = columns.uniform(0.0, 1.0)
    image = blur(image, (soft.square() + (smear * (1 - sideways)).square()).sqrt(), soft + smear * sideways)

    level = options.noise * (0.003 + 0.02 * columns.uniform(0.0, 1.0) ** 3)
    grain = torch.randn(n, height, width, generator=generator, device=generator.device)
    grain = 0.8 * grain + 0.8 * noise(n, height, width, (20, 32), generator)
    image = image + level * grain * (0.3 + image.clamp_min(0)).sqrt()
    offset = torch.cat((columns.uniform(0, 8), columns.uniform(0, 8)), 1)[:, :, 0].long()
    image = jpeg(image, columns.uniform(0.05, 0.35), offset)
    return quantise(equalise(image) if options.equalize else image)


def _skin(scene: Scene, streaks: Tensor, generator: torch.Generator) -> Tensor:
    """Skin with pores, creases, lid, rim and brow, ``(n, H, W)``."""
    eye, face, appearance = scene.eye, scene.face, scene.appearance
    lit = shade(relief(eye, face), scene.light, scene.pose)
    n, height, width = lit.shape
    top, bottom = margins(eye)
    above, below = top - eye.row, eye.row - bottom
    pores = noise(n, height, width, (19, 30), generator) + 0.6 * noise(n, height, width, (8, 12), generator)
    skin = appearance.skin * lit * (1 + appearance.pores * pores)
    window = torch.exp(-((eye.u - 0.52) / 0.5).square().square())
    fold = face.crease * 1.5
    skin = skin * (1 - appearance.crease * window * torch.exp(-((above - fold) / 1.1).square()))
    skin = skin * (1 + appearance.lid * window * smoothstep(above, 0.0, 1.5) * smoothstep(above, fold, fold - 1.5))
    skin = skin * (1 - appearance.ring * torch.exp(-((below - 3.0) / 3.0).square()) * window)
    skin = skin * (1 + appearance.waterline * window * torch.exp(-((below - 0.8) / 0.8).square()))
    near = torch.exp(-(above.clamp_min(0) / 6).square()) * torch.exp(-(below.clamp_min(0) / 4).square())
    skin = skin * (1 - appearance.socket * near * torch.exp(-((eye.x - 1) / 20).square().square()))
    brow = smoothstep(height_above_brow(eye, face), -1.5, 2.0)
    return skin * (1 - appearance.brow * brow * (0.8 + 0.2 * streaks))


def _ball(scene: Scene, columns: RandomColumns, generator: torch.Generator) -> Tensor:
    """Dim sclera with veins, dark iris, two reflections and the shadow of the upper lid, ``(n, H, W)``."""
    eye, appearance, light, pupil = scene.eye, scene.appearance, scene.light, scene.pose.pupil
    n, height, width = eye.upper.shape
    round_off = (1 - 0.6 * (eye.ball_x.square() + eye.ball_y.square())).clamp_min(0.3)
    lit = light.ambient + (1 - light.ambient) * (light.x * eye.ball_x + light.y * eye.ball_y + light.z).clamp(0, 1.2)
    veins = noise(n, height, width, (11, 17), generator)
    sclera = appearance.sclera * appearance.skin * lit * round_off * (1 + 0.07 * veins)
    sclera = sclera * (1 - 0.25 * smoothstep(eye.u, 0.2, 0.02)) * (1 - 0.3 * smoothstep(eye.u, 0.75, 1.0))
    radius = (eye.iris_x.square() + eye.iris_y.square()).sqrt()
    edge = 1.0 / eye.iris_px
    iris = appearance.iris * (1 + 0.12 * veins) * (1 - 0.3 * smoothstep(radius, 0.75, 1.0))
    iris = iris * (0.45 + 0.55 * smoothstep(radius, pupil - edge, pupil + edge))
    ball = torch.lerp(iris, sclera, smoothstep(radius, 1 - edge, 1 + edge))
    ball = ball * (
        1 - columns.uniform(0.35, 0.8) * torch.exp(-(eye.upper.clamp_min(0) / columns.uniform(2.0, 5.0)).square())
    )
    ball = ball * (1 - 0.25 * torch.exp(-eye.lower.clamp_min(0) / 1.2))
    x, y = reflection(light, eye)
    lamp = (
        columns.chance(0.7)
        * columns.uniform(0.3, 0.9)
        * glint(eye, x, y, columns.uniform(0.4, 1.0), columns.uniform(0.4, 1.0))
    )
    ball = ball + lamp * 0.8
    screen = columns.chance(0.5) * columns.uniform(0.03, 0.25)
    x, y = eye.cornea
    return ball + screen * glint(
        eye, x + columns.uniform(-0.5, 0.5), y + 1.2, columns.uniform(0.8, 1.8), columns.uniform(0.6, 1.2)
    )


def _lashes(eye: Eye, appearance: Appearance, streaks: Tensor) -> Tensor:
    """Opacity of both rows of lashes, 0 to 0.95, ``(n, H, W)``: dense at the margin, frayed outwards."""
    top, bottom = margins(eye)
    along = smoothstep(eye.u, -0.12, 0.12) * smoothstep(eye.u, 1.2, 0.95) * (0.45 + 0.55 * eye.u.clamp(0, 1))
    strands = (0.75 + 0.35 * streaks).clamp(0, 1.2)
    length = appearance.lash_length * (0.5 + 0.5 * torch.exp(-((eye.u - 0.6) / 0.35).square()))
    upper = torch.exp(-((eye.row - top) / length).square()) * strands
    lower = torch.exp(-((eye.row - bottom - 0.5) / 1.2).square()) * strands
    return (along * (appearance.lash * upper + appearance.lower_lash * lower)).clamp(0, 0.95)


def _glasses(image: Tensor, eye: Eye, appearance: Appearance, columns: RandomColumns) -> Tensor:
    """For people with glasses: a bright or dark rim across the crop, and a pale reflection on the lens."""
    centre = (
        appearance.frame_y
        + appearance.frame_tilt * eye.x
        + appearance.frame_bend * eye.x.square()
        + columns.normal(0, 0.7)
    )
    rim = appearance.glasses * torch.exp(-((eye.y - centre) / appearance.frame_width).square().square())
    tone = torch.where(appearance.frame_tone > 0, 0.95, 0.08)
    image = torch.lerp(image, tone.expand_as(image), 0.85 * rim)
    patch = glint(eye, columns.uniform(-14, 14), columns.uniform(-8, 8), columns.uniform(2, 6), columns.uniform(1, 4))
    return image + appearance.glasses * columns.chance(0.5) * columns.uniform(0.08, 0.3) * patch
