from __future__ import annotations

import math

import torch

from synthreal_signs.geometry import SIZE
from synthreal_signs.plate import RING_OUTER, Plate


def plates(n: int = 50, tilt: float = 0.8) -> Plate:
    unit = torch.rand(n, 7, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return Plate.of(
        radius=12 + 2 * unit[:, 0],
        x=15.5 + 2 * unit[:, 1],
        y=15.5 + 2 * unit[:, 2],
        yaw=tilt * unit[:, 3],
        pitch=tilt * unit[:, 4],
        roll=tilt * unit[:, 5],
        distance=6 + 3 * unit[:, 6],
    )


def frontal(**changes: float) -> Plate:
    values = {"radius": 10.0, "x": 15.0, "y": 16.0, "yaw": 0.0, "pitch": 0.0, "roll": 0.0, "distance": 8.0} | changes
    return Plate.of(**{name: torch.tensor([value]) for name, value in values.items()})


def test_a_frontal_plate_is_a_square_with_a_circle() -> None:
    labels = frontal().labels()
    torch.testing.assert_close(labels["corners"][0], torch.tensor([[5.0, 6.0], [25, 6], [25, 26], [5, 26]]))
    torch.testing.assert_close(labels["ring"][0, :4], torch.tensor([15.0, 16, 9.6, 9.6]))
    ends = torch.tensor([[15.0, 16], [24.6, 16], [15, 25.6], [5.4, 16], [15, 6.4]])
    torch.testing.assert_close(labels["extent"][0], ends, atol=1e-4, rtol=0)


def test_roll_turns_right_to_down_and_yaw_narrows_the_ring() -> None:
    turned = frontal(roll=math.pi / 2).labels()["corners"][0]
    torch.testing.assert_close(turned[0], torch.tensor([25.0, 6.0]), atol=1e-4, rtol=0)
    x, y, a, b, angle = frontal(yaw=math.radians(60), distance=1e4).labels()["ring"][0]
    torch.testing.assert_close(torch.stack((x, y, a, b)), torch.tensor([15.0, 16, 9.6, 4.8]), atol=0.01, rtol=0)
    assert abs(abs(angle) - math.pi / 2) < 1e-3


def test_the_nearer_half_is_larger() -> None:
    corners = frontal(yaw=0.5, distance=6.0).labels()["corners"][0]
    left, right = corners[3, 1] - corners[0, 1], corners[2, 1] - corners[1, 1]
    assert right > 1.05 * left  # a positive yaw turns the right side to the camera


def test_the_ring_is_the_circle_projected_point_by_point() -> None:
    plate = plates()
    turn = torch.linspace(0, 2 * math.pi, 101)[:-1]
    circle = torch.stack((RING_OUTER * turn.cos(), RING_OUTER * turn.sin(), torch.ones(100)), dim=1)
    points = circle @ plate.to_image.mT
    points = points[..., :2] / points[..., 2:]
    labels = plate.labels()
    x, y, a, b, angle = labels["ring"].T[..., None]
    assert (a >= b).all()
    dx, dy = points[..., 0] - x, points[..., 1] - y
    along, across = dx * angle.cos() + dy * angle.sin(), dy * angle.cos() - dx * angle.sin()
    reach = (along / a).square() + (across / b).square()
    torch.testing.assert_close(reach, torch.ones_like(reach), atol=1e-3, rtol=0)
    ends = labels["extent"]
    torch.testing.assert_close(ends[:, 1, 0], points[..., 0].amax(1), atol=0.02, rtol=0)
    torch.testing.assert_close(ends[:, 3, 0], points[..., 0].amin(1), atol=0.02, rtol=0)
    torch.testing.assert_close(ends[:, 2, 1], points[..., 1].amax(1), atol=0.02, rtol=0)
    torch.testing.assert_close(ends[:, 4, 1], points[..., 1].amin(1), atol=0.02, rtol=0)
    nearest = torch.cdist(ends[:, 1:], points).amin(2)
    assert nearest.max() < 0.5  # the ends lie on the ellipse, not only at its bounds


def test_coordinates_invert_the_projection() -> None:
    plate = plates(tilt=0.4)
    u, v = plate.coordinates(SIZE, 1)
    back = torch.stack((u, v, torch.ones_like(u)), dim=-1).flatten(1, 2) @ plate.to_image.mT
    back = (back[..., :2] / back[..., 2:]).unflatten(1, (SIZE, SIZE))
    pixel = torch.arange(float(SIZE))
    torch.testing.assert_close(back[..., 0], pixel.expand_as(u), atol=2e-3, rtol=0)
    torch.testing.assert_close(back[..., 1], pixel[:, None].expand_as(u), atol=2e-3, rtol=0)
    fine, _ = plate.coordinates(SIZE, 2)
    assert fine.shape == (50, 2 * SIZE, 2 * SIZE)
    torch.testing.assert_close(fine.unflatten(1, (SIZE, 2)).unflatten(3, (SIZE, 2)).mean((2, 4)), u, atol=2e-3, rtol=0)


def test_right_stays_right_beyond_the_horizon_of_a_tilted_plate() -> None:
    """Poles and backgrounds would otherwise appear again, mirrored."""
    for yaw in (1.2, -1.2):  # the horizon is 9 px beside the middle
        u, _ = frontal(radius=4.0, yaw=yaw, distance=6.0).coordinates(SIZE, 1)
        assert (u[0, :, 16:] > 0).all() and (u[0, :, :15] < 0).all()
