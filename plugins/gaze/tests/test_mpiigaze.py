"""The MPIIGaze reader: layout, angles, mirroring, the split by person, broken files."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from gaze_fixtures import write_day, write_people
from pydantic import ValidationError
from scipy.io import loadmat, savemat
from scipy.spatial.transform import Rotation

from synthreal import Sample, Skipped, UserError
from synthreal_gaze.geometry import RealRole
from synthreal_gaze.mpiigaze import LABELS, PERSONS, MPIIGazeOptions, head_angles, read_mpiigaze


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """All fifteen persons, one day of two samples an eye each."""
    write_people(tmp_path / "Data" / "Normalized")
    return tmp_path


def _read(root: Path, role: RealRole = "test", **settings: Any) -> list[Sample]:
    items = list(read_mpiigaze(MPIIGazeOptions(root=root, **settings), role))
    assert all(isinstance(item, Sample) for item in items)
    return items  # type: ignore[return-value]


def _error(root: Path, **settings: Any) -> str:
    with pytest.raises(UserError) as caught:
        _read(root, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("n", [1, 3])
def test_the_fixture_has_the_authors_layout(tmp_path: Path, n: int) -> None:
    """The three ways in which public loaders index these files find the same arrays."""
    path = tmp_path / "day01.mat"
    left, right = write_day(path, n)
    raw = loadmat(path)
    assert raw["filenames"].shape == (n, 1)
    for side, eye in (("left", left), ("right", right)):
        named = raw["data"][0, 0][side][0, 0]
        assert named.dtype.names == ("gaze", "image", "pose")
        for position, name in enumerate(("gaze", "image", "pose")):
            np.testing.assert_array_equal(named[name], eye[name])
            np.testing.assert_array_equal(named[position], eye[name])
            squeezed = loadmat(path, squeeze_me=True)["data"][side].item()[name].item()
            np.testing.assert_array_equal(squeezed, eye[name][0] if n == 1 else eye[name])
    assert named["image"].dtype == np.uint8


def test_samples_equal_the_written_data(tmp_path: Path) -> None:
    for number, n in enumerate([1, 4]):
        folder = tmp_path / str(number)
        folder.mkdir()
        left, right = write_day(folder / "p03" / "day01.mat", n)
        samples = _read(folder, persons=(3,))
        assert len(samples) == 2 * n
        for index in range(n):
            sample, mirrored = samples[index], samples[n + index]
            assert sample.image.shape == (1, 35, 55)
            assert sample.image.dtype == np.uint8
            assert [(name, value.shape) for name, value in sample.labels.items()] == [(s.name, s.shape) for s in LABELS]
            assert sample.labels["person"].tolist() == [3]
            np.testing.assert_allclose(sample.labels["gaze"], left["gaze"][index], atol=1e-7)
            np.testing.assert_allclose(mirrored.labels["gaze"], right["gaze"][index] * (-1, 1, 1), atol=1e-7)
            for got, pose, sign in ((sample, left["pose"][index], 1), (mirrored, right["pose"][index], -1)):
                z = Rotation.from_rotvec(pose).as_matrix()[:, 2]
                expected = np.arcsin(z[1]), sign * np.arctan2(z[0], z[2])
                np.testing.assert_allclose(got.labels["head_pose"], expected, atol=1e-6)


def test_a_squeezed_day_of_one_sample_is_read(tmp_path: Path) -> None:
    left, right = write_day(tmp_path / "p02" / "day07.mat", 1)
    squeezed = [{name: values[0] for name, values in eye.items()} for eye in (left, right)]
    savemat(tmp_path / "p02" / "day07.mat", {"data": {"left": squeezed[0], "right": squeezed[1]}})
    samples = _read(tmp_path, persons=(2,))
    assert len(samples) == 2
    np.testing.assert_allclose(samples[0].labels["gaze"], left["gaze"][0], atol=1e-7)
    assert samples[1].image.shape == (1, 35, 55)


def test_right_eye_is_the_mirror_image_of_a_left_one(tmp_path: Path) -> None:
    left, _ = write_day(tmp_path / "p00" / "day01.mat", 3)
    twin = {name: values.copy() for name, values in left.items()}
    twin["image"] = left["image"][:, :, ::-1]
    twin["gaze"] = left["gaze"] * (-1, 1, 1)
    twin["pose"] = left["pose"] * (1, -1, -1)  # the rotation seen in a mirror
    savemat(tmp_path / "p00" / "day01.mat", {"data": {"left": left, "right": twin}})
    samples = _read(tmp_path, persons=(0,))
    for sample, mirrored in zip(samples[:3], samples[3:], strict=True):
        np.testing.assert_array_equal(sample.image, mirrored.image)
        np.testing.assert_array_equal(sample.labels["gaze"], mirrored.labels["gaze"])
        np.testing.assert_allclose(sample.labels["head_pose"], mirrored.labels["head_pose"], atol=1e-6)


def test_resize_preserves_grey_levels_and_positions(tmp_path: Path) -> None:
    left, right = write_day(tmp_path / "p00" / "day01.mat", 1)
    ramp = np.linspace(10, 240, 60)[None, None] * np.linspace(0.5, 1.0, 36)[None, :, None]
    left["image"] = np.rint(ramp).astype(np.uint8)
    savemat(tmp_path / "p00" / "day01.mat", {"data": {"left": left, "right": right}})
    image = _read(tmp_path, persons=(0,), eyes="left")[0].image[0].astype(float)
    x, y = (np.arange(55) + 0.5) * 60 / 55 - 0.5, (np.arange(35) + 0.5) * 36 / 35 - 0.5
    expected = (10 + 230 * x / 59)[None] * (0.5 + 0.5 * y / 35)[:, None]
    np.testing.assert_allclose(image[1:-1, 1:-1], expected[1:-1, 1:-1], atol=1.5)


def test_head_angles() -> None:
    pose = np.array([[0, 0, 0], [0, 0.3, 0], [0.2, 0, 0], [0, 0, 1.0]])
    np.testing.assert_allclose(head_angles(pose), [[0, 0], [0, 0.3], [-0.2, 0], [0, 0]], atol=1e-12)


def test_roles_have_disjoint_persons_and_real_has_no_labels(root: Path) -> None:
    seen = {role: {int(s.labels["person"][0]) for s in _read(root, role)} for role in PERSONS if role != "real"}
    assert seen == {role: set(persons) for role, persons in PERSONS.items() if role != "real"}
    assert not seen["test"] & (seen["validation"] | seen["real_labelled"] | set(PERSONS["real"]))
    assert not seen["validation"] & (seen["real_labelled"] | set(PERSONS["real"]))
    unlabelled = _read(root, "real")
    assert len(unlabelled) == 4 * len(PERSONS["real"])
    assert all(sample.labels == {} for sample in unlabelled)


def test_root_may_be_any_of_three_folders(root: Path) -> None:
    for inner in ["", "Data", "Data/Normalized"]:
        assert len(_read(root / inner, persons=(4,))) == 4


def test_one_eye_and_days_in_order(tmp_path: Path) -> None:
    written = {}
    for day in (10, 2, 1):
        written[day] = write_day(tmp_path / "p05" / f"day{day:02d}.mat", 1, seed=day)
    left = _read(tmp_path, persons=(5,), eyes="left")
    right = _read(tmp_path, persons=(5,), eyes="right")
    for position, day in enumerate((1, 2, 10)):
        np.testing.assert_allclose(left[position].labels["gaze"], written[day][0]["gaze"][0], atol=1e-7)
        np.testing.assert_allclose(right[position].labels["gaze"][1:], written[day][1]["gaze"][0, 1:], atol=1e-7)


def test_copies_are_listed_and_other_files_are_not_read(tmp_path: Path) -> None:
    folder = tmp_path / "p05"
    write_day(folder / "day01.mat", 1)
    write_day(folder / "day02.mat", 1)
    names = ("day01 (1).mat", "day01 - Copy.mat", "Copy of day02.mat", "day02_copy.mat")
    others = ("day001.mat", "day1.mat", "day100.MAT", "day_02.mat", "holiday.mat")
    for name in (*names, *others, "._day01.mat", ".day02.mat", "day01.mat.part"):
        shutil.copy(folder / "day01.mat", folder / name)
    items = list(read_mpiigaze(MPIIGazeOptions(root=tmp_path, persons=(5,)), "test"))
    assert {Path(item.path).name for item in items if isinstance(item, Skipped)} == {*names, *others}
    assert sum(isinstance(item, Sample) for item in items) == 4
    assert Skipped(str(folder / "day01 (1).mat"), "looks like a copy of day01.mat") in items
    assert Skipped(str(folder / "day_02.mat"), "not named dayNN.mat") in items
    (folder / "day01.mat").unlink()
    assert "looks like a copy of day01.mat, which is missing" in _error(tmp_path, persons=(5,))


def test_names_in_any_case_are_read_and_a_day_must_not_be_there_twice(tmp_path: Path) -> None:
    written = {}
    for day, name in ((1, "P05/day01.MAT"), (2, "P05/Day02.mat"), (3, "p06/DAY03.mat")):
        written[day] = write_day(tmp_path / name, 1, seed=day)
    samples = _read(tmp_path, persons=(5, 6), eyes="left")
    assert [sample.labels["person"].item() for sample in samples] == [5, 5, 6]
    for sample, day in zip(samples, (1, 2, 3), strict=True):
        np.testing.assert_allclose(sample.labels["gaze"], written[day][0]["gaze"][0], atol=1e-7)
    write_day(tmp_path / "P05/day01.mat", 1)
    message = _error(tmp_path, persons=(5,))
    assert "P05/day01.mat: holds the same day as" in message and "day01.MAT" in message


def test_persons_are_checked() -> None:
    for persons in [(), (15,), (-1,), (3, 3)]:
        with pytest.raises(ValidationError, match=r"different persons out of 0\.\.14"):
            MPIIGazeOptions(root=Path("x"), persons=persons)


def test_missing_folders_are_named(root: Path) -> None:
    assert "nowhere: no such folder" in _error(root / "nowhere")
    (root / "empty").mkdir()
    assert "no person folders p00 .. p14" in _error(root / "empty")
    for person in (12, 14):
        (root / "Data" / "Normalized" / f"p{person}" / "day01.mat").unlink()
    (root / "Data" / "Normalized" / "p12").rmdir()
    message = _error(root)
    assert "no dayNN.mat for p12, p14;" in message
    assert "set persons" in message


def _garbage(path: Path) -> None:
    path.write_text("this is no MATLAB file, however long it may be made to look" * 10)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-4000])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _v73(path: Path) -> None:
    path.unlink()
    with h5py.File(path, "w", userblock_size=512) as file:
        file["data"] = np.zeros(3)
    with path.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")


def _hdf5(path: Path) -> None:
    path.unlink()
    with h5py.File(path, "w") as file:
        file["data"] = np.zeros(3)


def _no_data(path: Path) -> None:
    savemat(path, {"other": np.zeros(3)})


def _edit(side: str, name: str, change: Any) -> Any:
    def edit(path: Path) -> None:
        left, right = write_day(path, 3)
        eyes = {"left": left, "right": right}
        eyes[side][name] = change(eyes[side][name])
        savemat(path, {"data": eyes})

    return edit


BROKEN: dict[str, tuple[Any, str]] = {
    "garbage": (_garbage, "not a readable MATLAB file"),
    "truncated": (_cut, "not a readable MATLAB file"),
    "empty": (_empty, "not a readable MATLAB file"),
    "v7.3": (_v73, "a MATLAB v7.3 (HDF5) file"),
    "hdf5": (_hdf5, "MATLAB"),
    "another struct": (_no_data, "has no field data.left.gaze"),
    "floats for pixels": (_edit("right", "image", lambda v: v / 255.0), "field data.right.image does not hold uint8"),
    "another size": (
        _edit("left", "image", lambda v: v[:, :30]),
        "field data.left.image does not hold uint8 patches of",
    ),
    "not finite": (_edit("left", "gaze", lambda v: v * np.nan), "field data.left.gaze does not hold numbers within"),
    "no angles": (_edit("left", "pose", lambda v: v * 1e200), "field data.left.pose does not hold numbers within"),
    "no direction": (_edit("left", "gaze", lambda v: v * 0), "field data.left.gaze holds a vector of length 0"),
    "unequal": (_edit("right", "pose", lambda v: v[:2]), "fields of data.right hold unequal numbers"),
}


def test_broken_files_are_reported(tmp_path: Path) -> None:
    for kind, (break_it, expected) in BROKEN.items():
        folder = tmp_path / kind
        folder.mkdir()
        path = folder / "p11" / "day01.mat"
        write_day(path, 3)
        break_it(path)
        message = _error(folder, persons=(11,))
        assert str(path) in message
        assert expected in message
