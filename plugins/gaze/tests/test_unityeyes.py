"""The UnityEyes reader: file format, crop, label conventions, broken pairs."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gaze_fixtures import annotation, equalize_hist, gradient, iris_centre, read_eyes, refusal, simple_json, write_pair
from PIL import Image

from synthreal import Sample, Skipped, UserError
from synthreal_gaze.annotation import read_annotation
from synthreal_gaze.unityeyes import LABELS, UnityEyesOptions, read_unityeyes


def test_labels_match_the_specs(tmp_path: Path) -> None:
    write_pair(tmp_path, 1)
    (sample,) = read_eyes(tmp_path)
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
    for sample in read_eyes(tmp_path):
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
        np.testing.assert_allclose(np.degrees(read_eyes(folder)[0].labels["head_pose"]), pitch_yaw_deg, atol=1e-4)


def test_window_scales_with_the_height_and_y_points_up(tmp_path: Path) -> None:
    for number, size in enumerate([(640, 480), (1280, 960), (512, 384)]):
        folder = tmp_path / str(number)
        folder.mkdir()
        unit = size[1] / 480
        write_pair(folder, 1, annotation(size, (300.0 * unit, 180.0 * unit)), size)
        sample = read_eyes(folder)[0]
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
    sample = read_eyes(tmp_path)[0]
    dark = 250.0 - sample.image[0]
    y, x = np.mgrid[0:35, 0:55]
    centroid = np.array(((dark * x).sum(), (dark * y).sum())) / dark.sum()
    np.testing.assert_allclose(centroid, sample.labels["iris_outline"].mean(0), atol=0.05)


def test_resize_is_antialiased(tmp_path: Path) -> None:
    size = (1920, 1440)
    write_pair(tmp_path, 1, annotation(size, (960, 720)), size)
    checker = (np.indices((1440, 1920)).sum(0) % 2 * 255).astype(np.uint8)
    Image.fromarray(checker).save(tmp_path / "1.jpg", quality=100)
    image = read_eyes(tmp_path)[0].image
    assert image.std() < 4


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
        message = refusal(folder)  # raised before the intact pair 1 is yielded
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
    expected = read_eyes(tmp_path)[0].labels
    text = (tmp_path / "1.json").read_text()
    with_commas = re.sub(r"(?<=\d)\.(?=\d)", ",", text)
    assert '"(0,6000, 0,0000, -0,8000, 0,0000)"' in with_commas and '"0,9434691"' in with_commas
    for content in (b"\xef\xbb\xbf" + text.encode(), text.encode("utf-16"), with_commas.encode()):
        (tmp_path / "1.json").write_bytes(content)
        for name, value in read_eyes(tmp_path)[0].labels.items():
            np.testing.assert_array_equal(value, expected[name])


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


def test_equalize_spreads_the_grey_levels_of_the_crop_and_keeps_the_labels(tmp_path: Path) -> None:
    write_pair(tmp_path, 1)
    (plain,), (equalised,) = read_eyes(tmp_path), read_eyes(tmp_path, equalize=True)
    assert equalised.image.dtype == np.uint8
    np.testing.assert_array_equal(equalised.image[0], equalize_hist(plain.image[0]))
    assert np.ptp(plain.image) < 200 and np.ptp(equalised.image) == 255
    for name, value in plain.labels.items():
        np.testing.assert_array_equal(equalised.labels[name], value)


def test_a_crop_of_one_level_can_be_equalised(tmp_path: Path) -> None:
    write_pair(tmp_path, 1)
    Image.new("L", (640, 480), 80).save(tmp_path / "1.jpg")
    assert (read_eyes(tmp_path, equalize=True)[0].image == 80).all()


def test_landmarks_outside_the_picture_are_an_error(tmp_path: Path) -> None:
    for centre in [(10.0, 240.0), (320.0, 455.0), (900.0, 240.0)]:
        write_pair(tmp_path, 1, annotation(centre=centre))
        assert "'interior_margin_2d' lies outside 1.jpg (640x480 px)" in refusal(tmp_path)
    _with(caruncle_2d=["(-5.0, 240.0, 9.6)"] * 7)(tmp_path)
    shutil.copy(tmp_path / "2.json", tmp_path / "1.json")
    (tmp_path / "2.json").unlink()
    assert "'caruncle_2d' lies outside 1.jpg" in refusal(tmp_path)


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
    sample = read_eyes(samples("unityeyes"))[0]
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
