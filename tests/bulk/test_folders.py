"""Folders of pictures: names, other files, and pictures that do not depend on their neighbours."""

from __future__ import annotations

import json
import os
import shutil

import cv2
import numpy as np
import pytest
from PIL import Image
from quick import files

from synthreal.bulk import pictures
from synthreal.bulk.folders import FolderSource
from synthreal.bulk.refine import refine_bulk
from synthreal.data.folder import names_below
from synthreal.data.pack import Pack
from synthreal.errors import UserError
from synthreal.images.picture import read_picture
from synthreal.inference.indexed import IndexedRefiner
from synthreal.inference.transform import Refine

RNG = np.random.default_rng(0)


def grey(*size):
    return Image.fromarray(RNG.integers(0, 256, size or (12, 16), np.uint8))


def colour(*size):
    return Image.fromarray(RNG.integers(60, 190, (*size, 3), np.uint8))


@pytest.fixture
def folder(tmp_path):
    """Sixteen pictures of many kinds, two that cannot be refined, and other files."""
    root = tmp_path / "in"
    (root / "sub" / "deep").mkdir(parents=True)
    for index in range(6):
        grey().save(root / f"{index}.png")
        (root / f"{index}.json").write_text(f"[{index}]")
    for index in range(3):
        grey(9, 9 + index).save(root / "sub" / f"{index}.tif")
    colour(14, 11).save(root / "sub" / "colour.JPG", "JPEG", quality=95, subsampling=0)
    colour(14, 11).save(root / "sub" / "colour.png")
    colour(14, 11).quantize(200).save(root / "sub" / "palette.png")
    colour(14, 11).convert("RGBA").save(root / "sub" / "deep" / "alpha.png")
    Image.fromarray(RNG.integers(0, 65536, (12, 16)).astype(np.uint16)).save(root / "sub" / "deep" / "16.png")
    cv2.imwrite(str(root / "sub" / "deep" / "colour16.png"), RNG.integers(9999, 50000, (12, 16, 3)).astype(np.uint16))
    grey(12, 16).save(root / "sub" / "deep" / "last.bmp")
    (root / "sub" / "0.xml").write_text("<x/>")
    (root / "notes.txt").write_text("hello")
    (root / "broken.png").write_bytes((root / "0.png").read_bytes()[:50])
    (root / "moving.gif").write_bytes(b"GIF89a")
    return root


def pixels(path):
    return read_picture(path.read_bytes()).colour


def test_names_stay_the_same_and_other_files_are_copied(plain, folder, tmp_path, small_blocks):
    reported = []
    done = refine_bulk(plain, folder, tmp_path / "out", on_progress=lambda *counts: reported.append(counts))
    failed = {item.path.removeprefix(str(folder)): item.reason for item in done.failed}
    assert failed.keys() == {"/broken.png", "/moving.gif"}
    assert "not a whole" in failed["/broken.png"]
    assert (done.refined, done.copied, done.done) == (16, 8, "refined")
    assert reported[-1] == (18, 18)
    assert files(tmp_path / "out") == [name for name in files(folder) if name not in ("broken.png", "moving.gif")]
    for name in files(tmp_path / "out"):
        before, after = folder / name, tmp_path / "out" / name
        if name.endswith((".json", ".xml", ".txt")):
            assert after.read_bytes() == before.read_bytes()
            continue
        with Image.open(before) as one, Image.open(after) as other:
            assert (other.format, other.size) == (one.format, one.size)
            assert other.mode == one.mode or one.mode == "P"
        assert pixels(after).dtype == pixels(before).dtype
        assert np.abs(pixels(after).astype(float) - pixels(before)).mean() > 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out", "out.job.json"]
    record = json.loads((tmp_path / "out.job.json").read_text())
    assert record["outcome"]["refined"] == 16 and len(record["outcome"]["failed"]) == 2


def test_grey_pictures_are_refined_like_a_pack(noisy, pack_of, tmp_path):
    image = Pack(pack_of(11)).read(slice(None))[0]
    (tmp_path / "in").mkdir()
    for index, planes in enumerate(image):
        Image.fromarray(planes[0]).save(tmp_path / "in" / f"{index:02d}.png")
    refine_bulk(noisy, tmp_path / "in.h5", tmp_path / "out.h5", seed=2, batch_size=4)
    refine_bulk(noisy, tmp_path / "in", tmp_path / "out", seed=2, batch_size=4)
    expected = Pack(tmp_path / "out.h5").read(slice(None))[0]
    for index, planes in enumerate(expected):
        np.testing.assert_array_equal(pixels(tmp_path / "out" / f"{index:02d}.png"), planes)


