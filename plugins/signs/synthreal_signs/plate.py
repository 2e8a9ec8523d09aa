"""Where the plate is: a homography from the plate to the image, and the labels that follow from it.

Coordinates of the plate are (u, v), u to the right and v down, in radii of the plate with its white rim; the plate
turns about its centre and is seen by a camera at a distance of several radii.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from synthreal import LabelSpec
from synthreal_signs.geometry import CORNERS, RING

RING_OUTER, RING_INNER = 0.96, 0.685  # radii of the borders of the red ring; the inner one varies a little
EXTENT = LabelSpec(
    "extent", (5, 2), "px, x and y: centre, right, bottom, left and top end of the outer border of the red ring"
)


@dataclass(frozen=True)
class Plate:
    """``to_image (n, 3, 3)`` maps (u, v, 1) to homogeneous (x, y, w), px with pixel centres at integers."""

    to_image: Tensor

    @classmethod
    def of(
        cls, radius: Tensor, x: Tensor, y: Tensor, yaw: Tensor, pitch: Tensor, roll: Tensor, distance: Tensor
    ) -> Plate:
        """The plate at a pose; every argument is ``(n,)``.

        Args:
            radius: of the plate seen from the front, px.
            x: of the centre of the plate, px.
            y: of the centre of the plate, px.
            yaw: rotation about the vertical axis, rad.
            pitch: rotation about the horizontal axis, rad.
            roll: rotation in the plane of the plate, rad.
            distance: of the camera, in radii of the plate.
        """
        zero, one = torch.zeros_like(radius), torch.ones_like(radius)
        turn_yaw = _matrix([[yaw.cos(), zero, yaw.sin()], [zero, one, zero], [-yaw.sin(), zero, yaw.cos()]])
        turn_pitch = _matrix([[one, zero, zero], [zero, pitch.cos(), -pitch.sin()], [zero, pitch.sin(), pitch.cos()]])
        turn_roll = _matrix([[roll.cos(), -roll.sin(), zero], [roll.sin(), roll.cos(), zero], [zero, zero, one]])
        turn = turn_yaw @ turn_pitch @ turn_roll
        middle = torch.stack((zero, zero, distance), dim=1)
        in_camera = torch.stack((turn[:, :, 0], turn[:, :, 1], middle), dim=2)
        focal = radius * distance
        return cls(_matrix([[focal, zero, x], [zero, focal, y], [zero, zero, one]]) @ in_camera)

    def coordinates(self, side: int, samples: int) -> tuple[Tensor, Tensor]:
        """U and v, each ``(n, S, S)``, at ``samples`` by ``samples`` places in each of ``side`` by ``side`` pixels."""
        inverse = torch.linalg.inv(self.to_image)
        place = (torch.arange(side * samples, device=inverse.device) + 0.5) / samples - 0.5
        a = inverse[:, :, :, None, None]
        u, v, w = (a[:, row, 0] * place + a[:, row, 1] * place[:, None] + a[:, row, 2] for row in range(3))
        w = w.clamp_min(0.05 / self.to_image[:, 2:, 2:])  # w is the inverse of the depth
        return u / w, v / w

    def labels(self) -> dict[str, Tensor]:
        """``corners (n, 4, 2)``, ``ring (n, 5)`` and ``extent (n, 5, 2)``, px."""
        square = torch.tensor([[-1.0, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1]], device=self.to_image.device)
        projected = square @ self.to_image.mT
        ring, extent = _ellipse(self.to_image, RING_OUTER)
        return {CORNERS.name: projected[..., :2] / projected[..., 2:], RING.name: ring, EXTENT.name: extent}


def _matrix(rows: list[list[Tensor]]) -> Tensor:
    return torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)


def _ellipse(to_image: Tensor, radius: float) -> tuple[Tensor, Tensor]:
    """The image of a circle about (0, 0) of the plate, as ``ring (n, 5)`` and ``extent (n, 5, 2)``.

    The dual conic (the lines that touch the circle) maps as ``H D H^T``. With its last entry scaled to -1, the last
    column holds the negative centre, and what remains is the matrix of the ellipse about its centre: the eigenvalues
    are the squared semi-axes, the diagonal the squared reach in x and in y.
    """
    dual = torch.diag(torch.tensor([radius**2, radius**2, -1.0], device=to_image.device, dtype=torch.float64))
    dual = to_image.double() @ dual @ to_image.double().mT
    dual = dual / -dual[:, 2:, 2:]
    centre = -dual[:, :2, 2]
    spread = dual[:, :2, :2] + centre[:, :, None] * centre[:, None, :]
    (a, c), b = spread.diagonal(dim1=1, dim2=2).unbind(1), spread[:, 0, 1]
    middle, half = (a + c) / 2, (((a - c) / 2).square() + b.square()).sqrt()
    axes = torch.stack((middle + half, middle - half), dim=1).sqrt()
    angle = torch.atan2(2 * b, a - c) / 2
    ring = torch.cat((centre, axes, angle[:, None]), dim=1)
    zero, x, y = torch.zeros_like(a), a.sqrt(), c.sqrt()
    right, down = torch.stack((x, b / x), dim=1), torch.stack((b / y, y), dim=1)
    offsets = torch.stack((torch.stack((zero, zero), dim=1), right, down, -right, -down), dim=1)
    return ring.float(), (centre[:, None] + offsets).float()
