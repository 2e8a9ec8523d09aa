"""The skeleton: angles within limits, constant bone lengths, positions of joints."""

from __future__ import annotations

import math

import pytest
import torch

from synthreal_hands.skeleton import (
    FINGER_LIMITS,
    PHALANGES,
    POSE_COLUMNS,
    SHAPE_COLUMNS,
    THUMB_LIMITS,
    THUMB_PHALANGES,
    WRIST_LIMITS,
    Pose,
    Shape,
    bones,
    rotate,
)

N = 2000


def table(columns: int, seed: int = 0, n: int = N) -> torch.Tensor:
    return torch.rand(n, columns, generator=torch.Generator().manual_seed(seed))


def plain(n: int) -> Shape:
    """The mean hand shape."""
    return Shape.of(torch.full((n, SHAPE_COLUMNS), 0.5), spread=1.0)


def flat(n: int = 1, **angles: float) -> Pose:
    """A straight hand, except for the given angles in degrees."""
    fingers, thumb = torch.zeros(n, 4, 4), torch.zeros(n, 4)
    for finger, name in enumerate(("little", "ring", "middle", "index")):
        fingers[:, finger, 1] = math.radians(angles.get(name, 0.0))
    thumb[:] = torch.deg2rad(torch.tensor([45.0, 20.0, angles.get("thumb", 0.0), 0.0]))
    return Pose(fingers, thumb, torch.zeros(n, 2))


def test_joint_angles_cover_the_anatomical_range():
    for name, limits in [("fingers", FINGER_LIMITS), ("thumb", THUMB_LIMITS), ("wrist", WRIST_LIMITS)]:
        angles = torch.rad2deg(getattr(Pose.of(table(POSE_COLUMNS)), name)).flatten(0, -2)
        for column, (low, high) in zip(angles.unbind(-1), limits, strict=True):
            assert column.min() >= low - 1e-3 and column.max() <= high + 1e-3
            assert column.min() < low + 0.1 * (high - low) and column.max() > high - 0.15 * (high - low)


def test_bone_lengths_do_not_depend_on_the_pose():
    shape = Shape.of(table(SHAPE_COLUMNS, 1), spread=1.0)
    found = bones(shape, Pose.of(table(POSE_COLUMNS)))
    lengths = torch.linalg.vector_norm(found.fingers.diff(dim=2), dim=-1)
    expected = torch.tensor(PHALANGES) * (shape.size[:, None] * shape.length[:, :4])[..., None]
    torch.testing.assert_close(lengths, expected, rtol=1e-4, atol=1e-3)
    thumb = torch.linalg.vector_norm(found.thumb.diff(dim=1), dim=-1)
    expected = torch.tensor(THUMB_PHALANGES) * (shape.size * shape.length[:, 4])[:, None]
    torch.testing.assert_close(thumb, expected, rtol=1e-4, atol=1e-3)


def test_a_straight_hand_points_up_with_the_thumb_to_the_right():
    joints = bones(plain(1), flat()).joints()[0]
    tips, pips = joints[6::2], joints[7::2]
    assert (tips[:, 1] > pips[:, 1]).all() and (pips[:, 1] > joints[0, 1]).all()
    assert (tips[:, 0].diff() > 0).all()  # little, ring, middle, index from left to right
    thumb_tip, wrist_left, wrist_right = joints[3], joints[1], joints[2]
    assert thumb_tip[0] > wrist_right[0] > wrist_left[0]
    assert tips[2, 1] == tips[:, 1].max()  # the middle finger is the longest


def test_a_finger_bends_towards_the_palm_independently_of_the_others():
    straight, bent = (bones(plain(1), flat(**angles)).fingers[0] for angles in ({}, {"index": 80.0}))
    assert torch.equal(straight[:3], bent[:3])
    assert bent[3, 3, 2] < straight[3, 3, 2] - 60
    thumb_straight, thumb_bent = (bones(plain(1), flat(**angles)).thumb[0] for angles in ({}, {"thumb": 40.0}))
    assert thumb_bent[3, 2] < thumb_straight[3, 2]


def test_spread_is_the_variation_between_people():
    sizes = [Shape.of(table(SHAPE_COLUMNS), spread=spread).size.std() for spread in (0.0, 1.0, 1.3)]
    assert sizes[0] < 1e-6 < sizes[1] < sizes[2]
    shape = Shape.of(table(SHAPE_COLUMNS), spread=1.3)
    assert shape.girth.min() > 0.7 and shape.length.min() > 0.8 and shape.arm.min() > 18


def test_rotation_preserves_distances_and_uses_the_right_axes():
    points = torch.rand(3, 5, 3) * 100
    zero, quarter = torch.zeros(3), torch.full((3,), math.pi / 2)
    torch.testing.assert_close(rotate(points, zero, zero, zero), points)
    moved = rotate(points, torch.rand(3), torch.rand(3), torch.rand(3))
    torch.testing.assert_close(torch.cdist(moved, moved), torch.cdist(points, points), rtol=1e-3, atol=0.05)
    up = torch.tensor([[[0.0, 1.0, 0.0]]]).expand(3, 1, 3)
    assert rotate(up, zero, zero, quarter)[0, 0].tolist() == pytest.approx([-1, 0, 0], abs=1e-6)
    assert rotate(up, zero, quarter, zero)[0, 0].tolist() == pytest.approx([0, 0, 1], abs=1e-6)
    front = torch.tensor([[[0.0, 0.0, -1.0]]]).expand(3, 1, 3)
    assert rotate(front, quarter, zero, zero)[0, 0].tolist() == pytest.approx([-1, 0, 0], abs=1e-6)
