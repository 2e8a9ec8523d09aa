"""Intrinsics, cube and crop: mappings against NYU's formula, and their inverses."""

from __future__ import annotations

import math

import torch
from hand_fixtures import to_xyz

from synthreal_hands.cube import CUBE_MM, Crop, hand_image, project, unproject

UVD = torch.tensor([[[320.0, 240.0, 800.0], [100.0, 400.0, 650.0], [600.0, 20.0, 1200.0]]], dtype=torch.float64)


def crop(side: float = 64.0) -> Crop:
    """Two crops at different depths."""
    centre = torch.tensor([[300.0, 200.0, 700.0], [350.0, 260.0, 900.0]], dtype=torch.float64)
    return Crop(centre, torch.full((2,), CUBE_MM / 2).double(), torch.full((2,), side).double())


def test_uvd_to_xyz_is_the_authors_formula_and_y_is_up():
    found = unproject(UVD)
    torch.testing.assert_close(found, torch.from_numpy(to_xyz(UVD.numpy())), rtol=1e-6, atol=1e-3)
    assert found[0, 1, 1] < 0 < found[0, 2, 1]  # row 400 is below the axis, row 20 above


def test_projection_and_its_inverse():
    torch.testing.assert_close(project(unproject(UVD)), UVD)


def test_the_centre_of_the_cube_is_the_middle_of_the_crop_and_its_faces_are_the_borders():
    crops = crop()
    middle = crops.from_frame(crops.centre[:, None])[:, 0]
    torch.testing.assert_close(middle, torch.tensor([[31.5, 31.5, 0.0]] * 2).double())
    corner = unproject(crops.centre) + torch.tensor([CUBE_MM / 2, -CUBE_MM / 2, 0.0])
    torch.testing.assert_close(crops.from_frame(project(corner)[:, None])[:, 0, :2], torch.full((2, 2), 63.5).double())


def test_crop_coordinates_and_back():
    for side in [64, 224]:
        points = UVD.expand(2, 3, 3)
        torch.testing.assert_close(crop(side).to_frame(crop(side).from_frame(points)), points)


def test_a_joint_scales_with_the_crop():
    small, large = (crop(side).from_frame(UVD.expand(2, 3, 3)) for side in (64, 224))
    torch.testing.assert_close((small[..., :2] + 0.5) * 3.5 - 0.5, large[..., :2])
    torch.testing.assert_close(small[..., 2], large[..., 2])


def test_a_crop_can_be_restored_from_its_label():
    label = crop().label()
    assert label.dtype == torch.float32 and label.shape == (2, 5)
    again = Crop.of(label.double())
    torch.testing.assert_close(again.from_frame(UVD.expand(2, 3, 3)), crop().from_frame(UVD.expand(2, 3, 3)))


def test_depth_is_relative_to_the_cube_and_missing_pixels_are_far():
    crops = crop()
    values = torch.tensor([700.0, 700 - CUBE_MM / 2, 700 + CUBE_MM / 4, 100, 5000, 0, math.inf, math.nan]).double()
    found = crops.to_unit(values.expand(2, 1, -1))[0, 0]
    torch.testing.assert_close(found, torch.tensor([0.5, 0.0, 0.75, 0.0, 1.0, 1.0, 1.0, 1.0]).double())


def test_the_image_spec():
    spec = hand_image(64)
    assert (spec.shape, spec.dtype, spec.background, spec.invalid) == ((1, 64, 64), "uint16", 1.0, 1.0)
    assert spec.colormap == "viridis"
