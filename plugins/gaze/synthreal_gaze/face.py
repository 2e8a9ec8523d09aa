"""The skin around the eye: a height field shaded by a light, shared by simulator and camera.

Creases, socket, brow ridge and nose are heights in millimetres, so that their shading follows the direction of the
light, as on a face.
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
    """The relief of one person's skin: fields of shape ``(n, 1, 1)``, lengths in mm."""

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
    def of(cls, columns: RandomColumns) -> Face:
        """Uses nine columns."""
        return cls(
            bulge=columns.uniform(1.5, 3.0),
            nose=columns.uniform(2.0, 7.0),
            brow=columns.uniform(1.0, 4.0),
            brow_y=columns.uniform(-17.0, -11.0),
            socket=columns.uniform(0.5, 3.0),
            crease=columns.uniform(1.3, 4.0),
            crease_depth=columns.uniform(0.1, 0.7),
            bag=columns.uniform(0.0, 0.6),
            cheek=columns.uniform(-0.05, 0.25),
        )


@dataclass(frozen=True)
class Light:
    """A directional light (unit vector towards it: x right, y down, z to the viewer) and the share of ambient light."""

    x: Tensor
    y: Tensor
    z: Tensor
    ambient: Tensor

    @classmethod
    def of(cls, columns: RandomColumns, spread: float, ambient: tuple[float, float]) -> Light:
        """Uses three columns. Up to ``spread`` rad to either side, from above more often than from below."""
        side, height = columns.uniform(-spread, spread), columns.uniform(-0.35, 1.0) * spread
        return cls(side.sin() * height.cos(), -height.sin(), side.cos() * height.cos(), columns.uniform(*ambient))


def margins(eye: Eye) -> tuple[Tensor, Tensor]:
    """Rows of the upper and lower lid margin ``(n, 1, W)``; outside the corners both are one drooping line."""
    top, bottom = eye.opening
    middle = (top + bottom) / 2 + 12 * (eye.u - 1).clamp_min(0) + 6 * (-eye.u).clamp_min(0)
    return torch.minimum(top, middle), torch.maximum(bottom, middle)


def height_above_brow(eye: Eye, face: Face) -> Tensor:
    """Distance of each pixel above the lower edge of the brow, mm, ``(n, H, W)``."""
    return face.brow_y + 0.012 * (eye.x - 3).square() - eye.y


def relief(eye: Eye, face: Face) -> Tensor:
    """Height of the skin towards the viewer in mm, ``(n, H, W)``."""
    top, bottom = margins(eye)
    above, below = (top - eye.row) / SCALE_Y, (eye.row - bottom) / SCALE_Y
    height = face.bulge * torch.exp(-(eye.x / 11).square()) * torch.exp(-((eye.y + 1) / 8).square())
    height = height + face.nose * torch.sigmoid(-(eye.x + 20) / 3.5) + face.cheek * eye.y
    height = height - face.socket * torch.exp(-((eye.x + 14) / 5).square()) * torch.exp(-((eye.y + 5) / 5).square())
    height = height + face.brow * torch.sigmoid(height_above_brow(eye, face) / 1.8)
    window = torch.exp(-((eye.u - 0.52) / 0.48).square().square())
    height = height - face.crease_depth * window * torch.exp(-((above - face.crease) / 0.7).square())
    return height + face.bag * window * torch.exp(-((below - 3.0) / 1.6).square())


def shade(height: Tensor, light: Light, p: Pose) -> Tensor:
    """Lambertian shading of a height field rotated with the head, plus ambient light: ``(n, H, W)``, about 0 to 1."""
    down, across = torch.gradient(height, dim=(1, 2))
    slope_x, slope_y = across * SCALE_X + p.head_yaw.tan(), down * SCALE_Y + p.head_pitch.tan()
    facing = light.z - slope_x * light.x - slope_y * light.y
    facing = facing * (1 + slope_x.square() + slope_y.square()).rsqrt()
    return light.ambient + (1 - light.ambient) * facing.clamp_min(0)


def glint(eye: Eye, x: Tensor, y: Tensor, wide: Tensor, high: Tensor) -> Tensor:
    """A soft highlight at ``(x, y)`` mm from the midpoint of the corners: ``(n, H, W)`` in [0, 1]."""
    across, down = (eye.x - x) / wide, (eye.y - y) / high
    return torch.exp(-across.square().square()) * torch.exp(-down.square().square())


def reflection(light: Light, eye: Eye) -> tuple[Tensor, Tensor]:
    """Position (mm) of a light's reflection on the 7.8 mm cornea, where the normal bisects light and viewer."""
    half = math.sqrt(2) * (1 + light.z).clamp_min(1e-3).sqrt()
    return eye.cornea[0] + 7.8 * light.x / half, eye.cornea[1] + 7.8 * light.y / half
