"""Properties of simulator and camera, and their differences."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch

from synthreal import Batch, Catalog
from synthreal_hands.camera import IDENTITIES, CameraOptions, identity_table, render_camera
from synthreal_hands.cube import CROP, JOINTS, XYZ, Crop, hand_image, unproject
from synthreal_hands.estimator import augment, loss, metrics
from synthreal_hands.hourglass import HandNet, HourglassOptions
from synthreal_hands.outline import locate_corners
from synthreal_hands.simulator import SimulatorOptions, render_simulator, simulator_labels
from synthreal_hands.skeleton import POSE_COLUMNS, Pose, Shape, bones
from synthreal_hands.surface import PARTS

SIDE = 64
Draw = Callable[[int], Batch]


def simulated(seed: int = 0, n: int = 64, side: int = SIDE, **options: float) -> Batch:
    return render_simulator(SimulatorOptions(**options), n, torch.Generator().manual_seed(seed), side)


def photographed(seed: int = 0, n: int = 64, side: int = SIDE, role: str = "test", **options: float) -> Batch:
    return render_camera(CameraOptions(**options), n, torch.Generator().manual_seed(seed), role, side)


both = pytest.mark.parametrize("draw", [simulated, photographed])


@both
def test_images_and_labels_match_the_specs(draw):
    batch = draw(0)
    expected = simulator_labels(SIDE) if draw is simulated else (JOINTS, XYZ, CROP)
    assert batch.image.shape == (64, *hand_image(SIDE).shape) and batch.image.dtype == torch.float32
    assert {name: tuple(values.shape[1:]) for name, values in batch.labels.items()} == {
        label.name: label.shape for label in expected
    }


@both
def test_the_generator_determines_images_and_labels(draw):
    one, same, other = draw(0), draw(0), draw(1)
    assert torch.equal(one.image, same.image)
    assert all(torch.equal(one.labels[name], same.labels[name]) for name in one.labels)
    assert not torch.equal(one.image, other.image)


@both
def test_a_hand_fills_part_of_its_crop_and_the_rest_is_exactly_background(draw):
    hand = (draw(0).image < 1).float().mean(dim=(1, 2, 3))
    assert 0.04 < hand.min() and hand.max() < 0.6 and 0.1 < hand.mean() < 0.3


@both
def test_the_three_labels_agree(draw):
    labels = draw(0).labels
    crop = Crop.of(labels["crop"])
    torch.testing.assert_close(unproject(crop.to_frame(labels["joints"])), labels["xyz"], rtol=1e-3, atol=0.1)


def test_joints_are_inside_the_surface_of_their_part():
    """The surface at a joint is nearer than the joint, by at most a palm's thickness unless something covers it."""
    batch = simulated(n=100, side=224)
    labels, crop = batch.labels, Crop.of(batch.labels["crop"])
    surface = batch.image[:, 0] * 2 * crop.half[:, None, None] - crop.half[:, None, None]
    thumb, little, index = (PARTS.index(name) for name in ("thumb", "little", "index"))
    parts = {3: thumb, 4: thumb, 6: little, 7: little, 12: index, 13: index}
    for joint in range(14):
        place = labels["joints"][:, joint, :2].round().long()
        inside = ((place >= 0) & (place < 224)).all(-1)
        rows = torch.arange(100)[inside]
        x, y = place[inside].unbind(-1)
        behind = labels["joints"][inside, joint, 2] - surface[rows, y, x]
        assert (behind > -1.5).float().mean() > 0.99
        if joint in parts:
            own = labels["parts"][rows, y, x] == parts[joint]
            assert own.float().mean() > 0.55
            assert behind[own].quantile(0.9) < 30  # mm; more where a finger points at the camera


def test_the_part_mask_covers_the_hand_exactly():
    batch = simulated(n=200)
    assert torch.equal(batch.labels["parts"] > 0, batch.image[:, 0] < 1)
    assert set(batch.labels["parts"].unique().tolist()) == set(range(len(PARTS)))


def test_images_of_224_px_show_the_same_hands():
    small, large = simulated(n=16), simulated(n=16, side=224)
    torch.testing.assert_close(small.labels["xyz"], large.labels["xyz"])
    shrunk = torch.nn.functional.interpolate(large.image, size=(64, 64), mode="area")
    assert (shrunk - small.image).abs().mean() < 0.02


