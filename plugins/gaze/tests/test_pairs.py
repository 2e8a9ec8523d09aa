"""The names of a UnityEyes folder: pairs, unpaired files, copies, other names, hidden files."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from gaze_fixtures import annotation, read_eyes, refusal, write_pair

from synthreal import Sample, Skipped
from synthreal_gaze.unityeyes import UnityEyesOptions, read_unityeyes


def test_order_is_numerical_and_imgs_is_found(tmp_path: Path) -> None:
    for number in (10, 9, 100, 2):
        write_pair(tmp_path / "imgs", number, annotation(look=(number / 1000, 0.0, -1.0)))
    (tmp_path / "imgs" / "notes.txt").write_text("not a pair")
    gaze = np.stack([sample.labels["gaze"] for sample in read_eyes(tmp_path)])
    np.testing.assert_allclose(gaze[:, 0] / -gaze[:, 2], (0.002, 0.009, 0.010, 0.100), atol=1e-6)


def test_missing_root_and_empty_folder(tmp_path: Path) -> None:
    assert "nowhere: no such folder" in refusal(tmp_path / "nowhere")
    (tmp_path / "1.json").write_text("{}")
    message = refusal(tmp_path, skip_broken=True)
    assert "no UnityEyes pair" in message
    assert "1.json: has no 1.jpg beside it" in message


def test_home_is_expanded_and_an_unreadable_folder_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pair(tmp_path / "eyes", 1)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert len(read_eyes(Path("~/eyes"))) == 1

    def refused(self: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refused)
    assert "eyes: cannot be listed (Permission denied)" in refusal(tmp_path / "eyes")


def test_unpaired_files_are_reported_before_reading(tmp_path: Path) -> None:
    for lost in ("jpg", "json"):
        folder = tmp_path / lost
        folder.mkdir()
        for number in (1, 2, 11, 12):
            write_pair(folder, number)
        (folder / f"11.{lost}").unlink()
        (folder / f"12.{lost}").unlink()
        message = refusal(folder)
        assert f"has no 11.{lost} beside it (2 broken of 4 pairs)" in message
        assert "skip_broken=true" in message
        items = list(read_unityeyes(UnityEyesOptions(root=folder, skip_broken=True)))
        assert [isinstance(item, Skipped) for item in items] == [False, False, True, True]
        kept = "json" if lost == "jpg" else "jpg"
        assert items[2] == Skipped(str(folder / f"11.{kept}"), f"has no 11.{lost} beside it")


def test_suffixes_of_any_case_are_partners(tmp_path: Path) -> None:
    for number, (jpg, json_) in enumerate([("JPG", "json"), ("jpeg", "JSON"), ("JPEG", "Json")], start=1):
        write_pair(tmp_path, number)
        (tmp_path / f"{number}.jpg").rename(tmp_path / f"{number}.{jpg}")
        (tmp_path / f"{number}.json").rename(tmp_path / f"{number}.{json_}")
    assert len(read_eyes(tmp_path)) == 3
    for second in ("jpg", "jpeg"):
        shutil.copy(tmp_path / "1.JPG", tmp_path / f"1.{second}")
        assert "only one of them can belong to the pair" in refusal(tmp_path)
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
    assert "looks like a copy of 1.jp" in refusal(tmp_path)
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
    message = refusal(tmp_path)
    assert "1.json: has no 1.jpg beside it, but 1.png; the picture must be a JPEG" in message
    (tmp_path / "1.json").unlink()
    assert "1.jpg.jpg: not named <n>.jpg or <n>.json" in refusal(tmp_path)
