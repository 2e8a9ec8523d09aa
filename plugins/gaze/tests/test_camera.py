from __future__ import annotations

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
import torch

from synthreal_gaze.anatomy import Anatomy, Pose
from synthreal_gaze.camera import IDENTITIES, TABLE_COLUMNS, CameraOptions, Screen, camera, identities, people
from synthreal_gaze.eye import project
from synthreal_gaze.face import Face, Light
from synthreal_gaze.photograph import Look, Scene, photograph
from synthreal_gaze.random_columns import RandomColumns
from synthreal_gaze.render import SimulatorOptions, simulator


def draw(n: int = 64, role: str = "test", seed: int = 0, **options: float) -> tuple[torch.Tensor, dict]:
    batch = camera(CameraOptions(**options), n, torch.Generator().manual_seed(seed), role)
    return batch.image, dict(batch.labels)


def sharpness(image: torch.Tensor) -> float:
    return (image[..., 1:] - image[..., :-1]).abs().mean().item()


def test_real_photographs_carry_no_labels_and_the_other_roles_do():
    assert draw(4, "real")[1] == {}
    assert all(draw(4, role)[1] for role in ("real_labelled", "validation", "test"))


def test_no_person_has_two_roles():
    ranges = sorted(IDENTITIES.values())
    assert all(stop <= first for (_, stop), (first, _) in pairwise(ranges))
    for role, (first, stop) in IDENTITIES.items():
        drawn = identities(role, 4000, torch.Generator().manual_seed(0))
        assert set(drawn.tolist()) == set(range(first, stop))
    assert len(people(torch.device("cpu")).unique(dim=0)) == max(stop for _, stop in IDENTITIES.values())


def test_the_same_state_photographs_other_people_in_another_role():
    assert (draw(role="test")[0] - draw(role="real_labelled")[0]).abs().mean() > 0.02


def test_photographs_are_equalised_and_need_not_be():
    level = torch.arange(1, 10) / 10
    shares = torch.stack([(draw(256)[0] < t).float().mean((1, 2, 3)) for t in level], 1)
    assert (shares - level).abs().mean() < 0.02
    plain = draw(256, equalise=False)[0]
    assert plain.flatten(1).std(1).mean() < 0.22
    assert draw(256)[0].flatten(1).std(1).mean() == pytest.approx(12**-0.5, abs=0.01)


def test_noise_blur_and_glasses_do_what_they_say():
    plain = {"noise": 0.0, "blur": 0.0, "glasses": 0.0, "equalise": False}
    sharp = draw(**plain)[0]
    assert sharpness(draw(**{**plain, "noise": 2.0})[0]) > 1.1 * sharpness(sharp)
    assert sharpness(draw(**{**plain, "blur": 2.0})[0]) < 0.9 * sharpness(sharp)
    worn = (draw(**{**plain, "glasses": 1.0})[0] - sharp).abs().flatten(1).amax(1)
    assert (worn > 0.1).float().mean() > 0.5
    some = (draw(256, **{**plain, "glasses": 0.3})[0] - draw(256, **plain)[0]).abs().flatten(1).amax(1) > 0
    assert 0.15 < some.float().mean() < 0.45


def test_options_leave_the_labels_alone():
    labels = draw()[1]
    for name, value in {"noise": 2.0, "blur": 2.0, "glasses": 1.0, "equalise": False}.items():
        assert all(torch.equal(v, labels[k]) for k, v in draw(**{name: value})[1].items())