def test_a_picture_does_not_depend_on_its_neighbours(noisy, folder, tmp_path):
    refine_bulk(noisy, folder, tmp_path / "all", batch_size=4)
    refine_bulk(noisy, folder, tmp_path / "first", batch_size=4, limit=4)
    assert files(tmp_path / "first") == [f"{index}.{suffix}" for index in range(4) for suffix in ("json", "png")]
    for index in range(4):
        name = f"{index}.png"
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "all" / name).read_bytes()


def test_pictures_of_different_depth_do_not_share_a_batch(plain, tmp_path):
    root = tmp_path / "in"
    root.mkdir()
    given = RNG.integers(0, 256, (12, 16), np.uint8)
    Image.fromarray(given).save(root / "8.png")
    Image.fromarray(given.astype(np.uint16) * 257).save(root / "16.png")
    refine_bulk(plain, root, tmp_path / "out", batch_size=4)
    shallow, deep = pixels(tmp_path / "out" / "8.png"), pixels(tmp_path / "out" / "16.png")
    assert (shallow.dtype, deep.dtype) == (np.uint8, np.uint16)
    np.testing.assert_allclose(shallow, deep / 257, atol=0.51)


def test_a_colour_picture_keeps_its_chroma(plain, folder, tmp_path):
    refine_bulk(plain, folder, tmp_path / "out")
    for name, most in (("sub/colour.png", 1.01), ("sub/deep/alpha.png", 1.01), ("sub/deep/colour16.png", 1.01)):
        before, after = (pixels(root / name).astype(float) for root in (folder, tmp_path / "out"))
        for first, second in ((0, 1), (1, 2)):  # differences of channels are chroma
            assert np.abs((after[first] - after[second]) - (before[first] - before[second])).max() <= most
        assert np.abs(after - before).mean() > 3


def test_versions_differ_and_have_numbered_names(noisy, folder, tmp_path):
    done = refine_bulk(noisy, folder, tmp_path / "out", samples=2)
    assert done.refined == 32
    names = files(tmp_path / "out")
    assert {"0-0.png", "0-1.png", "0-0.json", "0-1.json", "notes.txt", "sub/0-1.xml"} <= set(names)
    assert "0.png" not in names and "0.json" not in names
    one, other = (pixels(tmp_path / "out" / f"0-{version}.png").astype(int) for version in (0, 1))
    assert np.abs(one - other).max() > 0
    refine_bulk(noisy, folder, tmp_path / "once")
    np.testing.assert_array_equal(pixels(tmp_path / "once" / "0.png"), one)
    grey().save(folder / "3-1.png")
    (folder / "3-1.json").unlink(missing_ok=True)
    (folder / "3-1-0.json").write_text("0")
    (folder / "3-1.json").write_text("0")
    with pytest.raises(UserError, match=r"in: two files would be called 3-1-0\.json with --samples"):
        refine_bulk(noisy, folder, tmp_path / "more", samples=2)


def test_versions_of_a_colour_picture_keep_its_chroma(plain, folder, tmp_path):
    refine_bulk(plain, folder, tmp_path / "out", samples=3)
    before = pixels(folder / "sub" / "colour.png").astype(float)
    versions = [pixels(tmp_path / "out" / "sub" / f"colour-{version}.png").astype(float) for version in range(3)]
    for after in versions:
        assert np.abs(np.diff(after, axis=0) - np.diff(before, axis=0)).max() <= 1.01
    assert min(np.abs(versions[0] - other).mean() for other in versions[1:]) > 0.1


def test_versions_need_the_styles_of_real_images(plain, folder, tmp_path, cli):
    run = shutil.copytree(plain, tmp_path / "run", ignore=shutil.ignore_patterns("styles.safetensors"))
    line = cli("refine", run, folder, tmp_path / "out", "--samples", 2).complaint()
    parts = f"{run}/styles.safetensors: missing", "--samples 2 needs it; save the refiner again"
    assert all(part in line for part in parts)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "run"]
    assert refine_bulk(run, folder, tmp_path / "out").refined == 16


