"""The contents of a folder and of a pack, and what is wrong with them."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from PIL import Image

from synthreal.check import measure as measuring
from synthreal.check.items import open_items
from synthreal.check.measure import measure
from synthreal.data.writer import write_pack
from synthreal.errors import UserError
from synthreal.spec import ImageSpec, LabelSpec, Sample, Skipped


def scene(seed, channels=3, size=(48, 36)):
    colours = np.random.default_rng(seed).normal(128, 50, (6, 8, 4)).clip(0, 255).astype(np.uint8)
    return Image.fromarray(colours[..., :channels].squeeze()).resize(size, Image.Resampling.BICUBIC)


@pytest.fixture
def folder(tmp_path):
    """Twenty good pictures in two class folders."""
    for seed in range(20):
        (tmp_path / "set" / "ab"[seed % 2]).mkdir(parents=True, exist_ok=True)
        scene(seed).save(tmp_path / "set" / "ab"[seed % 2] / f"{seed}.png")
    return tmp_path / "set"


def contents(path, role=None):
    return measure(open_items(path), role, lambda done, total: None).contents


def finding(path, word, role=None):
    (line,) = [line for line in contents(path, role).findings if word in line]
    assert line.startswith(str(path)) and ";" in line
    return line


def test_a_good_folder(folder):
    found = contents(folder)
    assert (found.images, found.sizes, found.modes, found.depths) == (20, {"36x48": 20}, {"RGB": 20}, {"8 bit": 20})
    assert (found.folders, found.role, found.findings) == ({"a": 10, "b": 10}, None, ())
    low, mean, high = found.brightness
    means = [np.asarray(scene(seed).convert("L")).mean() / 255 for seed in range(20)]
    assert (low, mean, high) == pytest.approx((min(means), np.mean(means), max(means)), abs=0.01)
    assert 0 < found.contrast[0] < found.contrast[1] < found.contrast[2] < 0.5
    assert not (found.constant or found.duplicates or found.near_duplicates or found.left_out or found.labels)


def test_kinds_of_pictures(folder):
    scene(50, channels=1).save(folder / "grey.png")
    scene(51, channels=4, size=(20, 30)).save(folder / "alpha.png")
    Image.fromarray(np.asarray(scene(52, channels=1)).astype(np.uint16) * 257).save(folder / "deep.png")
    Image.fromarray(np.asarray(scene(53, channels=4))[..., :2]).save(folder / "both.png")
    found = contents(folder)
    assert found.sizes == {"36x48": 23, "30x20": 1}
    assert found.modes == {"RGB": 20, "grey": 2, "RGBA": 1, "grey with alpha": 1}
    assert found.depths == {"8 bit": 23, "16 bit": 1}
    assert found.folders == {".": 4, "a": 10, "b": 10} and found.findings == ()


def test_progress_counts_every_file(folder):
    (folder / "broken.png").write_bytes(b"no picture")
    seen = []
    measure(open_items(folder), None, lambda done, total: seen.append((done, total)))
    assert seen == [(done, 21) for done in range(1, 22)]


def test_constant_images(folder):
    Image.new("L", (30, 30), 90).save(folder / "flat.png")
    Image.new("RGB", (40, 30)).save(folder / "black.png")
    Image.new("RGB", (40, 30)).save(folder / "black too.png")
    assert "3 of 23 images" in finding(folder, "constant")
    assert contents(folder).constant == ("black too.png", "black.png", "flat.png")
    assert contents(folder).duplicates == {}  # said once


def test_equal_images_under_other_names_and_formats(folder):
    scene(3).save(folder / "again.bmp")
    assert contents(folder).duplicates == {"b/3.png": "again.bmp"}
    assert "1 of 21 images" in finding(folder, "equal") and "b/3.png = again.bmp" in finding(folder, "equal")


def test_nearly_equal_images_are_wrong_if_most_are(folder, monkeypatch):
    def add(seed):
        scene(seed, size=(96, 72)).save(folder / f"z{seed}.jpg", quality=70)

    for seed in range(20):
        add(seed)
    found = contents(folder)
    assert found.near_duplicates["z4.jpg"] == "a/4.png" and len(found.near_duplicates) == 20
    assert found.findings == () and found.duplicates == {}
    scene(0, size=(24, 18)).save(folder / "zz.png")
    assert "21 of 41 images" in finding(folder, "hardly differ")
    monkeypatch.setattr(measuring, "COMPARED", 8)
    assert len(contents(folder).near_duplicates) < 8 and contents(folder).images == 41


def test_files_that_are_left_out(folder):
    (folder / "broken.png").write_bytes(b"no picture")
    (folder / "c.heic").write_bytes(b"")
    (folder / "a" / "0 (1).png").write_bytes((folder / "a" / "0.png").read_bytes())
    (folder / "a" / "2.json").write_text("{")
    left_out = contents(folder).left_out
    assert sorted(left_out) == ["a/0 (1).png", "a/2.json", "broken.png", "c.heic"]
    assert "copy of 0.png" in left_out["a/0 (1).png"] and "heic" in left_out["c.heic"]
    assert "4 files are left out" in finding(folder, "left out")


def test_of_several_pictures_the_first_is_read(folder):
    scene(60).save(folder / "pages.tif", save_all=True, append_images=[scene(61)])
    scene(62).save(folder / "moving.gif", save_all=True, append_images=[scene(63)])
    scene(64).save(folder / "one.gif")
    found = contents(folder)
    assert (found.images, found.several, found.left_out) == (23, 2, {})
    assert "2 of 23 images hold several pictures" in finding(folder, "several")
    (folder / "pages.tif").unlink()
    scene(62).save(folder / "first.png")  # a GIF holds fewer colours
    assert contents(folder).near_duplicates == {"moving.gif": "first.png"}


def test_renders_that_exif_turns_are_wrong_and_photographs_are_not(folder):
    exif = Image.Exif()
    for name, orientation in (("turned.jpg", 6), ("upright.jpg", 1)):
        exif[274] = orientation
        scene(70 + orientation).save(folder / name, exif=exif)
    assert (contents(folder).turned, contents(folder).findings, contents(folder, "real").findings) == (1, (), ())
    assert "1 of 22 images" in finding(folder, "EXIF", "simulated")


def test_folders_of_very_unequal_numbers_are_wrong(folder):
    (folder / "c").mkdir()
    scene(20).save(folder / "c" / "20.png")
    assert contents(folder).findings == ()  # 10 times as many
    scene(21).save(folder / "a" / "21.png")
    line = finding(folder, "classes")
    assert "a has 11 images" in line and "c only 1" in line
    for path in (folder / "a").iterdir():
        path.rename(folder / f"top {path.name}")  # lies in no folder of a class
    assert contents(folder).findings == ()


def test_a_table_of_labels_has_a_row_for_every_picture(folder):
    rows = [f"{'ab'[seed % 2]}/{seed}.png,{seed}" for seed in range(20)]
    (folder / "labels.csv").write_text("\n".join(["file,angle", *rows]))
    assert contents(folder).findings == ()
    (folder / "labels.csv").write_text("\n".join(["file,angle", *rows[:-2], "a/lost.png,4"]))
    assert "1 of 19 rows" in finding(folder, "a/lost.png")
    assert "2 of 20 pictures" in finding(folder, "a/18.png, b/19.png")
    (folder / "labels.csv").write_text("name,angle")
    assert "'file'" in finding(folder, "labels.csv")


def test_sidecars_and_their_labels(folder):
    for seed in range(0, 20, 2):
        (folder / "a" / f"{seed}.json").write_text(json.dumps({"gaze": [seed / 10, 1], "version": 2}))
    found = contents(folder)
    assert (found.sidecars, found.findings) == ({".json": 10}, ())  # sidecars also hold constants
    assert (found.labels["gaze"].images, found.labels["gaze"].high, found.labels["version"].constant) == (10, 1.8, True)
    (folder / "a" / "98.json").write_text("{}")
    (folder / "a" / "4.json").write_text('{"gaze": [NaN, 1]}')
    assert "1 sidecars" in finding(folder, "a/98.json")
    assert "label gaze of 1 of 20 images" in finding(folder, "NaN")


def test_values_of_12_bits_in_16_bit_files(folder):
    for seed in range(5):
        pixels = np.asarray(scene(seed + 60, channels=1)).astype(np.uint16) * 16
        Image.fromarray(pixels).save(folder / f"{seed}.png")
    line = finding(folder, "12 bits")
    assert "20% of 25 images" in line and "of 65,535" in line


@pytest.mark.parametrize("kind", ["missing", "empty", "text", "other", "broken", "no pack"])
def test_a_path_without_a_picture_is_bad_input(tmp_path, kind):
    path = tmp_path / kind
    if kind == "no pack":
        path.write_bytes(b"no HDF5")
    elif kind != "missing":
        path.mkdir()
        for name in {"text": ["a.txt"], "other": ["a.heic"], "broken": ["a.png", "b.heic"]}.get(kind, []):
            (path / name).write_bytes(b"x")
    with pytest.raises(UserError) as caught:
        contents(path)
    assert str(path) in str(caught.value) and ("heic" in str(caught.value)) == (kind == "other")


def test_names_that_are_not_utf8(folder):
    (folder / "a").rename(folder / os.fsdecode(b"\xff"))
    assert contents(folder).folders == {"b": 10, "\\udcff": 10}
    assert json.dumps(contents(folder).to_json()).isascii()


PX = LabelSpec("centre", (2,), "px")
SIZE = LabelSpec("size", (), "mm")


def pack(path, images, *, labels=None, skipped=(), role="simulated", **image):
    """A pack of images ``(N, C, H, W)``."""
    count = len(images)
    values = {"centre": np.arange(2.0 * count).reshape(count, 2), "size": np.full(count, 3.0), **(labels or {})}
    samples = [Sample(one, {name: values[name][row] for name in values}) for row, one in enumerate(images)]
    _, channels, height, width = images.shape
    write_pack(
        path,
        [*skipped, *samples],
        image=ImageSpec(channels=channels, height=height, width=width, dtype=images.dtype.name, **image),
        labels=(PX, SIZE),
        role=role,
        name="test",
        options={},
    )
    return path


def test_a_pack(tmp_path):
    images = np.stack([np.asarray(scene(seed)).transpose(2, 0, 1) for seed in [*range(10), 4]])
    images[7] = 20
    path = pack(tmp_path / "a.h5", images, skipped=[Skipped("lost.png", "broken")])
    found = contents(path)
    assert (found.images, found.sizes, found.modes, found.role) == (11, {"36x48": 11}, {"RGB": 11}, "simulated")
    assert (found.constant, found.duplicates) == (("image 7",), {"image 10": "image 4"})
    assert found.left_out == {"lost.png": "broken"}
    centre, size = found.labels["centre"], found.labels["size"]
    assert (centre.shape, centre.unit, centre.low, centre.high, centre.constant) == ((2,), "px", 0, 21, False)
    assert size.constant and "label size" in finding(path, "same for all")


def test_the_values_of_background_in_a_pack_are_known(tmp_path):
    """Depth with most pixels at the far end is no dark image, and the declared value must occur."""
    noise = np.random.default_rng(0).integers(20_000, 40_000, (20, 1, 80, 70), dtype=np.uint16)
    for row, top in enumerate(range(0, 60, 3)):
        noise[row, :, top : top + 20, 60 - top :] = 65535
    sizes = {"size": np.arange(20.0)}
    good = pack(tmp_path / "good.h5", noise, labels=sizes, background=1.0, meaning="depth")
    assert contents(good).findings == ()
    noise[noise == 65535] = 1
    bad = pack(tmp_path / "bad.h5", noise, labels=sizes, background=1.0, meaning="depth")
    assert "background" in finding(bad, "declared value")


def test_memory_does_not_grow_with_the_size_of_the_images(folder):
    found = measure(open_items(folder), None, lambda done, total: None)
    assert found.edges.shape == (20, 480) and found.edges.dtype == np.float32
    assert found.levels is not None and found.levels.mean.shape == (1, 64, 64)
