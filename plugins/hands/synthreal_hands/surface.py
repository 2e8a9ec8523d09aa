"""Skin around the bones: tapered capsules drawn into a z-buffer, on the device, a batch at a time.

A capsule is a sphere that rolls from one point to another while its radius changes. In the plane of the crop, with
positions and radii scaled to the depth of the cube's centre, its front is where the spheres
``depth(t) - sqrt(r^2 - |p - c(t)|^2)`` are nearest; for a constant radius the t that minimises this has a closed form,
``t = (s - h * rise / length) / reach`` with s the place along the projected axis, h^2 = r^2 - (distance to it)^2,
reach and length the axis's extent in the plane and in space.
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

AIMED_MM = 1e-2
PARTS = ("nothing", "arm", "palm", "thumb", "little", "ring", "middle", "index")


@dataclass(frozen=True)
class Capsules:
    """``K`` capsules of ``n`` hands: ends ``(n, K, 2, 3)`` mm, radii ``(n, K, 2)`` mm, ``part`` number of each."""

    ends: Tensor
    radii: Tensor
    part: tuple[int, ...]


def capsules(found: Bones, shape: Shape) -> Capsules:
    """The skin of the hand: 2 for the arm, 13 for the palm, 3 a finger."""
    pieces: list[tuple[Tensor, Tensor, Tensor, Tensor, int]] = []
    size, thick = shape.size, shape.size * shape.palm[:, 1]

    def add(a: Tensor, b: Tensor, radius_a: Tensor, radius_b: Tensor, part: str) -> None:
        pieces.append((a, b, radius_a, radius_b, PARTS.index(part)))

    sideways = found.palm[:, 1] - found.palm[:, 0]
    along = sideways / torch.linalg.vector_norm(sideways, dim=-1, keepdim=True)
    for sign in (-1, 1):
        offset = sign * 0.45 * shape.arm[:, None] * along
        add(found.wrist + offset, found.elbow + 1.6 * offset, 0.8 * shape.arm, 1.35 * shape.arm, "arm")

    mcp = found.fingers[:, :, 0]
    left, right = found.palm[:, 0], found.palm[:, 1]
    heel = [left, left + 0.35 * sideways, left + 0.65 * sideways, right]
    for finger in range(4):
        add(heel[finger], mcp[:, finger], 15.5 * thick, 12.0 * thick, "palm")
    for finger in range(3):
        between = (mcp[:, finger] + mcp[:, finger + 1]) / 2
        low = (heel[finger] + heel[finger + 1]) / 2
        add(low, between, 15.5 * thick, 11.5 * thick, "palm")
        add(mcp[:, finger], mcp[:, finger + 1], 11.0 * thick, 11.0 * thick, "palm")
    add(left, right, 16.0 * thick, 16.0 * thick, "palm")
    web = found.thumb[:, 0] + 0.75 * (found.thumb[:, 1] - found.thumb[:, 0])
    add(web, (mcp[:, 3] + right) / 2, 9.0 * thick, 10.0 * thick, "palm")
    add(found.thumb[:, 0], right, 15.0 * thick, 14.0 * thick, "palm")

    for joint in range(3):
        first, second = (THUMB_RADII[joint + i] * size * shape.girth[:, 4] for i in (0, 1))
        add(found.thumb[:, joint], found.thumb[:, joint + 1], first, second, "thumb")
        for finger, part in enumerate(PARTS[4:]):
            first, second = (FINGER_RADII[finger][joint + i] * size * shape.girth[:, finger] for i in (0, 1))
            add(found.fingers[:, finger, joint], found.fingers[:, finger, joint + 1], first, second, part)

    ends = torch.stack([torch.stack([a, b], dim=1) for a, b, *_ in pieces], dim=1)
    radii = torch.stack([torch.stack([ra, rb], dim=1) for _, _, ra, rb, _ in pieces], dim=1)
    return Capsules(ends, radii, tuple(part for *_, part in pieces))


@dataclass(frozen=True)
class Flat:
    """Capsules in the plane of a crop.

    Attributes:
        place: of their ends ``(n, K, 2, 2)``, px.
        radius: ``(n, K, 2)`` px.
        depth: ``(n, K, 2)`` mm.
        mm_per_px: in the cube's middle plane ``(n, 1, 1)``.
    """

    place: Tensor
    radius: Tensor
    depth: Tensor
    mm_per_px: Tensor


def flatten(skin: Capsules, crop: Crop) -> Flat:
    """Project capsules in the camera frame into a crop; far ends shrink as perspective wants it."""
    count = skin.radii.shape[1]
    uvd = crop.from_frame(project(skin.ends.flatten(1, 2))).unflatten(1, (count, 2))
    depth = skin.ends[..., 2]
    px_per_mm = (crop.side / (2 * crop.half))[:, None, None] * crop.centre[:, 2, None, None] / depth
    return Flat(uvd[..., :2], skin.radii * px_per_mm, depth, (2 * crop.half / crop.side)[:, None, None])


def draw(skin: Capsules, crop: Crop, side: int) -> tuple[Tensor, Tensor]:
    """Depth ``(n, S, S)`` in mm, inf where there is nothing, and part numbers ``(n, S, S)`` uint8 (:data:`PARTS`)."""
    flat = flatten(skin, crop)
    n, device = len(skin.ends), skin.ends.device
    grid = torch.arange(side, device=device, dtype=skin.ends.dtype)
    row, column = grid[:, None], grid[None, :]
    nearest = torch.full((n, side, side), torch.inf, device=device, dtype=skin.ends.dtype)
    part = torch.zeros((n, side, side), dtype=torch.uint8, device=device)
    for k, number in enumerate(skin.part):
        depth = _front(flat, k, row, column)
        part = torch.where(depth < nearest, torch.full_like(part, number), part)
        nearest = torch.minimum(nearest, depth)
    return nearest, part


def _front(flat: Flat, k: int, row: Tensor, column: Tensor) -> Tensor:
    """The front of capsule ``k``: depth mm ``(n, S, S)``, inf beside it."""
    mm = flat.mm_per_px
    (ax, ay), (bx, by) = (flat.place[:, k, end, :, None, None].unbind(1) for end in (0, 1))
    ra, rb = (mm * flat.radius[:, k, end, None, None] for end in (0, 1))
    za, zb = (flat.depth[:, k, end, None, None] for end in (0, 1))
    dx, dy, rise = mm * (bx - ax), mm * (by - ay), zb - za
    reach = (dx.square() + dy.square()).sqrt().clamp_min(AIMED_MM)
    slope = rise / (reach.square() + rise.square()).sqrt()
    aimed = reach <= AIMED_MM  # at the camera: any direction will do for its axis
    ex, ey = torch.where(aimed, 1, dx / reach), torch.where(aimed, 0, dy / reach)
    x, y = mm * (column - ax), mm * (row - ay)
    s = x * ex + y * ey  # place along the axis, mm; a sum of a row and a column
    room = (x * ey - y * ex).square_().neg_()
    room += ((s / reach).clamp_(0, 1) * (rb - ra) + ra).square_()
    t = room.clamp_min(0).sqrt_().mul_(-slope).add_(s).div_(reach).clamp_(0, 1)
    room -= (s - t * reach).square_()
    depth = t.mul_(rise).add_(za).sub_(room.clamp_min(0).sqrt_())
    return depth.masked_fill_(room <= 0, torch.inf)


def support(skin: Capsules, crop: Crop, angles: Tensor) -> Tensor:
    """How far the hand without its arm reaches in directions ``angles (A,)`` rad (0 right, pi/2 up): ``(n, A)`` px.

    The largest ``p . direction`` over the discs that end the capsules, p in crop px with rows counted upwards (-row).
    """
    flat = flatten(skin, crop)
    direction = torch.stack([angles.cos(), -angles.sin()], dim=-1)
    reach = flat.place @ direction.T + flat.radius[..., None]
    arm = skin.part.count(PARTS.index("arm"))
    assert all(PARTS[part] == "arm" for part in skin.part[:arm]), "capsules() begins with the arm"
    reach = reach[:, arm:]
    return reach.flatten(1, 2).amax(1)