def test_a_refiner_of_three_channels_lists_grey_pictures_as_failed(run_of, folder, tmp_path):
    done = refine_bulk(run_of(channels=3), folder, tmp_path / "out")
    assert done.refined == 5
    reasons = {item.reason for item in done.failed}
    assert "it is grey, the refiner takes 3 channels" in reasons and len(done.failed) == 13
    assert not (tmp_path / "out" / "0.png").exists() and (tmp_path / "out" / "0.json").exists()


def test_a_large_picture_is_refined_in_tiles(noisy, tmp_path):
    (tmp_path / "in").mkdir()
    grey(70, 90).save(tmp_path / "in" / "large.png")
    whole = refine_bulk(noisy, tmp_path / "in", tmp_path / "whole", tile="none", precision="float32")
    tiled = refine_bulk(noisy, tmp_path / "in", tmp_path / "tiled", tile=32, precision="float32")
    one, other = (pixels(tmp_path / name / "large.png").astype(int) for name in ("whole", "tiled"))
    assert np.abs(one - other).max() <= 1 and (one != other).mean() < 0.01
    assert whole.refined == tiled.refined == 1


def test_large_pictures_after_small_ones_are_refined_in_smaller_batches(noisy, tmp_path, monkeypatch):
    root, rng = tmp_path / "in", np.random.default_rng(0)
    root.mkdir()
    for index in range(8):
        size = (12, 16) if index < 4 else (60, 64)
        Image.fromarray(rng.integers(0, 256, size, np.uint8)).save(root / f"{index}.png")
    monkeypatch.setattr(pictures, "BLOCK", 4)
    seen, refine = set(), Refine.forward
    monkeypatch.setattr(Refine, "forward", lambda self, *given: seen.add(given[0].shape) or refine(self, *given))
    refine_bulk(noisy, root, tmp_path / "out", batch_size=40)
    assert {shape for shape in seen if shape[-1] > 1} == {(40, 1, 12, 16), (2, 1, 60, 64)}


