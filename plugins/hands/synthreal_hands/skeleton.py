"""The articulated hand: lengths and radii, joint angles within anatomical limits, and forward kinematics.

Local axes are those of a right hand with its palm towards the camera and its fingers up: x to the thumb, y along the
middle finger, z from the palm to the back of the hand; in mm, with the origin at the hand's centre (NYU's PALM_5).
Joint positions and bone lengths are rounded measurements from NYU's annotation of one subject. A finger bends towards
-z: each of its three phalanges points along ``cos(f) (sin a, cos a, 0) + sin(f) (0, 0, -1)`` with abduction a and
cumulative flexion f.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from synthreal_hands.cube import constant

# Four fingers, from little to index.
MCP = ((-41.0, 42.0, -8.0), (-20.0, 56.0, -3.0), (4.0, 58.0, -1.0), (28.0, 49.0, -3.0))
PHALANGES = ((33.0, 27.0, 15.0), (42.0, 32.0, 17.0), (49.0, 35.0, 19.0), (48.0, 33.0, 17.0))
FINGER_RADII = (
    (10.0, 8.6, 7.4, 6.4),
    (11.0, 9.6, 8.4, 7.2),
    (11.5, 10.0, 8.8, 7.5),
    (11.5, 9.8, 8.6, 7.4),
)  # at MCP, PIP, DIP, tip
FAN_DEG = (-14.0, -5.0, 0.0, 6.0)
THUMB_BASE = (14.0, -30.0, -18.0)
THUMB_PHALANGES = (52.0, 40.0, 25.0)
THUMB_RADII = (17.0, 13.0, 11.0, 9.0)
WRIST = (0.0, -57.0, 0.0)
PALM = {"PALM_1": (-18.0, -51.0, -3.0), "PALM_2": (18.0, -51.0, -3.0), "PALM_3": (0.0, 28.0, 0.0)}

# Degrees, minimum and maximum. Order: abduction, MCP, PIP, DIP of a finger.
FINGER_LIMITS = ((-10.0, 10.0), (-15.0, 85.0), (0.0, 100.0), (0.0, 65.0))
# Order: metacarpal to the side, metacarpal to the front, MCP, IP.
THUMB_LIMITS = ((25.0, 70.0), (5.0, 45.0), (0.0, 45.0), (-10.0, 65.0))
WRIST_LIMITS = ((-15.0, 15.0), (-40.0, 40.0))

SHAPE_COLUMNS = 16
POSE_COLUMNS = 24


@dataclass(frozen=True)
class Shape:
    """The hand shapes of ``n`` people: factors on the lengths and radii above.

    Attributes:
        size: of the whole hand, ``(n,)``.
        length: of the phalanges, ``(n, 5)``, thumb last.
        girth: of the fingers, ``(n, 5)``, thumb last.
        palm: width and thickness of the palm, ``(n, 2)``.
        arm: radius of the forearm in mm, ``(n,)``.
    """

    size: Tensor
    length: Tensor
    girth: Tensor
    palm: Tensor
    arm: Tensor

    @classmethod
    def of(cls, unit: Tensor, *, spread: float) -> Shape:
        """From a table ``(n, 16)`` of numbers in [0, 1); ``spread`` 1 is the variation between people."""
        signed = (2 * unit - 1) * spread
        size = 0.92 * (1 + 0.14 * signed[:, 0])
        common, own = signed[:, 1, None], signed[:, 2:7]
        girth = 1 + 0.12 * signed[:, 7, None] + 0.04 * signed[:, 8:13]
        return cls(size, 1 + 0.07 * common + 0.03 * own, girth, 1 + 0.1 * signed[:, 13:15], 25 + 4 * signed[:, 15])


@dataclass(frozen=True)
class Pose:
    """Joint angles in rad: ``fingers (n, 4, 4)``, ``thumb (n, 4)``, ``wrist (n, 2)``, within the limits above."""

    fingers: Tensor
    thumb: Tensor
    wrist: Tensor

    @classmethod
    def of(cls, unit: Tensor) -> Pose:
        """From a table ``(n, 24)`` of numbers in [0, 1).

        Fingers usually open and close together, so the curl of a finger is mixed with that of the hand, and the three
        joints of a finger bend together. Every angle within the limits can occur.
        """
        hand, own = unit[:, 0, None], unit[:, 1:5]
        together = unit[:, 5, None] < 0.6
        curl = torch.where(together, 0.75 * hand + 0.25 * own, own).square()
        loose = unit[:, 6:14].unflatten(1, (4, 2))
        abduction = unit[:, 14:18]
        bend = torch.stack(
            [abduction, curl * 0.8 + 0.2 * loose[..., 0], curl * 0.85 + 0.15 * loose[..., 1], curl], dim=-1
        )
        return cls(
            interpolate_limits(FINGER_LIMITS, bend),
            interpolate_limits(THUMB_LIMITS, unit[:, 18:22]),
            interpolate_limits(WRIST_LIMITS, unit[:, 22:24]),
        )


def interpolate_limits(limits: tuple[tuple[float, float], ...], unit: Tensor) -> Tensor:
    """Angles in rad: ``unit`` 0 to 1 maps linearly to the limits, which are in degrees."""
    low, high = torch.deg2rad(constant(limits, (unit.device, unit.dtype))).unbind(-1)
    return low + (high - low) * unit


@dataclass(frozen=True)
class Bones:
    """Joint positions, mm in local axes.

    Attributes:
        fingers: MCP, PIP, DIP, tip of the four fingers, ``(n, 4, 4, 3)``.
        thumb: base, MCP, IP, tip, ``(n, 4, 3)``.
        wrist: ``(n, 3)``.
        elbow: far outside the cube, ``(n, 3)``.
        palm: PALM_1, PALM_2, PALM_3, ``(n, 3, 3)``.
    """

    fingers: Tensor
    thumb: Tensor
    wrist: Tensor
    elbow: Tensor
    palm: Tensor

    def joints(self) -> Tensor:
        """The 14 joints that NYU's authors evaluate, in their order, ``(n, 14, 3)``.

        PALM_3, PALM_1, PALM_2; tip, IP and MCP of the thumb; tip and PIP of the little, ring, middle and index finger.
        """
        palm = self.palm.roll(1, dims=1)
        return torch.cat([palm, self.thumb.flip(1)[:, :3], self.fingers.flip(2)[:, :, ::2].flatten(1, 2)], dim=1)


def bones(shape: Shape, pose: Pose) -> Bones:
    """Joint positions from shape and pose (forward kinematics)."""
    device, n = shape.size.device, len(shape.size)

    def fixed(values: object) -> Tensor:
        return constant(values, (device, shape.size.dtype))

    widths = torch.stack([shape.palm[:, 0], torch.ones_like(shape.size), shape.palm[:, 1]], dim=-1)
    scale = shape.size[:, None] * widths
    size = shape.size[:, None, None]

    a = pose.fingers[..., 0] + torch.deg2rad(fixed(FAN_DEG))
    bend = pose.fingers[..., 1:].cumsum(-1)
    straight = torch.stack([a.sin(), a.cos(), torch.zeros_like(a)], dim=-1)[:, :, None]
    down = fixed((0.0, 0.0, -1.0))
    direction = bend.cos()[..., None] * straight + bend.sin()[..., None] * down
    steps = direction * (fixed(PHALANGES) * shape.length[:, :4, None])[..., None] * size[..., None]
    base = fixed(MCP) * scale[:, None]
    fingers = torch.cat([base[:, :, None], base[:, :, None] + steps.cumsum(2)], dim=2)

    side, front = pose.thumb[:, 0], pose.thumb[:, 1]
    first = torch.stack([side.sin() * front.cos(), side.cos() * front.cos(), -front.sin()], dim=-1)
    towards = fixed((-0.5, 0.4, -0.77)).expand(n, 3)
    across = towards - (towards * first).sum(-1, keepdim=True) * first
    across = across / torch.linalg.vector_norm(across, dim=-1, keepdim=True)
    bend = torch.cat([torch.zeros(n, 1, device=device), pose.thumb[:, 2:].cumsum(-1)], dim=-1)[..., None]
    direction = bend.cos() * first[:, None] + bend.sin() * across[:, None]
    steps = direction * (fixed(THUMB_PHALANGES) * shape.length[:, 4:])[..., None] * size
    base = fixed(THUMB_BASE) * scale
    thumb = torch.cat([base[:, None], base[:, None] + steps.cumsum(1)], dim=1)

    wrist = fixed(WRIST) * scale
    sway, nod = pose.wrist.unbind(-1)
    back = torch.stack([sway.sin() * nod.cos(), -sway.cos() * nod.cos(), nod.sin()], dim=-1)
    palm = fixed(tuple(PALM.values())) * scale[:, None]
    return Bones(fingers, thumb, wrist, wrist + 320 * back, palm)


def rotate(points: Tensor, yaw: Tensor, pitch: Tensor, roll: Tensor) -> Tensor:
    """Rotate points ``(n, K, 3)`` about y, then x, then z by angles ``(n,)`` in rad."""
    (cy, sy), (cp, sp), (cr, sr) = ((angle.cos(), angle.sin()) for angle in (yaw, pitch, roll))
    zero, one = torch.zeros_like(yaw), torch.ones_like(yaw)

    def matrix(*entries: Tensor) -> Tensor:
        return torch.stack(entries, dim=-1).view(-1, 3, 3)

    about_y = matrix(cy, zero, sy, zero, one, zero, -sy, zero, cy)
    about_x = matrix(one, zero, zero, zero, cp, -sp, zero, sp, cp)
    about_z = matrix(cr, -sr, zero, sr, cr, zero, zero, zero, one)
    return points @ (about_z @ about_x @ about_y).mT
