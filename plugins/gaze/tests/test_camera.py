from __future__ import annotations

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
import torch

from synthreal_gaze.anatomy import Anatomy, Pose
from synthreal_gaze.camera import (
    IDENTITIES,
    TABLE_COLUMNS,
    CameraOptions,
    Screen,
    draw_identities,
    identity_table,
    render_camera,
)
from synthreal_gaze.eye import project
from synthreal_gaze.face import Face, Light
from synthreal_gaze.photograph import Appearance, Scene, photograph
from synthreal_gaze.random_columns import RandomColumns
from synthreal_gaze.simulator import SimulatorOptions, render_simulator


def draw(n: int = 64, role: str = "test", seed: int = 0, **options: float) -> tuple[torch.Tensor, dict]:
    batch = render_camera(CameraOptions(**options), n, torch.Generator().manual_seed(seed), role)
    return batch.image, dict(batch.labels)


def sharpness(image: torch.Tensor) -> float:
    return (image[..., 1:] - image[..., :-1]).abs().mean().item()


def test_only_the_role_real_has_no_labels():
    assert draw(4, "real")[1] == {}
    assert all(draw(4, role)[1] for role in ("real_labelled", "validation", "test"))


def test_no_person_has_two_roles():
    ranges = sorted(IDENTITIES.values())
    assert all(stop <= first for (_, stop), (first, _) in pairwise(ranges))
    for role, (first, stop) in IDENTITIES.items():
        drawn = draw_identities(role, 4000, torch.Generator().manual_seed(0))
        assert set(drawn.tolist()) == set(range(first, stop))
    assert len(identity_table(torch.device("cpu")).unique(dim=0)) == max(stop for _, stop in IDENTITIES.values())


def test_roles_show_different_people_for_the_same_generator_state():
    assert (draw(role="test")[0] - draw(role="real_labelled")[0]).abs().mean() > 0.02


def test_equalisation_can_be_turned_off():
    level = torch.arange(1, 10) / 10
    shares = torch.stack([(draw(256)[0] < t).float().mean((1, 2, 3)) for t in level], 1)
    assert (shares - level).abs().mean() < 0.02
    plain = draw(256, equalize=False)[0]
    assert plain.flatten(1).std(1).mean() < 0.22
    assert draw(256)[0].flatten(1).std(1).mean() == pytest.approx(12**-0.5, abs=0.01)


def test_noise_blur_and_glasses_change_the_images():
    plain = {"noise": 0.0, "blur": 0.0, "glasses": 0.0, "equalize": False}
    sharp = draw(**plain)[0]
    assert sharpness(draw(**{**plain, "noise": 2.0})[0]) > 1.1 * sharpness(sharp)
    assert sharpness(draw(**{**plain, "blur": 2.0})[0]) < 0.9 * sharpness(sharp)
    worn = (draw(**{**plain, "glasses": 1.0})[0] - sharp).abs().flatten(1).amax(1)
    assert (worn > 0.1).float().mean() > 0.5
    some = (draw(256, **{**plain, "glasses": 0.3})[0] - draw(256, **plain)[0]).abs().flatten(1).amax(1) > 0
    assert 0.15 < some.float().mean() < 0.45


def test_options_do_not_change_labels():
    labels = draw()[1]
    for name, value in {"noise": 2.0, "blur": 2.0, "glasses": 1.0, "equalize": False}.items():
        assert all(torch.equal(v, labels[k]) for k, v in draw(**{name: value})[1].items())


