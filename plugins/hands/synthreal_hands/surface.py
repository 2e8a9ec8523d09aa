"""The surface of the hand: tapered capsules rendered into a z-buffer, batched on the device.

A capsule is the union of spheres whose centre and radius vary linearly between two end points. In the plane of the
crop, with positions and radii scaled to the depth of the cube's centre, its front is the minimum over t of
``depth(t) - sqrt(r^2 - |p - c(t)|^2)``. For a constant radius the minimising t has a closed form,
``t = (s - h * rise / length) / reach``, where s is the position along the projected axis, h^2 = r^2 - (distance to the
axis)^2, and reach and length are the extents of the axis in the plane and in space.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from synthreal_hands.cube import Crop, project
from synthreal_hands.skeleton import FINGER_RADII, THUMB_RADII

if TYPE_CHECKING:
    from synthreal_hands.skeleton import Bones, Shape

MIN_EXTENT_MM = 1e-2
PARTS = ("nothing", "arm", "palm", "thumb", "little", "ring", "middle", "index")


@dataclass(frozen=True)
class Capsules:
    """``K`` capsules of ``n`` hands: ends ``(n, K, 2, 3)`` mm, radii ``(n, K, 2)`` mm, and the ``part`` of each."""

    ends: Tensor
    radii: Tensor
    part: tuple[int, ...]


def capsules(skeleton: Bones, shape: Shape) -> Capsules:
    """The capsules of a hand: 2 for the arm, 13 for the palm, 3 per finger."""
    pieces: list[tuple[Tensor, Tensor, Tensor, Tensor, int]] = []
    size, thick = shape.size, shape.size * shape.palm[:, 1]

    def add(a: Tensor, b: Tensor, radius_a: Tensor, radius_b: Tensor, part: str) -> None:
        pieces.append((a, b, radius_a, radius_b, PARTS.index(part)))

    sideways = skeleton.palm[:, 1] - skeleton.palm[:, 0]
    along = sideways / torch.linalg.vector_norm(sideways, dim=-1, keepdim=True)
    for sign in (-1, 1):
        offset = sign * 0.45 * shape.arm[:, None] * along
        add(skeleton.wrist + offset, skeleton.elbow + 1.6 * offset, 0.8 * shape.arm, 1.35 * shape.arm, "arm")

    mcp = skeleton.fingers[:, :, 0]
    left, right = skeleton.palm[:, 0], skeleton.palm[:, 1]
    heel = [left, left + 0.35 * sideways, left + 0.65 * sideways, right]
    for finger in range(4):
        add(heel[finger], mcp[:, finger], 15.5 * thick, 12.0 * thick, "palm")
    for finger in range(3):
        middle = (mcp[:, finger] + mcp[:, finger + 1]) / 2
        low = (heel[finger] + heel[finger + 1]) / 2
        add(low, middle, 15.5 * thick, 11.5 * thick, "palm")
        add(mcp[:, finger], mcp[:, finger + 1], 11.0 * thick, 11.0 * thick, "palm")
    add(left, right, 16.0 * thick, 16.0 * thick, "palm")
    web = skeleton.thumb[:, 0] + 0.75 * (skeleton.thumb[:, 1] - skeleton.thumb[:, 0])
    add(web, (mcp[:, 3] + right) / 2, 9.0 * thick, 10.0 * thick, "palm")
    add(skeleton.thumb[:, 0], right, 15.0 * thick, 14.0 * thick, "palm")

    for joint in range(3):
        first, second = (THUMB_RADII[joint + i] * size * shape.girth[:, 4] for i in (0, 1))
        add(skeleton.thumb[:, joint], skeleton.thumb[:, joint + 1], first, second, "thumb")
        for finger, part in enumerate(PARTS[4:]):
            first, second = (FINGER_RADII[finger][joint + i] * size * shape.girth[:, finger] for i in (0, 1))
            add(skeleton.fingers[:, finger, joint], skeleton.fingers[:, finger, joint + 1], first, second, part)

    ends = torch.stack([torch.stack([a, b], dim=1) for a, b, *_ in pieces], dim=1)
    radii = torch.stack([torch.stack([ra, rb], dim=1) for _, _, ra, rb, _ in pieces], dim=1)
    return Capsules(ends, radii, tuple(part for *_, part in pieces))


@dataclass(frozen=True)
class ProjectedCapsules:
    """Capsules in the plane of a crop.

    Attributes:
        place: positions of the ends ``(n, K, 2, 2)``, px.
        radius: ``(n, K, 2)`` px.
        depth: ``(n, K, 2)`` mm.
        mm_per_px: in the middle plane of the cube, ``(n, 1, 1)``.
    """

    place: Tensor
    radius: Tensor
    depth: Tensor
    mm_per_px: Tensor


def project_capsules(skin: Capsules, crop: Crop) -> ProjectedCapsules:
    """Project capsules from the camera frame into a crop, with perspective scaling of the radii."""
    count = skin.radii.shape[1]
    uvd = crop.from_frame(project(skin.ends.flatten(1, 2))).unflatten(1, (count, 2))
    depth = skin.ends[..., 2]
    px_per_mm = (crop.side / (2 * crop.half))[:, None, None] * crop.centre[:, 2, None, None] / depth
    return ProjectedCapsules(uvd[..., :2], skin.radii * px_per_mm, depth, (2 * crop.half / crop.side)[:, None, None])


def render(skin: Capsules, crop: Crop, side: int) -> tuple[Tensor, Tensor]:
    """Depth ``(n, S, S)`` mm, inf for background, and part numbers ``(n, S, S)`` uint8, indices of :data:`PARTS`."""
    projected = project_capsules(skin, crop)
    n, device = len(skin.ends), skin.ends.device
    grid = torch.arange(side, device=device, dtype=skin.ends.dtype)
    row, column = grid[:, None], grid[None, :]
    nearest = torch.full((n, side, side), torch.inf, device=device, dtype=skin.ends.dtype)
    part = torch.zeros((n, side, side), dtype=torch.uint8, device=device)
    for k, number in enumerate(skin.part):
        depth = _front(projected, k, row, column)
        part = torch.where(depth < nearest, torch.full_like(part, number), part)
        nearest = torch.minimum(nearest, depth)
    return nearest, part


def _front(projected: ProjectedCapsules, k: int, row: Tensor, column: Tensor) -> Tensor:
    """The front of capsule ``k``: depth ``(n, S, S)`` mm, inf outside."""
    mm = projected.mm_per_px
    (ax, ay), (bx, by) = (projected.place[:, k, end, :, None, None].unbind(1) for end in (0, 1))
    ra, rb = (mm * projected.radius[:, k, end, None, None] for end in (0, 1))
    za, zb = (projected.depth[:, k, end, None, None] for end in (0, 1))
    dx, dy, rise = mm * (bx - ax), mm * (by - ay), zb - za
    reach = (dx.square() + dy.square()).sqrt().clamp_min(MIN_EXTENT_MM)
    slope = rise / (reach.square() + rise.square()).sqrt()
    end_on = reach <= MIN_EXTENT_MM  # points at the camera: the direction of its axis is arbitrary
    ex, ey = torch.where(end_on, 1, dx / reach), torch.where(end_on, 0, dy / reach)
    x, y = mm * (column - ax), mm * (row - ay)
    s = x * ex + y * ey  # position along the axis, mm; a sum of a row and a column
    height_sq = (x * ey - y * ex).square_().neg_()
    height_sq += ((s / reach).clamp_(0, 1) * (rb - ra) + ra).square_()
    t = height_sq.clamp_min(0).sqrt_().mul_(-slope).add_(s).div_(reach).clamp_(0, 1)
    height_sq -= (s - t * reach).square_()
    depth = t.mul_(rise).add_(za).sub_(height_sq.clamp_min(0).sqrt_())
    return depth.masked_fill_(height_sq <= 0, torch.inf)


def support(skin: Capsules, crop: Crop, angles: Tensor) -> Tensor:
    """Extent of the hand without the arm in directions ``angles (A,)`` rad (0 right, pi/2 up): ``(n, A)`` px.

    The maximum of ``p . direction`` over the discs at the ends of the capsules, with p = (column, -row) in crop px.
    """
    projected = project_capsules(skin, crop)
    direction = torch.stack([angles.cos(), -angles.sin()], dim=-1)
    reach = projected.place @ direction.T + projected.radius[..., None]
    arm = skin.part.count(PARTS.index("arm"))
    assert all(PARTS[part] == "arm" for part in skin.part[:arm]), "capsules() starts with the arm"
    reach = reach[:, arm:]
    return reach.flatten(1, 2).amax(1)
