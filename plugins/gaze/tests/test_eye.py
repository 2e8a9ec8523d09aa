from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from synthreal_gaze.anatomy import HEIGHT, SCALE_X, SCALE_Y, WIDTH, Anatomy, Place, Pose
from synthreal_gaze.eye import LABELS, Eye, project
from synthreal_gaze.geometry import gaze_to_angles
from synthreal_gaze.lids import BALL_RADIUS
from synthreal_gaze.random_columns import RandomColumns


def anatomy(n: int) -> Anatomy:
    return Anatomy.of(RandomColumns.roll(n, Anatomy.COLUMNS, torch.Generator().manual_seed(1)))


def pose(pitch: torch.Tensor, yaw: torch.Tensor, head_deg: float = 10.0, jitter_px: float = 1.0) -> Pose:
    dice = RandomColumns.roll(len(pitch), Pose.COLUMNS, torch.Generator().manual_seed(2))
    return Pose.of(dice, pitch[:, None, None], yaw[:, None, None], head_deg, jitter_px)


def looking(pitch_deg: list[float], yaw_deg: list[float]) -> Eye:
    """The same eye in a centred crop, looking several ways; the head takes only its share of the gaze."""
    one = RandomColumns(torch.full((len(pitch_deg), Anatomy.COLUMNS), 0.5))
    still = RandomColumns(torch.full((len(pitch_deg), Pose.COLUMNS), 0.5))
    pitch, yaw = (torch.deg2rad(torch.tensor(v))[:, None, None] for v in (pitch_deg, yaw_deg))
    return project(Anatomy.of(one), Pose.of(still, pitch, yaw, 0.0, 0.0))


@pytest.fixture(scope="module")
def drawn() -> tuple[Anatomy, Pose, Eye]:
    generator = torch.Generator().manual_seed(0)
    angles = (torch.rand(40, 2, generator=generator) - 0.5) * 1.2
    a, p = anatomy(40), pose(angles[:, 0], angles[:, 1])
    return a, p, project(a, p)


