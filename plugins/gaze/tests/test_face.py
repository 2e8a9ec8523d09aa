from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from synthreal_gaze.anatomy import Anatomy, Place, Pose
from synthreal_gaze.eye import project
from synthreal_gaze.face import Face, Light, margins, reflection, relief, shade
from synthreal_gaze.random_columns import RandomColumns


def columns(k: int, value: float = 0.5) -> RandomColumns:
    return RandomColumns(torch.full((1, k), value))


def straight() -> tuple[Anatomy, Pose]:
    zero = torch.zeros(1, 1, 1)
    return Anatomy.of(columns(Anatomy.COLUMNS)), Pose.of(columns(Pose.COLUMNS), zero, zero, 0.0, 0.0)


def lit_from(side: float, height: float, ambient: float = 0.2) -> Light:
    x, y = math.sin(side) * math.cos(height), -math.sin(height)
    one = torch.ones(1, 1, 1)
    return Light(x * one, y * one, math.cos(side) * math.cos(height) * one, ambient * one)


def test_a_plane_is_shaded_by_the_cosine_to_its_edges():
    _, pose = straight()
    lit = shade(torch.zeros(1, 35, 55), lit_from(math.radians(60), 0.0), pose)
    assert torch.allclose(lit, torch.tensor(0.2 + 0.8 * 0.5), atol=1e-6)


def test_a_slope_facing_the_light_is_brighter():
    _, pose = straight()
    ramp = -0.3 * torch.arange(55.0).expand(1, 35, 55)  # falls to the right, so faces right
    right, left = (shade(ramp, lit_from(math.radians(s), 0.0), pose).mean() for s in (40, -40))
    assert right > left + 0.2


@pytest.mark.parametrize("name", Face.__dataclass_fields__)
def test_every_relief_parameter_changes_the_skin(name):
    anatomy, pose = straight()
    eye = project(anatomy, pose)
    face = Face.of(columns(Face.COLUMNS))
    changed = Face(**{**face.__dict__, name: getattr(face, name) * 1.2 + 0.1})
    assert (relief(eye, face) - relief(eye, changed)).abs().max() > 0.02


def test_margins_meet_outside_the_corners_and_agree_with_the_lids_inside():
    anatomy, pose = straight()
    eye = project(anatomy, pose)
    top, bottom = margins(eye)
    outside = (eye.u < 0) | (eye.u > 1)
    assert torch.allclose(top[outside], bottom[outside], atol=1e-4)
    assert torch.equal(top[~outside], eye.opening[0][~outside])
    assert torch.equal(bottom[~outside], eye.opening[1][~outside])


@pytest.mark.parametrize("turn", [0.0, -0.4])
def test_lights_are_reflected_on_the_cornea_wherever_the_head_turns_it(turn):
    anatomy, pose = straight()
    pose = dataclasses.replace(pose, head_yaw=torch.full((1, 1, 1), turn))
    eye = project(anatomy, pose)
    axis = eye.labels["pupil"][0, 0]
    x, y = reflection(lit_from(0.0, 0.0), eye)
    place = Place(pose)
    shown = torch.stack(((place.cx + place.kx * x).squeeze(), (place.cy + place.ky * y).squeeze()))
    assert torch.allclose(shown, axis, atol=1e-3)  # looking ahead: light, cornea and pupil on one line
    aside, level = reflection(lit_from(math.radians(60), 0.0), eye)
    assert (aside - x).item() == pytest.approx(7.8 * math.sin(math.radians(30)), abs=1e-4)
    assert (level - y).item() == pytest.approx(0, abs=1e-6)
