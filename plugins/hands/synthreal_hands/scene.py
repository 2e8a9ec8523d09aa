"""A hand in front of a depth camera: the geometry and labels that simulator and camera share.

They differ only in hand shapes, ranges, and the sensor errors that the camera adds to the depth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from synthreal import LabelSpec
from synthreal_hands.cube import CROP, CUBE_MM, CX, CY, JOINTS, XYZ, Crop, constant, project, unproject
from synthreal_hands.skeleton import POSE_COLUMNS, Pose, Shape, bones, interpolate_limits, rotate
from synthreal_hands.surface import Capsules, capsules, render, support

VIEW_COLUMNS = 9
SCENE_COLUMNS = POSE_COLUMNS + VIEW_COLUMNS
CORNERS_DEG = (25.0, 35.0, 45.0)
OUTLINE = LabelSpec("outline", (len(CORNERS_DEG), 2), "px")


@dataclass(frozen=True)
class Ranges:
    """Ranges of the view: angles in degrees, distance in mm, and the offset of the cube (``jitter``) in mm."""

    yaw: float
    pitch: tuple[float, float]
    roll: float
    distance: tuple[float, float]
    jitter: float


@dataclass(frozen=True)
class Scene:
    """Skin and 14 joints ``xyz (n, 14, 3)`` in the camera frame (mm, y up), and the crop of ``side`` px."""

    skin: Capsules
    xyz: Tensor
    crop: Crop
    side: int

    @classmethod
    def of(cls, shape: Shape, unit: Tensor, ranges: Ranges, side: int) -> Scene:
        """Pose and view from a table ``(n, 33)`` of numbers in [0, 1)."""
        skeleton = bones(shape, Pose.of(unit[:, :POSE_COLUMNS]))
        view = unit[:, POSE_COLUMNS:]
        turns = ((-ranges.yaw, ranges.yaw), ranges.pitch, (-ranges.roll, ranges.roll))
        angles = interpolate_limits(turns, view[:, :3]).unbind(-1)
        low, high = ranges.distance
        distance = low + (high - low) * view[:, 3]
        u, v = CX + 200 * (view[:, 4] - 0.5), CY + 140 * (view[:, 5] - 0.5)
        middle = unproject(torch.stack([u, v, distance], dim=-1))[:, None]
        skin = capsules(skeleton, shape)
        ends = rotate(skin.ends.flatten(1, 2), *angles) + middle
        xyz = rotate(skeleton.joints(), *angles) + middle
        off = ranges.jitter * (2 * view[:, 6:9] - 1)
        centre = project(middle[:, 0] + off)
        crop = Crop(centre, torch.full_like(distance, CUBE_MM / 2), torch.full_like(distance, side))
        placed = replace(skin, ends=ends.unflatten(1, skin.ends.shape[1:3]))
        return cls(placed, xyz, crop, side)

    def depth(self) -> tuple[Tensor, Tensor]:
        """Depth ``(n, S, S)`` mm, inf for background, and the part of every pixel, uint8."""
        return render(self.skin, self.crop, self.side)

    def labels(self) -> dict[str, Tensor]:
        """The exact labels ``joints``, ``xyz`` and ``crop``, float32."""
        joints = self.crop.from_frame(project(self.xyz))
        return {JOINTS.name: joints, XYZ.name: self.xyz, CROP.name: self.crop.label()}

    def outline(self) -> Tensor:
        """The label ``outline (n, 3, 2)`` px, the target of :func:`synthreal_hands.outline.locate_corners`."""
        return intersect_lines(support(self.skin, self.crop, directions(self.xyz)))


def directions(like: Tensor) -> Tensor:
    """Angles ``(2K,)`` in rad of the supporting lines: right of up by :data:`CORNERS_DEG`, then left of it."""
    lean = torch.deg2rad(constant(CORNERS_DEG, (like.device, like.dtype)))
    return torch.cat([math.pi / 2 - lean, math.pi / 2 + lean])


def intersect_lines(reach: Tensor) -> Tensor:
    """Intersect pairs of supporting lines whose directions lean equally right and left of up.

    Args:
        reach: ``(n, 2K)`` px, extent of the silhouette in each of :func:`directions`.

    Returns:
        ``(n, K, 2)`` px (x, y), y downwards.
    """
    right, left = reach.unflatten(1, (2, -1)).unbind(1)
    lean = torch.deg2rad(constant(CORNERS_DEG, (reach.device, reach.dtype)))
    return torch.stack([(right - left) / (2 * lean.sin()), -(right + left) / (2 * lean.cos())], dim=-1)