def test_the_eye_is_where_the_simulators_is_for_the_same_gaze():
    """Pupil against gaze, fitted by least squares in both domains: the same map, so the gap is in appearance."""

    def fitted(labels: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        design = torch.cat((torch.ones(len(labels["gaze"]), 1), labels["gaze"][:, :2]), 1)
        weights = torch.linalg.lstsq(design, labels["pupil"][:, 0]).solution
        return weights, labels["iris"][:, 2].mean()

    simulated = simulator(SimulatorOptions(), 1024, torch.Generator().manual_seed(0)).labels
    (one, iris), (other, same) = fitted(dict(simulated)), fitted(draw(1024)[1])
    assert torch.allclose(one[0], other[0], atol=0.4)
    assert torch.allclose(one[1:], other[1:], atol=1.0)
    assert iris == pytest.approx(same.item(), rel=0.03)
    assert 8 < iris < 9.5


def test_the_pupil_is_dark_in_photographs_too():
    image, labels = draw(512)
    x, y = labels["pupil"][:, 0].round().long().unbind(1)
    lids = labels["lids"]
    clear = (y - lids[:, 4, 1] > 4) & (lids[:, 12, 1] - y > 3)
    assert clear.sum() > 100
    assert image[torch.arange(512), 0, y, x][clear].median() < 0.1


def test_gaze_is_spread_as_mpiigaze_people_spread_it(samples):
    with np.load(samples("mpiigaze_gaze_angles_p01_p14.npz")) as angles:
        real = np.rad2deg(np.concatenate([angles[name] for name in angles.files]))
    generator = torch.Generator().manual_seed(0)
    person = RandomColumns(people(generator.device)[identities("test", 8192, generator)])
    screen = Screen.of(RandomColumns(person.unit[:, -4:]))
    drawn = torch.cat(screen.gaze(RandomColumns.roll(8192, 4, generator)), 1)[:, :, 0].rad2deg().numpy()
    assert drawn.mean(0) == pytest.approx(real.mean(0), abs=0.5)
    assert drawn.std(0) == pytest.approx(real.std(0), rel=0.08)
    for share in (1, 25, 75, 99):
        assert np.percentile(drawn, share, axis=0) == pytest.approx(np.percentile(real, share, axis=0), abs=1.5)


@pytest.mark.gpu
def test_the_camera_draws_the_same_people_on_a_gpu():
    generator = torch.Generator("cuda").manual_seed(0)
    batch = camera(CameraOptions(), 64, generator, "test")
    assert batch.image.is_cuda
    assert torch.equal(people(torch.device("cuda")).cpu(), people(torch.device("cpu")))
    assert batch.image.flatten(1).std(1).mean().item() == pytest.approx(12**-0.5, abs=0.02)


@pytest.mark.parametrize("name", Look.__dataclass_fields__)
def test_every_part_of_a_persons_look_shows(name):
    dice = RandomColumns.roll(16, TABLE_COLUMNS, torch.Generator().manual_seed(0))
    moment = RandomColumns.roll(16, 44, torch.Generator().manual_seed(1))
    look = Look.of(dice, glasses=1.0)
    pose = Pose.of(moment, *Screen.of(dice).gaze(moment), head_deg=12.0, jitter_px=1.2)
    anatomy, face, light = Anatomy.of(dice), Face.of(dice), Light.of(moment, 1.2, (0.35, 0.8))
    eye, used = project(anatomy, pose), moment.used

    def taken(look: Look) -> torch.Tensor:
        moment.used = used
        scene = Scene(eye, pose, face, look, light)
        return photograph(scene, moment, torch.Generator().manual_seed(2), CameraOptions(equalise=False))

    changed = dataclasses.replace(
        look, **{name: -getattr(look, name) if name == "frame_tone" else 0.5 * getattr(look, name)}
    )
    assert (taken(look) - taken(changed)).abs().amax() > 0.02


@pytest.mark.parametrize("draw_eyes", [lambda: draw(4), lambda: simulator(SimulatorOptions(), 4, torch.Generator())])
def test_every_column_that_is_rolled_is_dealt(draw_eyes, monkeypatch):
    rolled, roll = [], RandomColumns.roll.__func__
    monkeypatch.setattr(
        RandomColumns, "roll", classmethod(lambda cls, *how: rolled.append(roll(cls, *how)) or rolled[-1])
    )
    draw_eyes()
    assert [dice.used for dice in rolled] == [dice.unit.shape[1] for dice in rolled]