def test_every_simulator_option_changes_something():
    for option in list(SimulatorOptions.model_fields):
        changed = {"yaw_deg": 10.0, "pitch_deg": 5.0, "roll_deg": 5.0, "jitter_mm": 0.0}
        assert set(changed) == set(SimulatorOptions.model_fields)
        assert not torch.equal(simulated().image, simulated(**{option: changed[option]}).image)
        assert SimulatorOptions.model_fields[option].description


def test_without_jitter_the_cube_is_centred_on_the_hand():
    xyz = simulated(n=200, jitter_mm=0.0).labels
    centre = unproject(xyz["crop"][:, None, :3])[:, 0]
    offset = (xyz["xyz"][:, 0] - centre).norm(dim=-1)  # PALM_3 is 28 mm above the centre, times the hand's size
    assert (offset > 20).all() and (offset < 32).all()


def test_every_sensor_error_can_be_turned_off():
    for option in list(CameraOptions.model_fields):
        off = False if option == "shadow" else 0.0
        assert not torch.equal(photographed().image, photographed(**{option: off}).image)


def test_a_camera_without_errors_sees_clean_surfaces():
    off = {"noise": 0.0, "edges": 0.0, "missing": 0.0, "shadow": False}

    def roughness(image: torch.Tensor) -> float:
        flesh = (image[..., 1:] < 1) & (image[..., :-1] < 1)
        return float((image.diff(dim=-1).abs()[flesh]).median())

    def pinholes(image: torch.Tensor) -> float:
        hand = (image < 1).float()
        filled = torch.nn.functional.avg_pool2d(hand, 3, stride=1, padding=1)
        return float(((hand == 0) & (filled > 0.7)).float().mean())

    clean, dirty = photographed(**off).image, photographed().image
    assert roughness(dirty) > 1.3 * roughness(clean)
    assert pinholes(dirty) > 0.004 > 0.001 > pinholes(clean)


def test_only_the_role_real_has_no_labels():
    assert photographed(role="real", n=4).labels == {}
    assert all(photographed(role=role, n=4).labels for role in ("real_labelled", "validation", "test"))


def test_no_person_has_two_roles_and_all_people_differ():
    ranges = sorted(IDENTITIES.values())
    assert all(stop <= first for (_, stop), (first, _) in pairwise(ranges))
    assert len(identity_table(torch.device("cpu")).unique(dim=0)) == ranges[-1][1]
    assert not torch.equal(photographed(role="test").image, photographed(role="validation").image)


def test_bones_are_those_of_the_people_of_the_role():
    labels = photographed(n=400, role="validation").labels["xyz"]
    palm = (labels[:, 1] - labels[:, 0]).norm(dim=-1)  # PALM_1 to PALM_3, one length a person
    first, stop = IDENTITIES["validation"]
    everyone = bones(
        Shape.of(identity_table(torch.device("cpu")), spread=1.3), Pose.of(torch.rand(320, POSE_COLUMNS))
    ).joints()
    known = (everyone[:, 1] - everyone[:, 0]).norm(dim=-1)
    apart = (palm[:, None] - known).abs()
    assert apart[:, first:stop].amin(1).max() < 1e-2
    assert apart.argmin(1).unique().numel() > 20


@pytest.mark.slow
def test_the_camera_of_every_role_and_size_is_registered():
    catalog = Catalog.of(["hands"])
    for name, side in (("camera", 64), ("camera-224", 224)):
        for role in IDENTITIES:
            spec = catalog.dataset(name, role)
            batch = spec.render(spec.options(), 2, torch.Generator().manual_seed(0))
            assert batch.image.shape == (2, 1, side, side)


@pytest.mark.gpu
@both
def test_rendering_and_evaluation_do_not_synchronise_the_gpu(draw):
    generator = torch.Generator("cuda").manual_seed(0)

    def once() -> Batch:
        if draw is simulated:
            return render_simulator(SimulatorOptions(), 16, generator, SIDE)
        return render_camera(CameraOptions(), 16, generator, "test", SIDE)

    net = HandNet(HourglassOptions(features=8, stacks=1, maps=32), hand_image(SIDE)).cuda()

    def judged(batch: Batch) -> torch.Tensor:
        moved = augment(batch, generator)
        loss(net(moved.image), moved.labels).backward()
        return metrics(net(batch.image), batch.labels)["error_mm"] + locate_corners(batch.image).sum()

    assert judged(once()).is_cuda  # constants are copied the first time
    torch.cuda.set_sync_debug_mode("error")
    try:
        batch = once()
        found = judged(batch)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert found.is_cuda and batch.image.is_cuda and all(values.is_cuda for values in batch.labels.values())
