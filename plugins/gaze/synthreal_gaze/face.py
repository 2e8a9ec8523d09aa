"""The skin around the eye: a height field shaded by a light, shared by the simulator and the camera domain.

Creases, the socket, the brow ridge and the nose are heights in millimetres, so that light turns them into the bright
and dark bands they are on a face, whatever its direction.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from synthreal_gaze.anatomy import SCALE_X, SCALE_Y

if TYPE_CHECKING:
    from torch import Tensor

    from synthreal_gaze.anatomy import Pose
    from synthreal_gaze.eye import Eye
    from synthreal_gaze.random_columns import RandomColumns


@dataclass(frozen=True)
class Face:
    """The relief of one person's skin; every field ``(n, 1, 1)``, mm unless said otherwise."""

    bulge: Tensor
    nose: Tensor
    brow: Tensor
    brow_y: Tensor
    socket: Tensor
    crease: Tensor
    crease_depth: Tensor
    bag: Tensor
    cheek: Tensor

    COLUMNS = 9

    @classmethod
    def of(cls, dice: RandomColumns) -> Face:
        """Nine columns to one relief."""
        return cls(
            bulge=dice.uniform(1.5, 3.0),
            nose=dice.uniform(2.0, 7.0),
            brow=dice.uniform(1.0, 4.0),
            brow_y=dice.uniform(-17.0, -11.0),
            socket=dice.uniform(0.5, 3.0),
            crease=dice.uniform(1.3, 4.0),
            crease_depth=dice.uniform(0.1, 0.7),
            bag=dice.uniform(0.0, 0.6),
            cheek=dice.uniform(-0.05, 0.25),
        )


@dataclass(frozen=True)
class Light:
    """A directional light (unit vector towards it: x right, y down, z to the viewer) over an ambient share."""

    x: Tensor
    y: Tensor
    z: Tensor
    ambient: Tensor

    @classmethod
    def of(cls, dice: RandomColumns, spread: float, ambient: tuple[float, float]) -> Light:
        """Three columns: up to ``spread`` rad to the sides, from above more often than from below."""
        side, height = dice.uniform(-spread, spread), dice.uniform(-0.35, 1.0) * spread
        return cls(side.sin() * height.cos(), -height.sin(), side.cos() * height.cos(), dice.uniform(*ambient))


def margins(eye: Eye) -> tuple[Tensor, Tensor]:
    """Rows of the upper and the lower lid margin ``(n, 1, W)``; outside the corners one line that droops."""
    top, bottom = eye.opening
    middle = (top + bottom) / 2 + 12 * (eye.u - 1).clamp_min(0) + 6 * (-eye.u).clamp_min(0)
    return torch.minimum(top, middle), torch.maximum(bottom, middle)


def arch(eye: Eye, face: Face) -> Tensor:
    """Height of each pixel above the brow's lower edge, mm, ``(n, H, W)``."""
    return face.brow_y + 0.012 * (eye.x - 3).square() - eye.y


def relief(eye: Eye, face: Face) -> Tensor:
    """Height of the skin towards the viewer, mm, ``(n, H, W)``."""
    top, bottom = margins(eye)
    above, below = (top - eye.row) / SCALE_Y, (eye.row - bottom) / SCALE_Y
    height = face.bulge * torch.exp(-(eye.x / 11).square()) * torch.exp(-((eye.y + 1) / 8).square())
    height = height + face.nose * torch.sigmoid(-(eye.x + 20) / 3.5) + face.cheek * eye.y
    height = height - face.socket * torch.exp(-((eye.x + 14) / 5).square()) * torch.exp(-((eye.y + 5) / 5).square())
    height = height + face.brow * torch.sigmoid(arch(eye, face) / 1.8)
    window = torch.exp(-((eye.u - 0.52) / 0.48).square().square())
    height = height - face.crease_depth * window * torch.exp(-((above - face.crease) / 0.7).square())
    return height + face.bag * window * torch.exp(-((below - 3.0) / 1.6).square())


def shade(height: Tensor, light: Light, p: Pose) -> Tensor:
    """Lambert's shading of a height field turned with the head, ambient included: ``(n, H, W)``, about 0 to 1."""
    down, across = torch.gradient(height, dim=(1, 2))
    slope_x, slope_y = across * SCALE_X + p.head_yaw.tan(), down * SCALE_Y + p.head_pitch.tan()
    facing = light.z - slope_x * light.x - slope_y * light.y
    facing = facing * (1 + slope_x.square() + slope_y.square()).rsqrt()
    return light.ambient + (1 - light.ambient) * facing.clamp_min(0)


def glint(eye: Eye, x: Tensor, y: Tensor, wide: Tensor, high: Tensor) -> Tensor:
    """A soft spot of light on the cornea at ``(x, y)`` mm from the middle of the corners: ``(n, H, W)`` in 0..1."""
    across, down = (eye.x - x) / wide, (eye.y - y) / high
    return torch.exp(-across.square().square()) * torch.exp(-down.square().square())


def reflection(light: Light, eye: Eye) -> tuple[Tensor, Tensor]:
    """Where a light shows on the cornea (mm): the point of its 7.8 mm sphere whose normal halves light and viewer."""
    half = math.sqrt(2) * (1 + light.z).clamp_min(1e-3).sqrt()
    return eye.cornea[0] + 7.8 * light.x / half, eye.cornea[1] + 7.8 * light.y / half