def test_pillows_size_limit_does_not_apply(plain, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    assert refine_bulk(plain, folder, tmp_path / "out").refined == 16
    assert Image.MAX_IMAGE_PIXELS == 50


def test_a_network_without_receptive_field_fails_only_on_large_pictures(run_of, folder, tmp_path):
    run = run_of("refiner={name='tint'}")
    grey(40, 41).save(folder / "large.png")
    done = refine_bulk(run, folder, tmp_path / "out", tile=32)
    (large,) = [item for item in done.failed if item.path.endswith("large.png")]
    assert "has no attribute `receptive_field`" in large.reason and "40x41 px" in large.reason
    assert done.refined == 16


def test_dangling_links_and_devices_are_listed(plain, folder, tmp_path):
    for name in ("gone.png", "gone.json"):
        (folder / name).symlink_to("nowhere")
    for name in ("loop.png", "loop.json"):
        (folder / name).symlink_to(name)
    for name in ("device.png", "device.txt"):  # a pipe is refused too, but a failing test would wait for it
        (folder / name).symlink_to("/dev/null")
    done = refine_bulk(plain, folder, tmp_path / "out")
    failed = {item.path.removeprefix(f"{folder}/"): item.reason for item in done.failed}
    assert {"gone.png", "gone.json", "loop.png", "loop.json", "device.png", "device.txt"} <= failed.keys()
    assert failed["gone.json"] == "cannot be read (No such file or directory)"
    assert failed["loop.json"] == "cannot be read (Too many levels of symbolic links)"
    assert "device.png" in failed["device.png"] and "link out of the folder" in failed["device.txt"]
    assert (done.refined, done.copied) == (16, 8)


def test_other_files_behind_a_link_out_of_the_folder_are_not_copied(plain, tmp_path):
    (tmp_path / "private").mkdir()
    (tmp_path / "private/key.txt").write_text("secret")
    grey().save(tmp_path / "private/render.png")
    (tmp_path / "in").mkdir()
    (tmp_path / "in/own.txt").write_text("own")
    (tmp_path / "in/same.txt").symlink_to("own.txt")
    (tmp_path / "in/key.txt").symlink_to("../private/key.txt")
    (tmp_path / "in/renders").symlink_to("../private")
    done = refine_bulk(plain, tmp_path / "in", tmp_path / "out")
    assert files(tmp_path / "out") == ["own.txt", "renders/render.png", "same.txt"]
    assert [item.path.removeprefix(f"{tmp_path}/in/") for item in done.failed] == ["key.txt", "renders/key.txt"]
    assert all("link out of the folder" in item.reason for item in done.failed)


def test_nothing_is_written_if_no_picture_can_be_refined(plain, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(b"no")
    with pytest.raises(UserError, match=r"in: not one of 1 images could be refined; .*a\.png: not a whole PNG"):
        refine_bulk(plain, tmp_path / "in", tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def test_the_command_reports_refined_copied_and_failed_files(plain, folder, tmp_path, cli):
    done = cli("refine", plain, folder, tmp_path / "out").ok()
    assert done.out == f"{tmp_path / 'out'}: 16 refined images, 8 other files copied, 2 failed\n"
    assert f"failed {folder / 'broken.png'}: " in done.err
    again = cli("refine", plain, folder, tmp_path / "out").ok()
    assert again.out == f"{tmp_path / 'out'}: was complete already, 16 refined images, 8 other files copied, 2 failed\n"


def test_inputs_that_are_no_folder_of_pictures_are_refused(plain, folder, tmp_path):
    (tmp_path / "empty").mkdir()
    (folder / "a.tar").touch()
    for source, reason in [
        (tmp_path / "empty", r"empty: no picture \(.*\) and no \.tar shard in it"),
        (folder, "holds pictures and .tar shards"),
        (folder / "0.png", r"0\.png: not a pack .*; give its folder"),
        (tmp_path / "none", "none: no such pack"),
    ]:
        with pytest.raises(UserError, match=reason):
            refine_bulk(plain, source, tmp_path / "out")


def test_a_linked_folder_has_its_pictures_under_both_names(plain, tmp_path):
    (tmp_path / "in" / "first").mkdir(parents=True)
    grey().save(tmp_path / "in" / "first" / "a.png")
    (tmp_path / "in" / "again").symlink_to("first")
    refine_bulk(plain, tmp_path / "in", tmp_path / "out")
    assert files(tmp_path / "out") == ["again/a.png", "first/a.png"]
    np.testing.assert_array_equal(*(pixels(tmp_path / "out" / name / "a.png") for name in ("again", "first")))


def test_the_first_picture_of_an_mpo_file_is_refined(plain, folder, tmp_path):
    colour(24, 32).save(folder / "phone.jpg", "MPO", save_all=True, append_images=[colour(6, 8)])
    assert refine_bulk(plain, folder, tmp_path / "out").refined == 17
    with Image.open(tmp_path / "out" / "phone.jpg") as found:
        assert (found.format, found.size) == ("JPEG", (32, 24))


def test_a_fault_of_the_device_ends_the_job(plain, folder, tmp_path, monkeypatch):
    def fail(*arguments, **more):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(IndexedRefiner, "refine_stored", fail)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        refine_bulk(plain, folder, tmp_path / "out")


def test_blocks_consist_of_whole_batches(folder):
    source = FolderSource(folder, names_below(folder), None, 1)
    for batch, block in ((1, 256), (100, 200), (256, 256), (1000, 1000)):
        assert source.block_size(batch, (12, 16)) == block
        assert source.block_size(batch, (2000, 1000)) == max(batch, 2 // batch * batch)


def test_blocks_do_not_split_batches(plain, tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    for index in range(12):
        grey().save(tmp_path / "in" / f"{index:02d}.png")
    monkeypatch.setattr(pictures, "BLOCK", 5)
    seen, refine = [], Refine.forward
    monkeypatch.setattr(Refine, "forward", lambda self, *given: seen.append(len(given[0])) or refine(self, *given))
    refine_bulk(plain, tmp_path / "in", tmp_path / "out", batch_size=4)
    assert seen == [4, 4, 4]


def test_copies_are_reported_file_by_file(plain, folder, tmp_path):
    reported = []
    refine_bulk(plain, folder, tmp_path / "out", on_assembly=lambda *counts: reported.append(counts))
    assert reported == [(done, 8) for done in range(1, 9)]


def test_webp_and_pnm_pictures_keep_name_and_format(plain, tmp_path):
    (tmp_path / "in").mkdir()
    for name, image, options in (
        ("a.webp", colour(14, 11), {"quality": 80}),
        ("b.jpg", colour(14, 11), {"format": "WEBP", "lossless": True}),
        ("c.pgm", grey(), {}),
        ("d.ppm", colour(14, 11), {}),
    ):
        image.save(tmp_path / "in" / name, **options)
    assert refine_bulk(plain, tmp_path / "in", tmp_path / "out").refined == 4
    for name in ("a.webp", "b.jpg", "c.pgm", "d.ppm"):
        before, after = (tmp_path / root / name for root in ("in", "out"))
        with Image.open(before) as one, Image.open(after) as other:
            assert (other.format, other.mode, other.size) == (one.format, one.mode, one.size)
        assert np.abs(pixels(after).astype(float) - pixels(before)).mean() > 1


def test_hidden_files_are_neither_refined_nor_copied_and_other_formats_are_listed(plain, folder, tmp_path):
    for name in (".ipynb_checkpoints/0.png", "__MACOSX/0.png", "sub/.thumbnails/0.png"):
        (folder / name).parent.mkdir()
        grey().save(folder / name)
    for name in (".DS_Store", "Thumbs.db", "photo.heic", "render.exr"):
        (folder / name).write_bytes(b"x")
    done = refine_bulk(plain, folder, tmp_path / "out")
    assert (done.refined, done.copied) == (16, 8)
    failed = {item.path.removeprefix(f"{folder}/") for item in done.failed}
    assert failed == {"broken.png", "moving.gif", "photo.heic", "render.exr"}
    assert set(files(tmp_path / "out")) == set(files(folder)) - failed - {
        name for name in files(folder) if name.split("/")[-1] in (".DS_Store", "Thumbs.db") or "/0.png" in name
    }


def test_the_network_sees_black_under_transparent_pixels(plain, tmp_path):
    (tmp_path / "in").mkdir()
    given = RNG.integers(60, 190, (14, 11, 4), np.uint8)
    given[..., 3] = 255
    given[4:9, 3:8, 3] = 0
    black = np.where(given[..., 3:] > 0, given, 0)
    for name, image in (("a.png", given), ("b.png", black)):
        Image.fromarray(image).save(tmp_path / "in" / name)
    refine_bulk(plain, tmp_path / "in", tmp_path / "out")
    one, other = (read_picture((tmp_path / "out" / name).read_bytes()) for name in ("a.png", "b.png"))
    np.testing.assert_array_equal(one.colour, other.colour)
    np.testing.assert_array_equal(one.alpha, given[..., 3])


def test_names_that_are_not_utf_8_are_refined_or_listed(plain, tmp_path, cli):
    root = tmp_path / "in"
    root.mkdir()
    try:
        grey().save(root / os.fsdecode(b"wh\xfele.png"))
    except OSError:
        pytest.skip("this file system allows UTF-8 only")
    (root / os.fsdecode(b"br\xffken.png")).write_bytes(b"no")
    (root / os.fsdecode(b"n\xffte.txt")).write_bytes(b"hello")
    done = cli("refine", plain, root, tmp_path / "out").ok()
    assert r"br\udcffken.png" in done.err
    assert {os.fsencode(name) for name in files(tmp_path / "out")} == {b"n\xffte.txt", b"wh\xfele.png"}
    assert r"br\udcffken.png" in json.loads((tmp_path / "out.job.json").read_text())["outcome"]["failed"][0]["path"]


def test_other_pictures_and_values_of_12_bits_are_reported(plain, tmp_path):
    root = tmp_path / "in"
    root.mkdir()
    for index in range(3):
        Image.fromarray(RNG.integers(0, 4096, (12, 16)).astype(np.uint16)).save(root / f"{index}.png")
    grey().save(root / "plain", "PNG")
    (root / "a.mpo").write_bytes(b"x")
    (root / "notes").write_text("x")
    warnings = []
    done = refine_bulk(plain, root, tmp_path / "out", on_warning=warnings.append, batch_size=1)
    assert (done.refined, done.copied) == (3, 1)
    assert [item.path.rpartition("/")[2] for item in done.failed] == ["a.mpo", "plain"]
    assert files(tmp_path / "out") == ["0.png", "1.png", "2.png", "notes"]
    assert len(warnings) == 1 and "12-bit values" in warnings[0] and "multiply them by 16" in warnings[0]
    Image.fromarray(np.full((12, 16), 40000, np.uint16)).save(root / "3.png")
    grey().save(root / "dark.png")
    refine_bulk(plain, root, tmp_path / "again", on_warning=warnings.append)
    assert len(warnings) == 1


def test_a_folder_of_unread_formats_is_described(plain, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.heic").write_bytes(b"x")
    with pytest.raises(UserError, match=r"no picture .* but pictures that are not read: 1 \.heic"):
        refine_bulk(plain, tmp_path / "in", tmp_path / "out")
