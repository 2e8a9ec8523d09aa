"""Files beside pictures."""

from __future__ import annotations

import json

from synthreal.check.sidecars import find_sidecars


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")


def test_files_belong_to_the_picture_whose_name_they_begin_with(tmp_path):
    touch(tmp_path, "a/1.png", "a/2.jpg", "a/1.txt", "a/1.seg.png.txt", "a/2.xml", "a/3.heic", "a/3.txt", ".a/4.txt")
    touch(tmp_path, "a/5.txt", "b/1.txt", "a/10.xml", "classes.txt", "notes.md", "LICENSE")
    found = find_sidecars(tmp_path)
    assert found.count == {".txt": 3, ".xml": 1}
    assert found.lone == ("a/10.xml", "a/5.txt", "b/1.txt")
    assert found.others == {".txt": 1, ".md": 1, "": 1}


def test_without_sidecars_no_file_has_lost_its_picture(tmp_path):
    touch(tmp_path, "images/1.png", "labels/1.txt", "labels/2.txt")
    found = find_sidecars(tmp_path)
    assert (found.count, found.lone, found.others) == ({}, (), {".txt": 2})


def test_the_numbers_in_json_files_are_labels(tmp_path):
    touch(tmp_path, "1.png", "2.png", "3.png", "4.png", "2.JSON", "4.more.json")
    for name, gaze in (("1", 0.25), ("3", 0.75)):
        (tmp_path / f"{name}.json").write_text(json.dumps({"gaze": [gaze, 0.5]}))
    (tmp_path / "4.more.json").write_text('{"other": 1}')  # belongs to the picture, but is not its JSON
    found = find_sidecars(tmp_path)
    assert list(found.labels) == ["gaze"]
    assert (found.labels["gaze"].images, found.labels["gaze"].low, found.labels["gaze"].high) == (2, 0.25, 0.75)
    (unreadable,) = found.unreadable
    assert unreadable.path == "2.JSON" and "JSON" in unreadable.reason
