"""The built-in folder data set, and the conversion of images to a spec."""

from __future__ import annotations

import itertools
import os

import cv2
import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from synthreal.data.folder import FolderOptions, image_files, names_below, read_folder
from synthreal.data.source import convert_image, read_samples
from synthreal.errors import UserError
from synthreal.spec import DatasetSpec, ImageSpec, Sample, Skipped

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (6, 9), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (6, 9), dtype=np.uint16)
RGB = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)
RGBA = RNG.integers(0, 256, (6, 9, 4), dtype=np.uint8)


def read(root, **options):
    return list(read_folder(FolderOptions(root=str(root), **options)))


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("a.png", GREY),
        ("a.BMP", GREY),
        ("a.tiff", GREY),
        ("a.png", DEEP),
        ("a.tif", DEEP),
        ("a.png", RGB),
        ("a.Tif", RGB),
        ("a.PNG", RGBA),
        ("a.png", RGBA[..., :2]),
    ],
)
def test_lossless_files_are_read_exactly(tmp_path, name, array):
    Image.fromarray(array).save(tmp_path / name)
    (sample,) = read(tmp_path)
    expected = array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
    assert sample.image.dtype == array.dtype
    np.testing.assert_array_equal(sample.image, expected)
    assert sample.labels == {}


@pytest.mark.parametrize(
    ("suffix", "options"), [("png", {}), ("jpeg", {}), ("tif", {}), ("tif", {"compression": "tiff_lzw"})], ids=str
)
def test_exif_orientation_is_not_applied(tmp_path, suffix, options):
    exif = Image.Exif()
    for orientation, (name, array) in itertools.product(range(2, 9), (("grey", GREY), ("deep", DEEP), ("rgb", RGB))):
        exif[274] = orientation
        if suffix == "jpeg" and name == "deep":
            continue
        image = np.repeat(np.repeat(array, 8, 0), 8, 1)
        Image.fromarray(image).save(tmp_path / f"{name}.{suffix}", exif=exif, **options)
        with Image.open(tmp_path / f"{name}.{suffix}") as file:
            assert file.getexif()[274] == orientation
        expected = image[None] if image.ndim == 2 else image.transpose(2, 0, 1)
        found = read(tmp_path)[-1].image
        assert found.shape == expected.shape
        if suffix != "jpeg":
            np.testing.assert_array_equal(found, expected)
        (tmp_path / f"{name}.{suffix}").unlink()


def test_palettes_bits_and_cmyk_are_converted(tmp_path):
    Image.fromarray(GREY > 127).save(tmp_path / "a_bits.png")
    palette = Image.fromarray(RGB).quantize(16)
    palette.save(tmp_path / "b_palette.png")
    Image.fromarray(RGB).convert("CMYK").save(tmp_path / "c_cmyk.tif")
    Image.fromarray(GREY).save(tmp_path / "d.jpeg", quality=100)
    bits, colours, cmyk, jpeg = read(tmp_path)
    np.testing.assert_array_equal(bits.image, np.where(GREY > 127, 255, 0)[None].astype(np.uint8))
    np.testing.assert_array_equal(colours.image, np.asarray(palette.convert("RGB")).transpose(2, 0, 1))
    assert cmyk.image.shape == (3, 6, 9)
    assert jpeg.image.shape == (1, 6, 9)
    assert np.abs(jpeg.image.astype(int) - GREY).max() <= 3


def test_order_recursion_and_other_files(tmp_path):
    def save(name, value):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((1, 1), value, np.uint8)).save(path)

    for value, name in enumerate(("a.png", "b/1.png", "b/2.JPG", "b.png", "c.bmp")):
        save(name, value * 50)
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "b" / "loop").symlink_to(tmp_path, target_is_directory=True)

    def grey(items):
        return [round(float(item.image.mean()) / 50) for item in items]

    assert grey(read(tmp_path)) == [0, 3, 1, 2, 4]  # as strings: "b.png" < "b/1.png"
    assert grey(read(tmp_path, recursive=False)) == [0, 3, 4]
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "linked").symlink_to(tmp_path / "b", target_is_directory=True)
    assert grey(read(outside))[:2] == [1, 2]


