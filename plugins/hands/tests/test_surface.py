"""The z-buffer: capsules against an oracle of many spheres, and the exact outline."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from synthreal_hands.cube import CUBE_MM, Crop, project
from synthreal_hands.surface import PARTS, Capsules, render, support

SIDE = 48


def crop(n: int, depth: float = 800.0, side: int = SIDE) -> Crop:
    centre = torch.tensor([[320.0, 240.0, depth]]).expand(n, 3)
    return Crop(centre, torch.full((n,), CUBE_MM / 2), torch.full((n,), float(side)))


def random_capsules(n: int, count: int, seed: int = 0) -> Capsules:
    generator = torch.Generator().manual_seed(seed)
    ends = (torch.rand(n, count, 2, 3, generator=generator) - 0.5) * 110
    ends[..., 2] += 800
    radii = 8 + 12 * torch.rand(n, count, 2, generator=generator)
    return Capsules(ends, radii, tuple(2 + k % 6 for k in range(count)))


def swept(skin: Capsules, frame: Crop, steps: int = 400) -> torch.Tensor:
    """The slow oracle: every capsule as ``steps`` spheres."""
    n, count = skin.radii.shape[:2]
    best = torch.full((n, SIDE, SIDE), torch.inf)
    axis = torch.arange(SIDE, dtype=torch.float32)
    for t in torch.linspace(0, 1, steps):
        centre = torch.lerp(skin.ends[:, :, 0], skin.ends[:, :, 1], t)
        radius = torch.lerp(skin.radii[..., 0], skin.radii[..., 1], t)
        place = frame.from_frame(project(centre))
        scale = SIDE / CUBE_MM * frame.centre[:, 2, None] / centre[..., 2]
        for k in range(count):
            x, y = (axis - place[:, k, i, None] for i in (0, 1))
            apart = (x[:, None, :] ** 2 + y[:, :, None] ** 2) / scale[:, k, None, None] ** 2
            room = radius[:, k, None, None] ** 2 - apart
            front = centre[:, k, 2, None, None] - room.clamp_min(0).sqrt()
            best = torch.minimum(best, torch.where(room > 0, front, torch.inf))
    return best


def test_the_front_of_capsules_is_that_of_spheres_along_their_axes():
    skin, frame = random_capsules(6, 3), crop(6)
    depth, _ = render(skin, frame, SIDE)
    oracle = swept(skin, frame)
    both = torch.isfinite(depth) & torch.isfinite(oracle)
    assert both.float().mean() > 0.05
    assert (torch.isfinite(depth) != torch.isfinite(oracle)).float().mean() < 0.01
    assert (depth - oracle)[both].abs().quantile(0.95) < 3.0  # mm; perspective bends long axes a little
    assert (depth - oracle)[both].abs().mean() < 1.0


def test_the_nearest_capsule_wins_and_gives_the_part():
    ends = torch.tensor([[[[-30.0, 0, 800], [30, 0, 800]], [[0, -30, 700], [0, 30, 700]]]])
    for order in ([0, 1], [1, 0]):
        skin = Capsules(ends[:, order], torch.full((1, 2, 2), 10.0), tuple((2, 5)[i] for i in order))
        depth, part = render(skin, crop(1), SIDE)
        assert part[0, SIDE // 2, SIDE // 2] == 5
        assert abs(float(depth[0, SIDE // 2, SIDE // 2]) - 690) < 2
        assert set(part.unique().tolist()) == {0, 2, 5}
        assert torch.equal(part == 0, torch.isinf(depth))


def test_a_finger_that_points_at_the_camera_is_a_disc():
    for off in [0.0, 1e-6, 1e-3, 5e-3]:
        ends = torch.tensor([[[[0.0, 0, 750], [off, 0, 850]]]])
        ends[..., 1, :2] *= 850 / 750
        depth, _ = render(Capsules(ends, torch.full((1, 1, 2), 40.0), (3,)), crop(1), SIDE)
        disc = torch.isfinite(depth).float().sum() * (CUBE_MM / SIDE) ** 2
        assert abs(float(disc) / (math.pi * (40 * 800 / 750) ** 2) - 1) < 0.15
        assert abs(float(depth.min()) - 710) < 3  # radii are those at the cube's centre


def test_a_crop_does_not_depend_on_the_distance():
    skin = random_capsules(1, 4)
    near = render(skin, crop(1), SIDE)[0]
    away = render(replace(skin, ends=skin.ends + torch.tensor([0, 0, 400.0])), crop(1, 1200.0), SIDE)[0] - 400
    both = torch.isfinite(near) & torch.isfinite(away)
    assert (torch.isfinite(near) == torch.isfinite(away)).float().mean() > 0.97  # perspective differs a little
    assert (near - away)[both].abs().median() < 1


def test_the_outline_matches_the_pixels():
    skin, frame = random_capsules(20, 4), crop(20, side=200)
    depth, _ = render(skin, frame, 200)
    row, column = torch.meshgrid(torch.arange(200.0), torch.arange(200.0), indexing="ij")
    angles = torch.linspace(0, 2 * math.pi, 9)[:-1]
    exact = support(skin, frame, angles)
    for i, angle in enumerate(angles):
        along = column * angle.cos() - row * angle.sin()
        reach = torch.where(torch.isfinite(depth), along, -torch.inf).flatten(1).amax(1)
        inside = exact[:, i] - reach
        assert inside.min() > -0.8 and inside.max() < 2.0  # px: half a pixel, and what tapering leaves out


def test_the_outline_excludes_the_arm():
    skin = random_capsules(3, 2)
    arm = Capsules(skin.ends, skin.radii, (PARTS.index("arm"), 3))
    alone = Capsules(skin.ends[:, 1:], skin.radii[:, 1:], (3,))
    angles = torch.tensor([0.0, 1.0])
    assert torch.equal(support(arm, crop(3), angles), support(alone, crop(3), angles))
