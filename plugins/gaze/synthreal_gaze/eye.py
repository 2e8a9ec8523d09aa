"""The geometry of an eye: per-pixel fields and exact labels from anatomy and pose.

Simulator and camera render the same fields, so eyeball, scale and the mapping from gaze to pixels are identical; only
the appearance differs. :mod:`synthreal_gaze.anatomy` defines units and axes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from synthreal import LabelSpec
from synthreal_gaze.anatomy import HEIGHT, WIDTH, Projection
from synthreal_gaze.geometry import GAZE, HEAD_POSE, PUPIL, angles_to_gaze
from synthreal_gaze.lids import BALL_RADIUS, MARGIN, Lids

if TYPE_CHECKING:
    from torch import Tensor

    from synthreal_gaze.anatomy import Anatomy, Pose

CORNEA = 5.6  # mm from the eyeball's centre to that of the cornea's sphere
LABELS = (
    GAZE,
    HEAD_POSE,
    PUPIL,
    LabelSpec("iris", (5,), "px, x, y, semi-major, semi-minor; rad, angle of the major axis"),
    LabelSpec("lids", (MARGIN, 2), "px, x and y, from the inner corner over the upper lid"),
)


@dataclass(frozen=True)
class Eye:
    """The fields of projected eyes.

    Attributes:
        row: rows of the image, ``(1, H, 1)``.
        x, y: mm from the midpoint of the corners, ``(n, 1, W)`` and ``(n, H, 1)``.
        u: position between the corners, 0 inner, 1 outer, ``(n, 1, W)``.
        upper, lower: signed distance (px) to the upper and lower lid margin, positive inside, ``(n, H, W)``.
        opening: rows of the two margins, each ``(n, 1, W)``; they meet at the corners and cross outside them.
        cornea: centre of the corneal sphere, mm from the midpoint of the corners, each ``(n, 1, 1)``.
        ball_x, ball_y: the eyeball's unit normal, ``(n, 1, W)`` and ``(n, H, 1)``.
        iris_x, iris_y: position in the iris plane in iris radii, ``(n, H, W)``; the limbus is the unit circle.
        iris_px: px per iris radius, ``(n, 1, 1)``.
        labels: exact labels, name to ``(n, *L)``.
    """

    row: Tensor
    x: Tensor
    y: Tensor
    u: Tensor
    upper: Tensor
    lower: Tensor
    opening: tuple[Tensor, Tensor]
    cornea: tuple[Tensor, Tensor]
    ball_x: Tensor
    ball_y: Tensor
    iris_x: Tensor
    iris_y: Tensor
    iris_px: Tensor
    labels: dict[str, Tensor]


def project(a: Anatomy, p: Pose) -> Eye:
    """Project eyes into the crop: the fields that are rendered, and the labels that follow from them exactly."""
    device = p.pitch.device
    column = torch.arange(WIDTH, device=device, dtype=torch.float32)[None, None, :]
    row = torch.arange(HEIGHT, device=device, dtype=torch.float32)[None, :, None]
    projection = Projection(p)
    lids = Lids.of(a, p, projection)
    u = (column - lids.inner_x) / (lids.outer_x - lids.inner_x)
    top, bottom = lids.rows(u)

    def inside(margin: Tensor) -> Tensor:
        slope = torch.diff(margin, dim=2, append=2 * margin[..., -1:] - margin[..., -2:-1])
        return (row - margin) * (1 + slope.square()).rsqrt()

    gaze = angles_to_gaze(torch.cat((p.pitch, p.yaw), 2)[:, 0])
    gx, gy, gz = gaze[:, :, None, None].unbind(1)
    ball_x, ball_y = projection(a.ball_x, a.ball_y, a.ball_z)
    reach = (BALL_RADIUS**2 - a.iris.square()).sqrt()
    iris_x, iris_y = ball_x + projection.kx * reach * gx, ball_y + projection.ky * reach * gy
    across = (gx.square() + gy.square()).sqrt().clamp_min(1e-6)
    ex, ey = torch.where(across > 2e-6, gx / across, 1.0), torch.where(across > 2e-6, gy / across, 0.0)
    qx, qy = (column - iris_x) / (projection.kx * a.iris), (row - iris_y) / (projection.ky * a.iris)
    radial, tangential = (qx * ex + qy * ey) / -gz, qy * ex - qx * ey
    labels = {
        "gaze": gaze,
        "head_pose": torch.cat((p.head_pitch, p.head_yaw), 1)[:, :, 0],
        "pupil": torch.cat((iris_x, iris_y), 2),
        "iris": _ellipse(iris_x, iris_y, projection.kx * a.iris, projection.ky * a.iris, ex, ey, -gz),
        "lids": lids.outline(),
    }
    return Eye(
        row=row,
        x=(column - projection.cx) / projection.kx,
        y=(row - projection.cy) / projection.ky,
        u=u,
        upper=inside(top),
        lower=-inside(bottom),
        opening=(top, bottom),
        cornea=(
            (ball_x - projection.cx) / projection.kx + CORNEA * gx,
            (ball_y - projection.cy) / projection.ky + CORNEA * gy,
        ),
        ball_x=(column - ball_x) / (projection.kx * BALL_RADIUS),
        ball_y=(row - ball_y) / (projection.ky * BALL_RADIUS),
        iris_x=radial * ex - tangential * ey,
        iris_y=radial * ey + tangential * ex,
        iris_px=(projection.kx + projection.ky) / 2 * a.iris,
        labels=labels,
    )


def _ellipse(x: Tensor, y: Tensor, rx: Tensor, ry: Tensor, ex: Tensor, ey: Tensor, squeeze: Tensor) -> Tensor:
    """Label ``iris (n, 5)``: the unit circle squeezed along (ex, ey), then scaled by (rx, ry); eigenvalues of M M'."""
    shrink = 1 - squeeze.square()
    xx, yy = rx.square() * (1 - shrink * ex.square()), ry.square() * (1 - shrink * ey.square())
    xy = -rx * ry * shrink * ex * ey
    middle, half = (xx + yy) / 2, ((xx - yy).square() / 4 + xy.square()).sqrt()
    angle = torch.atan2(2 * xy, xx - yy) / 2
    return torch.cat((x, y, (middle + half).sqrt(), (middle - half).sqrt(), angle), 1)[:, :, 0]