def test_unreadable_files_are_listed_with_their_reason(tmp_path):
    Image.fromarray(np.tile(RGB, (20, 20, 1))).save(tmp_path / "b.jpg")
    whole = (tmp_path / "b.jpg").read_bytes()
    (tmp_path / "a_short.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "c_text.png").write_text("hello")
    (tmp_path / "d_empty.bmp").write_bytes(b"")
    Image.fromarray(GREY.astype(np.float32)).save(tmp_path / "e_float.tif")
    Image.fromarray(np.full((2, 2), 255, np.int32)).save(tmp_path / "f_int.tif")
    png = tmp_path / "g_short.png"
    Image.fromarray(np.tile(DEEP, (20, 20))).save(png)
    png.write_bytes(png.read_bytes()[: png.stat().st_size // 2])
    items = read(tmp_path)
    assert [type(item) for item in items] == [Skipped, Sample, *[Skipped] * 5]
    skipped = {item.path.rsplit("/", 1)[-1]: item.reason for item in items if isinstance(item, Skipped)}
    assert "truncated" in skipped["a_short.jpg"]
    assert "not a whole PNG" in skipped["c_text.png"]
    assert "float" in skipped["e_float.tif"]
    assert "signed" in skipped["f_int.tif"]  # 0 to 255 would be black among 65536
    assert all(reason and "\n" not in reason for reason in skipped.values())
    assert str(tmp_path) in items[0].path


def test_folders_without_a_readable_image_are_refused(tmp_path):
    with pytest.raises(UserError, match="missing: no such folder"):
        read_folder(FolderOptions(root=str(tmp_path / "missing")))
    (tmp_path / "notes.txt").write_text("not an image")
    with pytest.raises(UserError, match=r"notes\.txt: no such folder"):
        read_folder(FolderOptions(root=str(tmp_path / "notes.txt")))
    with pytest.raises(UserError, match="no image file"):
        read_folder(FolderOptions(root=str(tmp_path)))
    (tmp_path / "a.png").write_text("hello")
    (tmp_path / "b.png").write_text("hello")
    with pytest.raises(UserError, match=r"not one of its 2 image files is readable; .*a\.png: not a whole PNG"):
        read(tmp_path)


def spec(channels, height=6, width=9, dtype="uint8", **more):
    return ImageSpec(channels=channels, height=height, width=width, dtype=dtype, **more)


def test_an_image_of_the_spec_is_returned_unchanged():
    image = RGB.transpose(2, 0, 1)
    assert convert_image(image, spec(3)) is image


def test_channels_are_mapped():
    image = RGBA.transpose(2, 0, 1)
    luma = np.rint(RGB.astype(float) @ [0.299, 0.587, 0.114])
    grey = convert_image(RGB.transpose(2, 0, 1), spec(1))
    assert np.abs(grey[0] - luma).max() <= 1
    assert (grey[0] == luma).mean() > 0.98
    opaque = np.concatenate([image[:3], np.full_like(image[:1], 255)])
    np.testing.assert_array_equal(convert_image(opaque, spec(3), 0.3), image[:3])
    np.testing.assert_array_equal(convert_image(opaque, spec(1), 0.3), convert_image(image[:3], spec(1)))
    np.testing.assert_array_equal(convert_image(GREY[None], spec(3)), np.stack([GREY] * 3))
    np.testing.assert_array_equal(convert_image(opaque[2:], spec(1)), image[2:3])
    np.testing.assert_array_equal(convert_image(opaque[2:], spec(3)), np.stack([image[2]] * 3))
    for wanted in (2, 4):
        with pytest.raises(UserError, match=f"3 channels cannot become one of {wanted}"):
            convert_image(image[:3], spec(wanted))
    with pytest.raises(UserError, match="not \\(C, H, W\\)"):
        convert_image(GREY, spec(1))


@pytest.mark.parametrize("background", [0.0, 0.5, 1.0])
def test_transparent_pixels_show_the_background(tmp_path, background):
    pixels = RGBA.copy()
    pixels[:3, :, 3], pixels[3:, :, 3] = 0, 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    Image.fromarray(RGBA).save(tmp_path / "b.png")
    options = FolderOptions(root=str(tmp_path), background=background)
    assert FolderOptions(root="x").background == 0
    dataset = DatasetSpec(name="folder", role="real", image=None, options=FolderOptions, read=read_folder)
    whole, part = (sample.image for sample in read_samples(dataset, options, spec(3)))
    np.testing.assert_array_equal(whole[:, 3:], RGBA.transpose(2, 0, 1)[:3, 3:])
    assert np.abs(whole[:, :3] - 255 * background).max() <= 0.5
    alpha = RGBA[..., 3] / 255
    mixed = RGBA[..., :3].transpose(2, 0, 1) * alpha + 255 * background * (1 - alpha)
    assert np.abs(part - mixed).max() <= 0.51


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16"])
def test_depth_is_scaled_by_the_maxima(dtype):
    top = {"uint8": 255, "uint16": 65535, "float16": 1}[dtype]
    expected = {"uint8": 255, "uint16": 65535, "float16": 1}
    for other, value in expected.items():
        image = np.full((1, 6, 9), value, other)
        image[0, 0] = 0
        converted = convert_image(image, spec(1, dtype=dtype))
        assert converted.dtype == np.dtype(dtype)
        assert (converted[0, 1:] == top).all()
        assert (converted[0, 0] == 0).all()
    exact = convert_image(GREY[None], spec(1, dtype="uint16"))
    np.testing.assert_array_equal(exact, GREY[None].astype(np.uint16) * 257)
    np.testing.assert_array_equal(convert_image(exact, spec(1)), GREY[None])


def test_resizing_is_antialiased_except_for_depth():
    checker = np.indices((32, 32)).sum(0) % 2
    image = (checker * 255).astype(np.uint8)[None]
    small = convert_image(image, spec(1, 8, 8))
    assert np.abs(small.astype(int) - 128)[0, 1:-1, 1:-1].max() <= 3  # antialiased: mid grey, no moire
    edge = np.zeros((1, 30, 30), np.uint16)
    edge[:, :, 13:] = 40000
    for keep in ({"invalid": 0.0}, {"background": 1.0}):
        assert set(np.unique(convert_image(edge, spec(1, 7, 11, "uint16", **keep)))) == {0, 40000}
    assert len(np.unique(convert_image(edge, spec(1, 7, 11, "uint16")))) > 2
    ramp = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (64, 1))[None]
    assert (np.diff(convert_image(ramp, spec(1, 5, 16)).astype(int)[0]) > 0).all()  # not transposed


def test_an_image_with_nan_is_refused_before_conversion():
    image = np.full((1, 4, 4), np.nan, dtype=np.float16)
    with pytest.raises(UserError, match="NaN"):
        convert_image(image, ImageSpec(channels=1, height=2, width=2))


def test_links_are_followed_but_not_in_circles(tmp_path):
    for name in ("a/1.png", "b/2.png", "b/c/3.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for link, to in (("a/other", "b"), ("b/back", "a"), ("b/c/up", "b"), ("self", ".")):
        (tmp_path / link).symlink_to(tmp_path / to, target_is_directory=True)
    assert names_below(tmp_path) == [
        "a/1.png",
        "a/other/2.png",
        "a/other/c/3.png",
        "b/2.png",
        "b/back/1.png",
        "b/c/3.png",
    ]
    assert [path.relative_to(tmp_path).as_posix() for path in image_files(tmp_path)] == [
        "a/1.png",
        "a/other/2.png",
        "a/other/c/3.png",
    ]  # each file once


def test_folders_that_all_link_to_one_another_are_listed_quickly(tmp_path):
    places = [tmp_path / "all" / f"{number:02}" for number in range(12)]
    for place in places:
        place.mkdir(parents=True)
        (place / "1.png").touch()
    for place, other in itertools.permutations(places, 2):
        (place / other.name).symlink_to(other, target_is_directory=True)
    assert len(image_files(tmp_path)) == 12
    names = names_below(tmp_path)
    assert {f"all/{place.name}/1.png" for place in places} <= set(names)
    assert 12 * 12 <= len(set(names)) == len(names) < 12 * 12 + 12


def test_a_pipe_is_skipped(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    Image.new("L", (4, 3)).save(tmp_path / "real.png")
    found = list(read_folder(FolderOptions(root=str(tmp_path))))
    assert [type(item).__name__ for item in found] == ["Skipped", "Sample"]
    assert "not a regular file" in found[0].reason


def test_16_bit_colour_is_read_exactly(tmp_path):
    pixels = RNG.integers(0, 65536, (6, 9, 3), dtype=np.uint16)
    for name in ("a.png", "a.tif"):
        cv2.imwrite(str(tmp_path / name), pixels[..., ::-1])
    for sample in read(tmp_path):
        np.testing.assert_array_equal(sample.image, pixels.transpose(2, 0, 1))


def test_the_content_decides_about_the_format_not_the_name(tmp_path):
    for name, form in (("a.jpg", "WEBP"), ("b.png", "BMP"), ("c.tif", "PPM"), ("d.webp", "PNG"), ("e.bmp", "GIF")):
        options = {"lossless": True} if form == "WEBP" else {}
        Image.fromarray(RGB if form != "GIF" else GREY).save(tmp_path / name, form, **options)
    (tmp_path / "f.jpg").write_text("hello")
    *found, text = read(tmp_path)
    for sample in found[:4]:
        np.testing.assert_array_equal(sample.image, RGB.transpose(2, 0, 1))
    np.testing.assert_array_equal(found[4].image[0], GREY)
    assert isinstance(text, Skipped)


def test_pictures_of_other_formats_are_skipped_and_sidecars_ignored(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "a.png")
    others = ["b.heic", "c.EXR", "d.psd", "e.svg", "f.dng", "g.raw", "h.jp2", "i.tga"]
    for name in (*others, "a.json", "a.txt", "labels.csv", "a.xml", "a.npy"):
        (tmp_path / name).write_bytes(b"x")
    sample, *skipped = read(tmp_path)
    assert isinstance(sample, Sample)
    assert [item.path.rsplit("/", 1)[1] for item in skipped] == others
    assert ".exr is not read" in skipped[1].reason
    (tmp_path / "a.png").unlink()
    with pytest.raises(UserError, match="no image file"):
        read_folder(FolderOptions(root=str(tmp_path)))


def test_hidden_files_and_folders_are_no_part(tmp_path):
    for name in ("a.png", "sub/b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(GREY).save(tmp_path / name)
    for name in (".ipynb_checkpoints/a-checkpoint.png", ".thumbnails/a.png", "__MACOSX/._a.png", "sub/.hidden.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(GREY).save(tmp_path / name)
    for name in ("Thumbs.db", ".DS_Store"):
        (tmp_path / name).write_bytes(b"x")
    assert names_below(tmp_path) == ["a.png", "sub/b.png"]
    assert len(read(tmp_path)) == 2


def test_names_that_are_not_utf_8_are_escaped(tmp_path):
    name = os.fsdecode(b"br\xffken.png")
    try:
        (tmp_path / name).write_bytes(b"no picture")
    except OSError:
        pytest.skip("this file system allows UTF-8 only")
    Image.fromarray(GREY).save(tmp_path / os.fsdecode(b"wh\xfele.png"))
    skipped, sample = read(tmp_path)
    assert skipped.path.endswith(r"br\udcffken.png") and isinstance(sample, Sample)
    with pytest.raises(ValidationError, match="not UTF-8"):
        FolderOptions(root=str(tmp_path / os.fsdecode(b"f\xff")))


@pytest.mark.parametrize("name", ["plain", "a.jpg_large", "a.png~", "a.bak"])
def test_pictures_under_an_unknown_suffix_are_listed(tmp_path, name):
    for form in ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP"):
        (tmp_path / form).mkdir()
        Image.fromarray(GREY).save(tmp_path / form / name, form)
    for form, start in OTHERS.items():
        (tmp_path / form).mkdir()
        (tmp_path / form / name).write_bytes(start.ljust(200, b"x"))
    for other in ("a.json", "labels.csv", "README", "a.npy"):
        (tmp_path / other).write_bytes(b"P5 3 4")
    (tmp_path / "notes.txt").write_bytes(b"BM25 scores of all documents")
    (tmp_path / "clip.mp4").write_bytes(b"\0\0\0\x18ftypisom")
    os.mkfifo(tmp_path / "pipe")
    Image.fromarray(GREY).save(tmp_path / "real.png")
    *skipped, sample = read(tmp_path)
    assert isinstance(sample, Sample) and all("is not read" in item.reason for item in skipped)
    assert len(skipped) == 6 + len(OTHERS)
    (tmp_path / "real.png").unlink()
    with pytest.raises(UserError, match=r"no image file .* but pictures that are not read: 2 HEIF under the suffix"):
        read_folder(FolderOptions(root=str(tmp_path)))


OTHERS = {
    "HEIF": b"\0\0\0\x18ftypheic",
    "AVIF": b"\0\0\0\x18ftypavif",
    "JPEG 2000": b"\0\0\0\x0cjP  \r\n",
    "JPEG XL": b"\xff\x0a",
    "EXR": b"\x76\x2f\x31\x01",
    "PSD": b"8BPS",
    "Sun raster": b"\x59\xa6\x6a\x95",
    "DICOM": bytes(128) + b"DICM",
}


def test_a_folder_of_unread_formats_is_described(tmp_path):
    for name in ("a.heic", "b.HEIC", "c.mpo"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(UserError, match=r"no image file .* but pictures that are not read: 2 \.heic, 1 \.mpo"):
        read_folder(FolderOptions(root=str(tmp_path)))


@pytest.mark.parametrize("name", ["@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found"])
def test_folders_of_systems_are_no_part(tmp_path, name):
    for place in ("a.png", f"{name}/a.png", f"sub/{name}/b.png"):
        (tmp_path / place).parent.mkdir(exist_ok=True, parents=True)
        Image.fromarray(GREY).save(tmp_path / place)
    assert names_below(tmp_path) == ["a.png"]


@pytest.mark.parametrize("name", ["0 (1).png", "0 - Copy.png", "0 - Kopie (2).png", "0 copy.png", "Copy of 0.png"])
def test_a_copy_beside_its_original_is_listed(tmp_path, name):
    Image.fromarray(GREY).save(tmp_path / "0.png")
    (tmp_path / name).write_bytes((tmp_path / "0.png").read_bytes())
    (skipped,) = (item for item in read(tmp_path) if isinstance(item, Skipped))
    assert skipped == Skipped(str(tmp_path / name), "a copy of 0.png")
    Image.fromarray(GREY ^ 1).save(tmp_path / name)  # another picture
    assert [type(item) for item in read(tmp_path)] == [Sample, Sample]
    (tmp_path / "0.png").unlink()
    assert [type(item) for item in read(tmp_path)] == [Sample]


def test_the_limit_of_pillow_does_not_count(tmp_path, monkeypatch, recwarn):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    Image.fromarray(GREY).save(tmp_path / "0.png")
    assert [type(item) for item in read(tmp_path)] == [Sample]
    assert not recwarn.list and Image.MAX_IMAGE_PIXELS == 10
