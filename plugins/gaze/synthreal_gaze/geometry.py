"""Gaze directions as vectors and angles, the angle between two of them, and the shared specs.

The whole domain uses the frame of MPIIGaze's normalized camera: x to the right of the image, y down, z away from the
camera. A gaze vector points from the eye to its target, so looking straight into the camera is (0, 0, -1).
Pitch is positive when the eye looks up in the image, yaw when it looks to the image's left (MPIIGaze readme:
``pitch = asin(-y)``, ``yaw = atan2(-x, -z)``).

The data sets share these image and label specs, because an evaluator accepts a data set only if the label specs are
equal, including the unit.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from synthreal import ImageSpec, LabelSpec

RealRole = Literal["real", "real_labelled", "validation", "test"]
EYE = ImageSpec(channels=1, height=35, width=55, dtype="uint8", meaning="grey eye crop")
GAZE = LabelSpec("gaze", (3,), "unit vector, camera frame")
HEAD_POSE = LabelSpec("head_pose", (2,), "rad, pitch and yaw of the face, up and image left positive")
PUPIL = LabelSpec("pupil", (1, 2), "px, x and y of the projected centre")


def gaze_to_angles(gaze: Tensor) -> Tensor:
    """Convert gaze vectors to angles.

    The pitch is computed as ``atan2(-y, |(x, z)|)``, which equals ``asin(-y)`` for unit vectors, is defined when
    rounding makes |y| exceed 1, is accurate near the poles, and does not depend on the vector's length.

    Args:
        gaze: vectors ``(..., 3)`` of any positive length, camera frame.

    Returns:
        ``(..., 2)``: pitch in [-pi/2, pi/2] and yaw in [-pi, pi], radians.
    """
    x, y, z = gaze.unbind(-1)
    pitch = torch.atan2(-y, torch.linalg.vector_norm(torch.stack((x, z), dim=-1), dim=-1))
    return torch.stack((pitch, torch.atan2(-x, -z)), dim=-1)


def angles_to_gaze(angles: Tensor) -> Tensor:
    """Convert angles to unit gaze vectors; the inverse of :func:`gaze_to_angles`.

    Args:
        angles: ``(..., 2)``, pitch and yaw in radians.

    Returns:
        Unit vectors ``(..., 3)`` in the camera frame.
    """
    pitch, yaw = angles.unbind(-1)
    level = -torch.cos(pitch)
    return torch.stack((level * torch.sin(yaw), -torch.sin(pitch), level * torch.cos(yaw)), dim=-1)


def angular_error(pred: Tensor, gaze: Tensor) -> Tensor:
    """Angle between predicted and true directions.

    ``atan2(|a x b|, a . b)`` has full precision at 0 and 180 degrees, where ``acos`` of a dot product loses half of the
    digits or returns NaN. The lengths do not matter. A zero vector counts as 90 degrees, the mean error of a random
    direction, so that a dead network does not appear perfect.

    Args:
        pred: ``(B, 3)``, any length.
        gaze: ``(B, 3)``, any length.

    Returns:
        ``(B,)`` degrees in [0, 180]; its gradient is finite everywhere.
    """
    a, a_zero = _normalise(pred)
    b, b_zero = _normalise(gaze)
    zero = a_zero | b_zero
    # Not linalg.cross: its fused multiply-add leaves a remainder for a x a.
    cross = a.roll(-1, -1) * b.roll(1, -1) - a.roll(1, -1) * b.roll(-1, -1)
    angle = torch.rad2deg(torch.atan2(torch.linalg.vector_norm(cross, dim=-1), (a * b).sum(-1)))
    return torch.where(zero, torch.full_like(angle, 90.0), angle)


def _normalise(vector: Tensor) -> tuple[Tensor, Tensor]:
    """Scale vectors ``(B, 3)`` to a largest component of 1 against overflow and underflow; also mark zero vectors."""
    size = vector.detach().abs().amax(-1, keepdim=True)
    zero = size == 0
    ahead = torch.tensor((0.0, 0.0, -1.0), dtype=vector.dtype, device=vector.device)
    return torch.where(zero, ahead, vector / torch.where(zero, torch.ones_like(size), size)), zero.squeeze(-1)