def field_at(field: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Value of fields (n, H, W) that are affine in the pixel, anywhere: (n, K) from (n, K) px."""
    origin = field[:, :1, 0]
    return origin + (field[:, :1, 1] - origin) * x + (field[:, 1:2, 0] - origin) * y


def test_labels_have_the_declared_shapes(drawn):
    eye = drawn[2]
    assert {label.name: (40, *label.shape) for label in LABELS} == {k: tuple(v.shape) for k, v in eye.labels.items()}
    assert all(value.dtype == torch.float32 and value.isfinite().all() for value in eye.labels.values())


def test_the_gaze_label_is_the_pose_in_mpiigaze_axes(drawn):
    _, p, eye = drawn
    angles = gaze_to_angles(eye.labels["gaze"])
    assert torch.allclose(angles, torch.cat((p.pitch, p.yaw), 1)[:, :, 0], atol=1e-5)
    assert torch.allclose(eye.labels["gaze"].norm(dim=1), torch.ones(40), atol=1e-6)


def test_the_iris_is_a_circle_of_the_eyeball_projected_point_by_point(drawn):
    a, p, eye = drawn
    for k in range(40):
        gaze = eye.labels["gaze"][k].double().numpy()
        side = np.cross(gaze, [0.0, 1.0, 0.0])
        side /= np.linalg.norm(side)
        radius = a.iris[k].item()
        turn = np.linspace(0, 2 * math.pi, 50)[:, None]
        circle = radius * (np.cos(turn) * side + np.sin(turn) * np.cross(gaze, side))
        circle = circle + math.sqrt(BALL_RADIUS**2 - radius**2) * gaze
        zoom = p.zoom[k].item()
        head = [value[k].item() for value in (a.ball_x, a.ball_y, a.ball_z)] @ head_axes(p, k)
        x = (WIDTH - 1) / 2 + p.shift_x[k].item() + SCALE_X * zoom * (head[0] + circle[:, 0])
        y = (HEIGHT - 1) / 2 + p.shift_y[k].item() + SCALE_Y * zoom * (head[1] + circle[:, 1])
        cx, cy, major, minor, angle = eye.labels["iris"][k].double().tolist()
        along = (x - cx) * math.cos(angle) + (y - cy) * math.sin(angle)
        across = (y - cy) * math.cos(angle) - (x - cx) * math.sin(angle)
        assert np.allclose((along / major) ** 2 + (across / minor) ** 2, 1, atol=1e-3)
        assert major >= minor
        assert eye.labels["pupil"][k, 0].tolist() == pytest.approx([x.mean(), y.mean()], abs=0.5)
        points = [torch.from_numpy(v).float()[None] for v in (x, y)]
        reach = field_at(eye.iris_x[k : k + 1], *points) ** 2 + field_at(eye.iris_y[k : k + 1], *points) ** 2
        assert torch.allclose(reach, torch.ones_like(reach), atol=2e-3)


def head_axes(p: Pose, k: int) -> np.ndarray:
    """Face axes in the camera as rows; the third is MPIIGaze's: pitch = asin(z_y), yaw = atan2(z_x, z_z)."""
    pitch, yaw = p.head_pitch[k].item(), p.head_yaw[k].item()
    z = np.array([math.cos(pitch) * math.sin(yaw), math.sin(pitch), math.cos(pitch) * math.cos(yaw)])
    x = np.array([math.cos(yaw), 0.0, -math.sin(yaw)])
    return np.stack((x, np.cross(z, x), z))


def test_the_head_turns_by_its_labelled_pose(drawn):
    _, p, eye = drawn
    points = np.random.default_rng(0).normal(size=(40, 3)) * 10
    x, y = Place(p)(*(torch.from_numpy(points[:, i]).float()[:, None, None] for i in range(3)))
    for k in range(40):
        turned = points[k] @ head_axes(p, k)
        zoom = p.zoom[k].item()
        assert x[k].item() == pytest.approx(27 + p.shift_x[k].item() + SCALE_X * zoom * turned[0], abs=1e-3)
        assert y[k].item() == pytest.approx(17 + p.shift_y[k].item() + SCALE_Y * zoom * turned[1], abs=1e-3)
    assert torch.allclose(eye.labels["head_pose"], torch.cat((p.head_pitch, p.head_yaw), 1)[:, :, 0])


def test_the_iris_fields_vanish_at_the_pupil(drawn):
    eye = drawn[2]
    x, y = eye.labels["pupil"][:, 0].unbind(1)
    for field in (eye.iris_x, eye.iris_y):
        assert field_at(field, x[:, None], y[:, None]).abs().max() < 1e-4


def test_positive_yaw_moves_the_pupil_to_the_left_and_positive_pitch_up():
    eye = looking([0.0, 0.0, 0.0, 15.0, -15.0], [0.0, 20.0, -20.0, 0.0, 0.0])
    x, y = eye.labels["pupil"][:, 0].unbind(1)
    assert x[1] < x[0] - 3
    assert x[2] > x[0] + 3
    assert x[1] + x[2] == pytest.approx(2 * x[0].item(), abs=0.05)
    assert y[3] < y[0] - 2
    assert y[4] > y[0] + 2


def test_lids_follow_the_pitch_and_open_to_the_labelled_outline():
    eye = looking([20.0, 0.0, -20.0], [0.0, 0.0, 0.0])
    upper, lower = eye.labels["lids"][:, 4, 1], eye.labels["lids"][:, 12, 1]
    assert upper[0] < upper[1] - 1 < upper[2] - 2
    assert lower[0] < lower[2]
    assert ((lower - upper).diff() < -1).all()


def test_the_outline_starts_at_the_inner_corner_and_lies_on_the_drawn_margins(drawn):
    eye = drawn[2]
    lids = eye.labels["lids"]
    assert (lids[:, 0, 0] < lids[:, 1:, 0].amin(1)).all()
    assert (lids[:, 8, 0] > lids[:, 9:, 0].amax(1)).all()
    for k in range(40):
        for i in range(16):
            x, y = lids[k, i].tolist()
            if not (1 <= x < WIDTH - 2 and 1 <= y < HEIGHT - 2):
                continue
            field = (eye.upper if i <= 8 else eye.lower)[k]
            column, row = int(x), int(y)
            top, bottom = field[row, column : column + 2], field[row + 1, column : column + 2]
            across = torch.lerp(top, bottom, y - row)
            assert abs(torch.lerp(across[0], across[1], x - column).item()) < 0.12


def test_the_middle_of_the_eye_is_open_and_its_outside_closed(drawn):
    eye = drawn[2]
    inside = torch.minimum(eye.upper, eye.lower) > 0
    assert (inside.flatten(1).sum(1) > 40).all()
    outside = (eye.u < -0.02) | (eye.u > 1.02)
    assert not (inside & outside).any()
