"""A look at a folder: counts, sizes and modes from headers, and folders that are of no use."""

from __future__ import annotations

import numpy as np
import pytest
from image_files import saved
from PIL import Image
from renders import folder

from synthreal.data import survey as module
from synthreal.data.survey import survey
from synthreal.errors import UserError


def look(path):
    return survey(path, remedy="correct the folder")


def test_sizes_and_modes_are_those_of_the_readable_files(tmp_path):
    path = folder(tmp_path / "a", 3, (20, 30))
    folder(path / "below", 2, (9, 8), mode="16")
    (path / "broken.png").write_text("hello")
    (path / "photo.heic").write_text("hello")
    frames = [Image.fromarray(np.full((5, 6), value, np.uint8)) for value in (1, 2)]
    (path / "pages.tif").write_bytes(saved(frames[0], "TIFF", save_all=True, append_images=frames[1:]))
    exif = Image.Exif()
    exif[274] = 8
    folder(path / "turned", 1, (20, 40), exif=exif)
    found = look(path)
    assert (found.total, found.sampled) == (9, 7)
    assert sorted(found.sizes) == sorted([(20, 30)] * 3 + [(9, 8)] * 2 + [(5, 6), (40, 20)])
    assert (found.grey, found.deep, found.several, found.turned) == (3, 2, 1, 1)


def test_of_a_large_folder_a_random_part_is_read(tmp_path, monkeypatch):
    path = folder(tmp_path / "a", 30, lambda number: (8, 8 + number))
    monkeypatch.setattr(module, "SAMPLE", 6)
    found = look(path)
    assert (found.total, found.sampled) == (30, 6)
    assert found.sizes != tuple((8, 8 + number) for number in range(6)) and len(set(found.sizes)) == 6


def test_folders_of_no_use_are_refused(tmp_path):
    with pytest.raises(UserError, match="a: no such folder; correct the folder"):
        look(tmp_path / "a")
    (tmp_path / "a").mkdir()
    with pytest.raises(UserError, match=r"a: no image file .*correct the folder"):
        look(tmp_path / "a")
    (tmp_path / "a/x.png").write_text("hello")
    with pytest.raises(UserError, match=r"a: not one of its 1 image files is readable; .*x\.png: not a whole PNG"):
        look(tmp_path / "a")
    Image.fromarray(np.eye(5, dtype=np.uint8)).save(tmp_path / "a/y.png")
    (tmp_path / "a/z.heic").write_text("hello")
    with pytest.raises(UserError, match=r"a: one readable picture of 3 is too few; give 2 .*; .*[xz]\.\w+: ") as error:
        look(tmp_path / "a")
    assert "\n" not in str(error.value)
    (tmp_path / "a/x.png").unlink()
    (tmp_path / "a/z.heic").unlink()
    with pytest.raises(UserError, match=r"a: one picture is too few; give 2 at least, better some hundred$"):
        look(tmp_path / "a")


@pytest.mark.parametrize("colour", [(0, 0, 0), (250, 3, 3)])
def test_pictures_without_content_are_refused(tmp_path, colour):
    for name in "abc":
        Image.new("RGB", (9, 9), colour).save(tmp_path / f"{name}.jpg")
    with pytest.raises(UserError, match="each of its pictures has a single colour, such as black"):
        look(tmp_path)
    Image.fromarray(np.eye(9, dtype=np.uint8)).save(tmp_path / "z.png")
    assert look(tmp_path).sampled == 4
