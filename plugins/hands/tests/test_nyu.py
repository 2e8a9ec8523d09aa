"""The NYU reader: file format, crop, joints, roles, and one real frame."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hand_fixtures import hand, to_xyz, write_depth, write_joints, write_nyu

from synthreal import Sample, Skipped, UserError
from synthreal_hands.cube import FX, FY
from synthreal_hands.nyu import EVALUATED, LABELS, NYUOptions, crop_frame, default_frames, read_depth, read_nyu


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nyu")
    write_nyu(folder)
    return folder


def read(root: Path, role: str, **options: object) -> list[Sample]:
    return list(read_nyu(NYUOptions(root=root, **options), role))


def test_depth_is_green_times_256_plus_blue(tmp_path):
    depth = np.arange(480 * 640).reshape(480, 640) % 2500.0
    write_depth(tmp_path / "a.png", depth)
    assert np.array_equal(read_depth(tmp_path / "a.png"), depth)


def test_roles_have_their_frames_and_labels(root):
    for role, count in [("simulated", 12), ("real", 12), ("real_labelled", 12), ("validation", 3), ("test", 9)]:
        found = read(root, role)
        assert len(found) == count
        for sample in found:
            assert sample.image.shape == (1, 224, 224) and sample.image.dtype == np.uint16
            names = set() if role == "real" else {label.name for label in LABELS}
            assert set(sample.labels) == names
            for label in LABELS if names else ():
                assert sample.labels[label.name].shape == label.shape


def test_validation_and_test_are_disjoint_and_split_by_person():
    assert default_frames("validation", 8252) == (1, 2440)
    assert default_frames("test", 8252) == (2441, 8252)
    assert default_frames("real", 72757) == (1, 72757)
    assert default_frames("test", 1) == (1, 1)


def test_simulated_images_are_the_renders(root):
    rendered, photographed = read(root, "simulated")[0], read(root, "real_labelled")[0]
    assert np.array_equal(rendered.image, photographed.image)  # wall (2001) and missing pixels (0) become background
    assert (rendered.image == 65535).mean() > 0.4


def test_labels_are_the_fourteen_joints_in_order(root):
    sample = read(root, "real_labelled", views=[2], frames=[3, 3])[0]
    _, joints = hand(3, 2)
    np.testing.assert_allclose(sample.labels["xyz"], to_xyz(joints)[list(EVALUATED)], rtol=1e-6)
    assert sample.labels["frame"].tolist() == [2, 3]
    centre, scale = joints[34], 224 * 800 / 330
    expected = (joints[list(EVALUATED)] - centre) * (scale / FX, scale / FY, 1) + (111.5, 111.5, 0)
    np.testing.assert_allclose(sample.labels["joints"], expected, atol=1e-3)


def test_a_crop_is_sampled_and_its_depth_can_be_restored(root):
    """Every value of a crop is one of the frame: depth is never blended across an edge."""
    sample = read(root, "real_labelled", views=[1], frames=[1, 1])[0]
    depth, _ = hand(1, 1)
    u, v, d, half, side = sample.labels["crop"].astype(float)
    values = sample.image[0] / 65535 * 2 * half - half + d
    known = set(np.unique(depth).tolist())
    assert set(values[sample.image[0] < 65535].round(1).tolist()) <= known
    for row, column in ((100, 120), (112, 90), (150, 140)):
        x = round((column + 0.5 - side / 2) * 2 * half * FX / d / side + u)
        y = round((row + 0.5 - side / 2) * 2 * half * FY / d / side + v)
        assert values[row, column] == pytest.approx(depth[y, x], abs=0.01)


def test_pixels_without_a_measurement_are_far(root):
    sample = read(root, "real_labelled", views=[1], frames=[1, 1])[0]
    window = sample.image[0, 80:112, 100:124]
    assert (window == 65535).any()
    assert sample.image.min() > 10000


def test_beyond_the_frame_a_crop_is_background(root):
    depth = np.full((480, 640), 700.0)
    uvd = np.tile([2.0, 478.0, 700.0], (36, 1))
    sample = crop_frame(depth, uvd, to_xyz(uvd), 330.0, number=(1, 1), labelled=True)
    assert (sample.image[0, :100, 130:] < 65535).all()
    assert (sample.image[0, 120:] == 65535).all() and (sample.image[0, :, :100] == 65535).all()


def test_the_size_of_the_cube_can_be_set(root):
    near, far = (read(root, "real_labelled", cube_mm=size, views=[1])[0] for size in (330, 660))
    spread = [np.ptp(sample.labels["joints"][:, 0]) for sample in (near, far)]
    assert spread[0] == pytest.approx(2 * spread[1], rel=1e-5)
    assert far.labels["crop"][3] == 330


def test_missing_and_truncated_frames_can_be_skipped(root, tmp_path):
    shutil.copytree(root, tmp_path / "nyu")
    path = tmp_path / "nyu/train/depth_2_0000003.png"
    path.write_bytes(path.read_bytes()[:900])
    (tmp_path / "nyu/train/depth_1_0000002.png").unlink()
    found = read(tmp_path / "nyu", "real", skip_broken=True)
    gone, skipped = [sample for sample in found if isinstance(sample, Skipped)]
    assert (gone.reason, skipped.path) == ("No such file or directory", str(path))
    assert len(found) == 12


def test_a_frame_of_another_size_is_skipped(root, tmp_path):
    shutil.copytree(root, tmp_path / "nyu")
    write_depth(tmp_path / "nyu/train/depth_1_0000001.png", np.zeros((240, 320)))
    assert "640x480 RGB, this is 320x240 RGB" in read(tmp_path / "nyu", "real", skip_broken=True)[0].reason


def test_a_hand_with_a_large_hole_is_read_and_an_absent_hand_is_skipped(root, tmp_path):
    shutil.copytree(root, tmp_path / "nyu")
    depth, joints = hand(1, 1)
    depth[:, : int(joints[34, 0])] = 0
    depth[: int(joints[34, 1])] = 0
    write_depth(tmp_path / "nyu/train/depth_1_0000001.png", depth)
    write_depth(tmp_path / "nyu/train/depth_1_0000002.png", np.full((480, 640), 2001))
    found = read(tmp_path / "nyu", "real", skip_broken=True)
    assert [sample for sample in found if isinstance(sample, Skipped)] == [found[1]]
    assert "depth is measured at 0 of the 36 joints" in found[1].reason


def real_frame(samples: Callable[[str], Path], root: Path) -> Sample:
    """The real frame of the shared data, read through a tree of one frame."""
    source = samples("nyu/depth_1_0000001.png")
    uvd = np.stack(
        [np.loadtxt(samples(f"nyu/joint_1_{axis}.csv"), delimiter=",", max_rows=1) for axis in "uvd"], axis=-1
    )
    write_joints(root / "test", np.tile(uvd, (3, 1, 1, 1)))
    shutil.copy(source, root / "test/depth_1_0000001.png")
    return next(read_nyu(NYUOptions(root=root, views=(1,)), "test"))


def test_the_joints_of_a_real_frame_are_on_the_hand(samples, tmp_path):
    """Annotated joints are inside the hand: up to 35 mm behind the measured surface, never in front of it."""
    sample = real_frame(samples, tmp_path)
    _, _, d, half, _ = sample.labels["crop"]
    depth = sample.image[0] / 65535 * 2 * half - half
    assert 0.15 < (depth < half).mean() < 0.6
    for u, v, behind in sample.labels["joints"]:
        surface = depth[round(float(v)), round(float(u))]
        assert surface < half - 1, "background"
        assert -3 < behind - surface < 35
    assert d == pytest.approx(784.2, abs=0.1)


def test_a_mirrored_or_shifted_real_frame_fails_that_test(samples, tmp_path):
    sample = real_frame(samples, tmp_path)
    half = sample.labels["crop"][3]
    depth = sample.image[0] / 65535 * 2 * half - half
    for wrong in (depth[::-1], depth[:, ::-1], np.roll(depth, 30, axis=1)):
        off = [wrong[round(float(v)), round(float(u))] >= half - 1 for u, v, _ in sample.labels["joints"]]
        assert any(off)


def _resized(depth: np.ndarray, factor: float) -> np.ndarray:
    """A frame reduced or enlarged about its middle; padded with 0 or cropped."""
    rows, columns = ((np.arange(n) - n / 2) / factor + n / 2 for n in depth.shape)
    inside = ((rows >= 0) & (rows < 480))[:, None] & ((columns >= 0) & (columns < 640))
    return np.where(inside, depth[np.ix_(rows.astype(int).clip(0, 479), columns.astype(int).clip(0, 639))], 0)


def test_frames_that_do_not_fit_their_joints_are_refused(root, tmp_path):
    frames = [hand(frame, 1)[0] for frame in range(1, 5)]
    for name, change in {
        "shifted": lambda depth: np.roll(depth, 90, axis=1),
        "reduced": lambda depth: _resized(depth, 0.5),
        "nearer": lambda depth: np.where(depth > 60, depth - 60, 0),
        "farther": lambda depth: np.where(depth > 0, depth + 30, 0),
    }.items():
        shutil.copytree(root, tmp_path / name)
        for count in (2, 3):
            for frame in range(1, count + 1):
                write_depth(tmp_path / name / f"train/depth_1_{frame:07d}.png", change(frames[frame - 1]))
            for skip in (False, True):
                if count == 2:  # the median of four frames is then half right
                    assert len(read(tmp_path / name, "real", views=[1], skip_broken=skip)) == 4
                else:
                    with pytest.raises(UserError, match=r"joint_data\.mat: joint_uvd does not fit the frames") as error:
                        read(tmp_path / name, "real", views=[1], skip_broken=skip)
                    assert "\n" not in str(error.value)


@pytest.mark.parametrize("change", ["shift", 0.6, 0.7, 1 / 0.6])
def test_a_shifted_or_resized_real_frame_is_refused(samples, tmp_path, change):
    real_frame(samples, tmp_path)
    path = tmp_path / "test/depth_1_0000001.png"
    depth = read_depth(path)
    write_depth(path, np.roll(depth, 40, axis=1) if change == "shift" else _resized(depth, change))
    with pytest.raises(UserError, match="joint_uvd does not fit"):
        read(tmp_path, "test", views=[1])


def test_file_names_in_any_case_are_read(root, tmp_path):
    shutil.copytree(root, tmp_path / "nyu")
    expected = read(root, "real")
    for number, path in enumerate((tmp_path / "nyu/train").glob("depth_*.png")):
        path.rename(path.with_name(path.name.upper()) if number % 2 else path.with_suffix(".Png"))
    for sample, same in zip(read(tmp_path / "nyu", "real"), expected, strict=True):
        assert np.array_equal(sample.image, same.image)


def test_joints_and_xyz_agree(root):
    from synthreal_hands.cube import Crop, unproject

    sample = read(root, "real_labelled")[0]
    crop = Crop.of(torch.tensor(sample.labels["crop"])[None])
    back = unproject(crop.to_frame(torch.tensor(sample.labels["joints"])[None]))
    torch.testing.assert_close(back[0], torch.tensor(sample.labels["xyz"]), rtol=1e-3, atol=0.5)
