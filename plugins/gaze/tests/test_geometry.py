"""Gaze geometry: conventions, round trips, and angles that are exact where acos is not."""

from __future__ import annotations

import math

import pytest
import torch

from synthreal_gaze.geometry import angles_to_gaze, angular_error, gaze_to_angles


def _directions(n: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(n, 3, generator=generator, dtype=torch.float64)
    return vectors / vectors.norm(dim=-1, keepdim=True)


def test_conventions_of_mpiigaze() -> None:
    for vector, pitch_deg, yaw_deg in [
        ((0.0, 0.0, -1.0), 0.0, 0.0),  # into the camera
        ((0.0, -0.5, -math.sqrt(0.75)), 30.0, 0.0),  # up in the image (y points down)
        ((-0.5, 0.0, -math.sqrt(0.75)), 0.0, 30.0),  # to the image's left
        ((0.5, 0.0, -math.sqrt(0.75)), 0.0, -30.0),
        ((0.0, 1.0, 0.0), -90.0, None),
    ]:
        pitch, yaw = torch.rad2deg(gaze_to_angles(torch.tensor(vector, dtype=torch.float64))).tolist()
        assert pitch == pytest.approx(pitch_deg, abs=1e-12)
        if yaw_deg is not None:
            assert yaw == pytest.approx(yaw_deg, abs=1e-12)


def test_pitch_is_asin_and_yaw_atan2_of_the_readme() -> None:
    gaze = _directions(500)
    expected = torch.stack((torch.asin(-gaze[:, 1]), torch.atan2(-gaze[:, 0], -gaze[:, 2])), dim=-1)
    torch.testing.assert_close(gaze_to_angles(gaze), expected, atol=1e-12, rtol=0)


def test_round_trip_over_leading_dimensions_and_lengths() -> None:
    gaze = _directions(60).reshape(3, 4, 5, 3)
    angles = gaze_to_angles(gaze * 7.5)
    assert angles.shape == (3, 4, 5, 2)
    torch.testing.assert_close(angles_to_gaze(angles), gaze, atol=1e-14, rtol=0)
    torch.testing.assert_close(gaze_to_angles(angles_to_gaze(angles)), angles, atol=1e-14, rtol=0)


def test_vectors_slightly_longer_than_1_give_no_nan() -> None:
    up = torch.tensor([[0.0, -1.0000002, 0.0]])
    assert gaze_to_angles(up)[0, 0].item() == pytest.approx(math.pi / 2)


def test_error_equals_the_angle_of_a_rotation() -> None:
    for degrees in (1e-9, 1e-6, 1e-3, 0.1, 7.0, 45.0, 90.0, 135.0, 179.0, 180.0 - 1e-6):
        axis = _directions(200, seed=1)
        side = torch.linalg.cross(axis, _directions(200, seed=2))
        side = side / side.norm(dim=-1, keepdim=True)
        angle = math.radians(degrees)
        turned = math.cos(angle) * axis + math.sin(angle) * side
        error = angular_error(3.0 * turned, 0.01 * axis)
        torch.testing.assert_close(error, torch.full((200,), degrees, dtype=torch.float64), atol=1e-13, rtol=1e-6)


def test_error_is_exact_at_0_and_180() -> None:
    for dtype in [torch.float32, torch.float64]:
        gaze = _directions(300).to(dtype)
        assert angular_error(gaze, gaze).max().item() == 0.0
        assert (angular_error(-gaze, gaze) == 180.0).all()


def test_float32_keeps_small_angles_that_acos_loses() -> None:
    gaze = torch.tensor([[0.0, 0.0, -1.0]])
    turned = torch.tensor([[math.sin(1e-4), 0.0, -math.cos(1e-4)]])
    assert angular_error(turned, gaze).item() == pytest.approx(math.degrees(1e-4), rel=1e-5)


def test_tiny_and_huge_vectors_have_a_direction() -> None:
    gaze = torch.tensor([[1e-30, 0.0, 0.0], [1e30, 0.0, 0.0]])
    other = torch.tensor([[0.0, 1e-30, 0.0], [1e30, 1e30, 0.0]])
    torch.testing.assert_close(angular_error(gaze, other), torch.tensor([90.0, 45.0]))


def test_a_zero_prediction_counts_as_90_degrees() -> None:
    gaze = torch.tensor([[0.0, 0.0, -1.0]])
    assert angular_error(torch.zeros(1, 3), gaze).item() == 90.0


def test_gradient_is_finite_everywhere() -> None:
    gaze = torch.tensor([[0.0, 0.0, -1.0]]).repeat(5, 1)
    pred = torch.tensor([[0, 0, -1], [0, 0, 1], [0, 0, 0], [1, 0, 0], [0.1, 0.2, -0.9]], requires_grad=True)
    angular_error(pred, gaze).sum().backward()
    assert pred.grad is not None
    assert torch.isfinite(pred.grad).all()
    assert pred.grad[3:].abs().sum() > 0


def test_gradient_is_the_derivative() -> None:
    pred, gaze = _directions(6, seed=3).requires_grad_(), _directions(6, seed=4)
    assert torch.autograd.gradcheck(lambda vector: angular_error(2.5 * vector, gaze), (pred,))
