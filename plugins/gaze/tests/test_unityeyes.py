"""The UnityEyes reader: file format, crop, label conventions, broken folders."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gaze_fixtures import annotation, gradient, iris_centre, simple_json, write_pair
from PIL import Image

from synthreal import Sample, Skipped, UserError
from synthreal_gaze.annotation import read_annotation
from synthreal_gaze.unityeyes import LABELS, UnityEyesOptions, read_unityeyes


def _samples(root: Path, **settings: Any) -> list[Sample]:
    items = list(read_unityeyes(UnityEyesOptions(root=root, **settings)))
    assert all(isinstance(item, Sample) for item in items)
    return items  # type: ignore[return-value]


def _error(root: Path, **settings: Any) -> str:
    with pytest.raises(UserError) as caught:
        next(read_unityeyes(UnityEyesOptions(root=root, **settings)))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_labels_match_the_specs(tmp_path: Path) -> None:
    write_pair(tmp_path, 1)
    (sample,) = _samples(tmp_path)
    assert sample.image.shape == (1, 35, 55)
    assert sample.image.dtype == np.uint8
    assert list(sample.labels) == [spec.name for spec in LABELS]
    for spec in LABELS:
        assert sample.labels[spec.name].shape == spec.shape
        assert sample.labels[spec.name].dtype == np.float32
    np.testing.assert_allclose(sample.labels["pupil"], sample.labels["iris_outline"].mean(0, keepdims=True), atol=1e-4)
    assert sample.labels["pupil_size"] == pytest.approx(-0.03127146)
    assert sample.labels["iris_size"] == pytest.approx(0.9434691)


def test_gaze_goes_to_mpiigaze_axes_with_y_down(tmp_path: Path) -> None:
    write_pair(tmp_path, 1, annotation(look=(0.36, 0.48, -0.80)))
    write_pair(tmp_path, 2, annotation(look=(0.72, 0.96, -1.60)))  # normalised on reading
    for sample in _samples(tmp_path):
        np.testing.assert_allclose(sample.labels["gaze"], (0.36, -0.48, -0.80), atol=1e-6)


def test_head_pose_is_the_faces_direction_in_the_image(tmp_path: Path) -> None:
    for number, (written, pitch_yaw_deg) in enumerate(
        [
            ((0.0, 180.0), (0.0, 0.0)),
            ((351.3264, 180.0), (8.6736, 0.0)),  # the camera looks up, so the face looks over it
            ((0.0, 210.0), (0.0, -30.0)),
            ((12.5, 140.0), (-9.5438, 40.6782)),
        ]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        write_pair(folder, 1, annotation(head=written))
        np.testing.assert_allclose(np.degrees(_samples(folder)[0].labels["head_pose"]), pitch_yaw_deg, atol=1e-4)


def test_window_scales_with_the_height_and_y_points_up(tmp_path: Path) -> None:
    for number, size in enumerate([(640, 480), (1280, 960), (512, 384)]):
        folder = tmp_path / str(number)
        folder.mkdir()
        unit = size[1] / 480
        write_pair(folder, 1, annotation(size, (300.0 * unit, 180.0 * unit)), size)
        sample = _samples(folder)[0]
        margin = sample.labels["margin"]
        np.testing.assert_allclose((margin.min(0) + margin.max(0)) / 2, (27.0, 17.0), atol=0.01)  # the crop's middle
        np.testing.assert_allclose(np.ptp(margin, axis=0), (100 * 55 / 140, 40 * 35 / 84), atol=0.01)
        assert margin[4, 1] < margin[12, 1]  # upper lid above the lower one
        assert margin[0, 0] < margin[8, 0]  # inner corner at the image's left
        picture = gradient((640, 480)).astype(float)
        expected = picture[180 - 42 : 180 + 42, 300 - 70 : 300 + 70]
        assert sample.image[0, 17, 27] == pytest.approx(expected.mean(), abs=1.5)
        assert sample.image[0, 0, 0] == pytest.approx(expected[0, 0], abs=1.5)
        assert sample.image[0, -1, -1] == pytest.approx(expected[-1, -1], abs=1.5)


def test_labels_match_the_picture(tmp_path: Path) -> None:
    """The centroid of a dark disc drawn at the iris is the centre of the labelled outline, half a pixel included."""
    look = (-0.5, -0.3, -0.8)
    x, y, _ = iris_centre((640, 480), look)
    write_pair(tmp_path, 1, annotation(look=look))
    rows, columns = np.mgrid[0:480, 0:640] + 0.5
    disc = (columns - x) ** 2 + (rows - y) ** 2 < 18.0**2
    Image.fromarray(np.where(disc, 0, 250).astype(np.uint8)).save(tmp_path / "1.jpg", quality=95)
    sample = _samples(tmp_path)[0]
    dark = 250.0 - sample.image[0]
    y, x = np.mgrid[0:35, 0:55]
    centroid = np.array(((dark * x).sum(), (dark * y).sum())) / dark.sum()
    np.testing.assert_allclose(centroid, sample.labels["iris_outline"].mean(0), atol=0.05)


def test_resize_is_antialiased(tmp_path: Path) -> None:
    size = (1920, 1440)
    write_pair(tmp_path, 1, annotation(size, (960, 720)), size)
    checker = (np.indices((1440, 1920)).sum(0) % 2 * 255).astype(np.uint8)
    Image.fromarray(checker).save(tmp_path / "1.jpg", quality=100)
    image = _samples(tmp_path)[0].image
    assert image.std() < 4


def test_order_is_numerical_and_imgs_is_found(tmp_path: Path) -> None:
    for number in (10, 9, 100, 2):
        write_pair(tmp_path / "imgs", number, annotation(look=(number / 1000, 0.0, -1.0)))
    (tmp_path / "imgs" / "notes.txt").write_text("not a pair")
    gaze = np.stack([sample.labels["gaze"] for sample in _samples(tmp_path)])
    np.testing.assert_allclose(gaze[:, 0] / -gaze[:, 2], (0.002, 0.009, 0.010, 0.100), atol=1e-6)


def test_missing_root_and_empty_folder(tmp_path: Path) -> None:
    assert "nowhere: no such folder" in _error(tmp_path / "nowhere")
    (tmp_path / "1.json").write_text("{}")
    message = _error(tmp_path, skip_broken=True)
    assert "no UnityEyes pair" in message
    assert "1.json: has no 1.jpg beside it" in message


def test_home_is_expanded_and_an_unreadable_folder_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pair(tmp_path / "eyes", 1)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert len(_samples(Path("~/eyes"))) == 1

    def refused(self: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refused)
    assert "eyes: cannot be listed (Permission denied)" in _error(tmp_path / "eyes")


def test_unpaired_files_are_reported_before_reading(tmp_path: Path) -> None:
    for lost in ("jpg", "json"):
        folder = tmp_path / lost
        folder.mkdir()
        for number in (1, 2, 11, 12):
            write_pair(folder, number)
        (folder / f"11.{lost}").unlink()
        (folder / f"12.{lost}").unlink()
        message = _error(folder)
        assert f"has no 11.{lost} beside it (2 broken of 4 pairs)" in message
        assert "skip_broken=true" in message
        items = list(read_unityeyes(UnityEyesOptions(root=folder, skip_broken=True)))
        assert [isinstance(item, Skipped) for item in items] == [False, False, True, True]
        kept = "json" if lost == "jpg" else "jpg"
        assert items[2] == Skipped(str(folder / f"11.{kept}"), f"has no 11.{lost} beside it")


def _with(**changes: Any) -> Callable[[Path], None]:
    """Rewrite fields of pair 2; a value of None deletes the field, ``eye_details`` is updated in place."""

    def break_it(folder: Path) -> None:
        tree = annotation()
        for key, value in changes.items():
            place = tree["eye_details"] if key in tree["eye_details"] else tree
            if value is None:
                del place[key]
            else:
                place[key] = value
        (folder / "2.json").write_text(simple_json(tree))

    return break_it


def _cut(suffix: str) -> Callable[[Path], None]:
    def break_it(folder: Path) -> None:
        path = folder / f"2.{suffix}"
        path.write_bytes(path.read_bytes()[:2000])

    return break_it


def _y_down(folder: Path) -> None:
    tree = annotation()
    points = [entry.strip("()").split(", ") for entry in tree["interior_margin_2d"]]
    tree["interior_margin_2d"] = [f"({x}, {480 - float(y):.4f}, {z})" for x, y, z in points]
    (folder / "2.json").write_text(simple_json(tree))


def _nested(folder: Path) -> None:
    (folder / "2.json").write_text(json.dumps({"cameras": {"cam0": annotation()}}))


def _turned(folder: Path) -> None:
    with Image.open(folder / "2.jpg") as picture:
        exif = picture.getexif()
        exif[0x0112] = 3
        picture.save(folder / "2.jpg", exif=exif)


BROKEN: dict[str, tuple[Callable[[Path], None], str]] = {
    "truncated jpg": (_cut("jpg"), "2.jpg: not readable as JPG"),
    "jpg that is none": (lambda folder: (folder / "2.jpg").write_text("hello"), "2.jpg: not readable as JPG"),
    "empty jpg": (lambda folder: (folder / "2.jpg").write_bytes(b""), "2.jpg: not readable as JPG"),
    "malformed json": (_cut("json"), "2.json: not readable as JSON"),
    "list": (lambda folder: (folder / "2.json").write_text("[]"), "2.json: not a JSON object"),
    "missing key": (_with(iris_2d=None), "2.json: field 'iris_2d' holds no list"),
    "missing look": (_with(look_vec=None), "2.json: field 'look_vec' is missing"),
    "missing group": (_with(eye_details=None), "2.json: field 'eye_details' is missing"),
    "wrong count": (_with(caruncle_2d=["(1, 2, 3)"] * 6), "field 'caruncle_2d' holds 6 entries where 7"),
    "code": (_with(head_pose="(__import__('os').getcwd(), 1, 2)"), "field 'head_pose' is"),
    "not finite": (_with(pupil_size="NaN"), "field 'pupil_size' is 'NaN' where 1 finite"),
    "absurd": (_with(head_pose="(1e300, 0.0, 0.0)"), "field 'head_pose' is '(1e300, 0.0, 0.0)' where 3 finite"),
    "no direction": (_with(look_vec="(0.0, 0.0, 0.0, 0.0)"), "field 'look_vec' is a zero vector"),
    "no depth": (_with(iris_2d=["(300.0, 240.0, 0.0)"] * 32), "field 'iris_2d' has a point at depth 0"),
    "mixed commas": (_with(look_vec="(0,6, 0.0, -0.8, 0.0)"), "field 'look_vec' is"),
    "commas that may be decimal": (_with(head_pose="(351,3264,186,0421,0,0)"), "field 'head_pose' is"),
    "a decimal comma or a separator": (_with(head_pose="(351,3264, 186.0421)"), "field 'head_pose' is"),
    "two or three numbers": (_with(head_pose="(351,186,0)"), "field 'head_pose' is"),
    "y down": (_y_down, "field 'interior_margin_2d' has y pointing down"),
    "orientation": (_turned, "2.jpg: EXIF orientation is 3, not 1"),
    "another look": (_with(look_vec="(0.0, -0.9, -0.1, 0.0)"), "2.json: field 'iris_2d' with 'look_vec' is that of"),
    "nested": (_nested, "field 'cameras' marks a derived format"),
}


def test_broken_pairs_are_named_counted_and_skippable(tmp_path: Path) -> None:
    for kind, (break_it, expected) in BROKEN.items():
        folder = tmp_path / kind
        folder.mkdir()
        for number in (1, 2, 3):
            write_pair(folder, number)
        break_it(folder)
        message = _error(folder)  # raised before the intact pair 1 is yielded
        assert expected in message
        assert "(1 broken of 3 pairs)" in message
        assert "skip_broken=true" in message
        items = list(read_unityeyes(UnityEyesOptions(root=folder, skip_broken=True)))
        assert [isinstance(item, Skipped) for item in items] == [False, True, False]
        assert isinstance(items[1], Skipped)
        assert items[1].reason in message
        assert Path(items[1].path).stem == "2"


def test_byte_order_marks_and_decimal_commas_are_read(tmp_path: Path) -> None:
    write_pair(tmp_path, 1)
    expected = _samples(tmp_path)[0].labels
    text = (tmp_path / "1.json").read_text()
    with_commas = re.sub(r"(?<=\d)\.(?=\d)", ",", text)
    assert '"(0,6000, 0,0000, -0,8000, 0,0000)"' in with_commas and '"0,9434691"' in with_commas
    for content in (b"\xef\xbb\xbf" + text.encode(), text.encode("utf-16"), with_commas.encode()):
        (tmp_path / "1.json").write_bytes(content)
        for name, value in _samples(tmp_path)[0].labels.items():
            np.testing.assert_array_equal(value, expected[name])


def test_suffixes_of_any_case_are_partners(tmp_path: Path) -> None:
    for number, (jpg, json_) in enumerate([("JPG", "json"), ("jpeg", "JSON"), ("JPEG", "Json")], start=1):
        write_pair(tmp_path, number)
        (tmp_path / f"{number}.jpg").rename(tmp_path / f"{number}.{jpg}")
        (tmp_path / f"{number}.json").rename(tmp_path / f"{number}.{json_}")
    assert len(_samples(tmp_path)) == 3
    for second in ("jpg", "jpeg"):
        shutil.copy(tmp_path / "1.JPG", tmp_path / f"1.{second}")
        assert "only one of them can belong to the pair" in _error(tmp_path)
        items = list(read_unityeyes(UnityEyesOptions(root=tmp_path, skip_broken=True)))
        assert [isinstance(item, Skipped) for item in items] == [True, False, False]
        (tmp_path / f"1.{second}").unlink()


def test_copies_are_listed_and_hidden_files_are_not_data(tmp_path: Path) -> None:
    for number in (1, 2):
        write_pair(tmp_path, number)
    names = ("1 (1).jpg", "1 (1).json", "2 - Copy.json", "2 - Kopie (2).jpg", "Copy of 1.jpg", "1 copy 2.jpg")
    for name in names:
        shutil.copy(tmp_path / f"1.{name.rpartition('.')[2]}", tmp_path / name)
    for name in ("._1.jpg", ".1.json", "1.json~", "1.jpg.part"):
        (tmp_path / name).write_bytes(b"junk")
    items = list(read_unityeyes(UnityEyesOptions(root=tmp_path)))
    assert {Path(item.path).name for item in items if isinstance(item, Skipped)} == set(names)
    assert sum(isinstance(item, Sample) for item in items) == 2
    assert Skipped(str(tmp_path / "2 - Copy.json"), "looks like a copy of 2.json") in items
    for name in ("jpg", "json"):
        (tmp_path / f"1.{name}").unlink()
    assert "looks like a copy of 1.jp" in _error(tmp_path)
    items = list(read_unityeyes(UnityEyesOptions(root=tmp_path, skip_broken=True)))
    assert sum(isinstance(item, Sample) for item in items) == 1


def test_pictures_and_annotations_with_other_names_are_listed(tmp_path: Path) -> None:
    write_pair(tmp_path, 1)
    names = ("img1.jpg", "img1.json", "1.png", "1_refined.JPG", "1.jpg.jpg")
    for name in (*names, ".2.jpg", "._img1.json", "Thumbs.db", "notes.txt"):
        shutil.copy(tmp_path / "1.jpg", tmp_path / name)
    items = list(read_unityeyes(UnityEyesOptions(root=tmp_path)))
    assert {Path(item.path).name for item in items if isinstance(item, Skipped)} == set(names)
    assert sum(isinstance(item, Sample) for item in items) == 1
    (tmp_path / "1.jpg").unlink()
    message = _error(tmp_path)
    assert "1.json: has no 1.jpg beside it, but 1.png; the picture must be a JPEG" in message
    (tmp_path / "1.json").unlink()
    assert "1.jpg.jpg: not named <n>.jpg or <n>.json" in _error(tmp_path)


LOOKS = [(0.0, 0.0, -1.0), (0.9, 0.1, -0.4), (-0.9, 0.1, -0.4), (0.3, 0.7, -0.6), (0.1, -0.7, -0.7)]


@pytest.mark.parametrize("size", [(640, 480), (1920, 1080), (600, 600)])
def test_pictures_resized_or_cropped_without_their_annotation_are_refused(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    def is_read(width: float, height: float, look: tuple[float, float, float]) -> bool:
        write_pair(tmp_path, 1, annotation(size, (size[0] / 2, size[1] / 2), look), (round(width), round(height)))
        items = read_unityeyes(UnityEyesOptions(root=tmp_path))
        try:
            return isinstance(next(items), Sample)  # raised before the first sample
        except UserError as error:
            assert "1.json: field '" in str(error) and f"1.jpg ({round(width)}x{round(height)} px)" in str(error)
            return False

    width, height = size
    for look in LOOKS:
        assert is_read(width, height, look)
        for factor in (0.25, 0.5, 0.75, 0.92, 1.08, 1.25, 2.0):
            assert not is_read(factor * width, factor * height, look)
            assert not is_read(factor * width, height, look)
            assert not is_read(width, factor * height, look)


def test_the_size_of_a_real_annotation(samples: Callable[[str], Path]) -> None:
    found = read_annotation(samples("unityeyes/100.json"))
    np.testing.assert_allclose(found.size, (1920, 1080), rtol=1e-3)


def test_landmarks_outside_the_picture_are_an_error(tmp_path: Path) -> None:
    for centre in [(10.0, 240.0), (320.0, 455.0), (900.0, 240.0)]:
        write_pair(tmp_path, 1, annotation(centre=centre))
        assert "'interior_margin_2d' lies outside 1.jpg (640x480 px)" in _error(tmp_path)
    _with(caruncle_2d=["(-5.0, 240.0, 9.6)"] * 7)(tmp_path)
    shutil.copy(tmp_path / "2.json", tmp_path / "1.json")
    (tmp_path / "2.json").unlink()
    assert "'caruncle_2d' lies outside 1.jpg" in _error(tmp_path)


def test_a_folder_without_readable_pairs_is_an_error(tmp_path: Path) -> None:
    write_pair(tmp_path, 1)
    (tmp_path / "1.json").write_text("{")
    items = read_unityeyes(UnityEyesOptions(root=tmp_path, skip_broken=True))
    assert isinstance(next(items), Skipped)
    with pytest.raises(UserError, match="none of the 1 pairs is readable"):
        next(items)


def test_the_fixture_has_the_simulators_bytes(samples: Callable[[str], Path]) -> None:
    text = samples("unityeyes/100.json").read_bytes().decode()
    tree = json.loads(text)
    assert simple_json(tree) == text
    assert list(tree) == list(annotation())
    for key, value in annotation().items():
        assert type(value) is type(tree[key])
        if isinstance(value, list | dict):
            assert len(value) == len(tree[key])


def test_labels_match_a_real_sample(samples: Callable[[str], Path]) -> None:
    sample = _samples(samples("unityeyes"))[0]
    np.testing.assert_allclose(sample.labels["gaze"], (0.6337, -0.3779, -0.6750), atol=1e-4)
    # The face is turned to the right of the image, and the eye follows.
    np.testing.assert_allclose(np.degrees(sample.labels["head_pose"]), (4.03, -30.98), atol=0.01)
    outline, margin = sample.labels["iris_outline"], sample.labels["margin"]
    shift = outline.mean(0) - (margin.min(0) + margin.max(0)) / 2
    assert shift @ sample.labels["gaze"][:2] > 0.9 * np.linalg.norm(shift) * np.linalg.norm(sample.labels["gaze"][:2])
    y, x = np.mgrid[0:35, 0:55]
    iris = (x - outline[:, 0].mean()) ** 2 + (y - outline[:, 1].mean()) ** 2 < 6**2
    sclera = (np.abs(x - 20) < 4) & (np.abs(y - 20) < 4)
    assert sample.image[0][iris].mean() < 0.4 * sample.image[0][sclera].mean()
