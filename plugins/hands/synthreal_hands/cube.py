"""Coordinates: camera frame, the cube around a hand, and the square crop of the cube.

Frames are 640x480 with the intrinsics of the NYU data set's scripts. uvd is (column px, row px, depth mm). xyz is in mm
in the camera frame: x right, **y up**, z away from the camera, so v = 240 - fy * y / z. A cube of side :data:`CUBE_MM`
around the hand's centre (u, v, d) projects to a window of the frame, which a crop samples on a square grid. Crop
coordinates are px of that grid; 0 is the centre of the first pixel.

Depth in a crop is (depth - d + half) / (2 half): 0 on the near face of the cube, 1 on the far face. Pixels beyond the
cube and pixels without a measurement are exactly 1 (far), never near.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from synthreal import ImageSpec, LabelSpec

FRAME = (640, 480)
FX, FY = 588.036865, 587.075073
CX, CY = 320.0, 240.0
CUBE_MM = 330.0
"""Side of the cube. With the common 300 mm, 14 % of NYU's test frames have a joint outside the crop; with 330, 1 %."""

JOINT_COUNT = 14
JOINTS = LabelSpec("joints", (JOINT_COUNT, 3), "px, px of the crop, mm behind its centre")
XYZ = LabelSpec("xyz", (JOINT_COUNT, 3), "mm, camera frame, y up")
CROP = LabelSpec("crop", (5,), "centre px, px, mm in the frame; half cube mm; side of the image px")

RealRole = Literal["real", "real_labelled", "validation", "test"]


@functools.lru_cache(maxsize=256)
def constant(values: Any, like: tuple[torch.device, torch.dtype]) -> Tensor:
    """Nested tuples of numbers as a tensor. Cached, because each copy to a GPU synchronises it."""
    device, dtype = like
    return torch.tensor(values, device=device, dtype=dtype)


def hand_image(side: int) -> ImageSpec:
    """The image spec of a crop of ``side`` px: 16-bit depth, background at 1."""
    return ImageSpec(
        channels=1,
        height=side,
        width=side,
        dtype="uint16",
        meaning="depth in the hand's cube, 0 near face .. 1 far face or nothing",
        background=1.0,
        invalid=1.0,
        colormap="viridis",
    )


@dataclass(frozen=True)
class Crop:
    """The crops of a batch: ``centre (n, 3)`` uvd, ``half (n,)`` mm (half the cube), ``side (n,)`` px of the image."""

    centre: Tensor
    half: Tensor
    side: Tensor

    @classmethod
    def of(cls, label: Tensor) -> Crop:
        """From the label ``crop (n, 5)``."""
        return cls(label[:, :3], label[:, 3], label[:, 4])

    def label(self) -> Tensor:
        """The label ``crop (n, 5)`` float32."""
        return torch.cat([self.centre, self.half[:, None], self.side[:, None]], dim=1).float()

    @property
    def pitch(self) -> Tensor:
        """Distance of neighbouring crop pixels in px of the frame, across and down: ``(n, 2)``."""
        reach = 2 * self.half[:, None] * constant((FX, FY), (self.half.device, self.half.dtype)) / self.centre[:, 2:]
        return reach / self.side[:, None]

    @property
    def _middle(self) -> Tensor:
        return (self.side[:, None, None] - 1) / 2

    def from_frame(self, uvd: Tensor) -> Tensor:
        """Map points ``(n, K, 3)`` uvd of the frame to the crop: px, px, mm behind the centre."""
        uv = (uvd[..., :2] - self.centre[:, None, :2]) / self.pitch[:, None] + self._middle
        return torch.cat([uv, uvd[..., 2:] - self.centre[:, None, 2:]], dim=-1)

    def to_frame(self, joints: Tensor) -> Tensor:
        """The inverse of :meth:`from_frame`; takes ``(n, K, 3)`` or ``(1, K, 3)``."""
        uv = (joints[..., :2] - self._middle) * self.pitch[:, None] + self.centre[:, None, :2]
        return torch.cat([uv, joints[..., 2:] + self.centre[:, None, 2:]], dim=-1)

    def to_unit(self, depth: Tensor) -> Tensor:
        """Map depth ``(n, H, W)`` mm to [0, 1]. Non-positive and non-finite depth (not measured) becomes 1."""
        centre, half = self.centre[:, 2, None, None], self.half[:, None, None]
        value = ((depth - centre + half) / (2 * half)).clamp(0, 1)
        return torch.where((depth > 0) & torch.isfinite(depth), value, torch.ones_like(value))


def project(xyz: Tensor) -> Tensor:
    """Project points ``(..., 3)`` mm of the camera frame to uvd."""
    x, y, z = xyz.unbind(-1)
    return torch.stack([CX + FX * x / z, CY - FY * y / z, z], dim=-1)


def unproject(uvd: Tensor) -> Tensor:
    """Back-project points ``(..., 3)`` uvd to mm of the camera frame."""
    u, v, d = uvd.unbind(-1)
    return torch.stack([(u - CX) * d / FX, (CY - v) * d / FY, d], dim=-1)