def test_gaze_maps_to_the_same_pixels_as_in_the_simulator():
    """A least-squares fit of pupil against gaze is the same for both, so that only the appearance differs."""

    def fitted(labels: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        design = torch.cat((torch.ones(len(labels["gaze"]), 1), labels["gaze"][:, :2]), 1)
        weights = torch.linalg.lstsq(design, labels["pupil"][:, 0]).solution
        return weights, labels["iris"][:, 2].mean()

    simulated = render_simulator(SimulatorOptions(), 1024, torch.Generator().manual_seed(0)).labels
    (one, iris), (other, same) = fitted(dict(simulated)), fitted(draw(1024)[1])
    assert torch.allclose(one[0], other[0], atol=0.4)
    assert torch.allclose(one[1:], other[1:], atol=1.0)
    assert iris == pytest.approx(same.item(), rel=0.03)
    assert 8 < iris < 9.5


def test_the_pupil_is_dark():
    image, labels = draw(512)
    x, y = labels["pupil"][:, 0].round().long().unbind(1)
    lids = labels["lids"]
    clear = (y - lids[:, 4, 1] > 4) & (lids[:, 12, 1] - y > 3)
    assert clear.sum() > 100
    assert image[torch.arange(512), 0, y, x][clear].median() < 0.1


def test_the_gaze_distribution_is_that_of_mpiigaze(samples):
    with np.load(samples("mpiigaze_gaze_angles_p01_p14.npz")) as angles:
        real = np.rad2deg(np.concatenate([angles[name] for name in angles.files]))
    generator = torch.Generator().manual_seed(0)
    person = RandomColumns(identity_table(generator.device)[draw_identities("test", 8192, generator)])
    screen = Screen.of(RandomColumns(person.table[:, -4:]))
    drawn = torch.cat(screen.draw_gaze(RandomColumns.draw(8192, 4, generator)), 1)[:, :, 0].rad2deg().numpy()
    assert drawn.mean(0) == pytest.approx(real.mean(0), abs=0.5)
    assert drawn.std(0) == pytest.approx(real.std(0), rel=0.08)
    for share in (1, 25, 75, 99):
        assert np.percentile(drawn, share, axis=0) == pytest.approx(np.percentile(real, share, axis=0), abs=1.5)


@pytest.mark.gpu
def test_people_are_the_same_on_a_gpu():
    generator = torch.Generator("cuda").manual_seed(0)
    batch = render_camera(CameraOptions(), 64, generator, "test")
    assert batch.image.is_cuda
    assert torch.equal(identity_table(torch.device("cuda")).cpu(), identity_table(torch.device("cpu")))
    assert batch.image.flatten(1).std(1).mean().item() == pytest.approx(12**-0.5, abs=0.02)


def test_every_parameter_of_the_appearance_is_visible():
    per_person = RandomColumns.draw(16, TABLE_COLUMNS, torch.Generator().manual_seed(0))
    per_image = RandomColumns.draw(16, 44, torch.Generator().manual_seed(1))
    appearance = Appearance.of(per_person, glasses=1.0)
    pose = Pose.of(per_image, *Screen.of(per_person).draw_gaze(per_image), head_deg=12.0, jitter_px=1.2)
    anatomy, face, light = Anatomy.of(per_person), Face.of(per_person), Light.of(per_image, 1.2, (0.35, 0.8))
    eye, used = project(anatomy, pose), per_image.used

    def take(appearance: Appearance) -> torch.Tensor:
        per_image.used = used
        scene = Scene(eye, pose, face, appearance, light)
        return photograph(scene, per_image, torch.Generator().manual_seed(2), CameraOptions(equalize=False))

    image = take(appearance)
    for name in Appearance.__dataclass_fields__:
        factor = -1 if name == "frame_tone" else 0.5
        changed = dataclasses.replace(appearance, **{name: factor * getattr(appearance, name)})
        assert (image - take(changed)).abs().amax() > 0.02, name


def test_every_random_column_is_used(monkeypatch):
    tables, original = [], RandomColumns.draw.__func__
    monkeypatch.setattr(
        RandomColumns, "draw", classmethod(lambda cls, *args: tables.append(original(cls, *args)) or tables[-1])
    )
    draw(4)
    render_simulator(SimulatorOptions(), 4, torch.Generator())
    assert len(tables) == 2
    assert [columns.used for columns in tables] == [columns.table.shape[1] for columns in tables]
