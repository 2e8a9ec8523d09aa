"""Picture files: what goes in comes out, of the same kind, and what would not survive is refused."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

import cv2
import numpy as np
import pytest
from PIL import Image, TiffImagePlugin
from PIL.PngImagePlugin import PngInfo
from scipy.ndimage import gaussian_filter

from synthreal.data.palette import with_palette
from synthreal.data.picture import Picture, read_picture

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (9, 14), np.uint8)
COLOUR = RNG.integers(0, 256, (9, 14, 4), np.uint8)
DEEP = RNG.integers(0, 65536, (9, 14, 4)).astype(np.uint16)
EXIF = Image.Exif()
EXIF[274] = 6


def saved(image, form, **options):
    target = BytesIO()
    image.save(target, form, **options)
    return target.getvalue()


FILES = {
    **{f"{form} grey": saved(Image.fromarray(GREY), form) for form in ("PNG", "TIFF", "BMP")},
    **{f"{form} RGB": saved(Image.fromarray(COLOUR[..., :3]), form) for form in ("PNG", "TIFF", "BMP")},
    **{f"{form} RGBA": saved(Image.fromarray(COLOUR), form) for form in ("PNG", "TIFF")},
    **{f"{form} grey, alpha": saved(Image.fromarray(COLOUR[..., :2]), form) for form in ("PNG", "TIFF")},
    **{f"{form} 1 bit": saved(Image.fromarray(GREY > 90), form) for form in ("PNG", "TIFF", "BMP")},
    **{
        f"{form} palette": saved(Image.fromarray(COLOUR[..., :3]).quantize(60), form) for form in ("PNG", "TIFF", "BMP")
    },
    "PNG palette, alpha": saved(Image.fromarray(GREY).quantize(16), "PNG", transparency=bytes(range(0, 160, 10))),
    **{f"{form} 16 bits": saved(Image.fromarray(DEEP[..., 0]), form) for form in ("PNG", "TIFF")},
    "TIFF 16 bits, the other way round": saved(Image.fromarray(DEEP[..., 0].astype(">u2")), "TIFF"),
    **{f"{form} 16-bit RGB": bytes(cv2.imencode(f".{form.lower()}", DEEP[..., :3])[1]) for form in ("PNG", "TIFF")},
    "PNG 16-bit RGBA": bytes(cv2.imencode(".png", DEEP)[1]),
    "TIFF compressed": saved(Image.fromarray(GREY), "TIFF", compression="tiff_lzw", dpi=(300, 300), description="eye"),
    "PNG with words": saved(
        Image.fromarray(GREY), "PNG", exif=EXIF.tobytes(), icc_profile=b"profile", dpi=(72, 72), pnginfo=PngInfo()
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_the_same_pixels_give_the_same_picture(name):
    before = read_picture(FILES[name])
    content = before.encoded(before.colour)
    after = read_picture(content)
    np.testing.assert_array_equal(after.colour, before.colour)
    assert after.colour.dtype == before.colour.dtype == (np.uint16 if "16" in name else np.uint8)
    assert (after.alpha is None) == (before.alpha is None) == ("alpha" not in name and "RGBA" not in name)
    if before.alpha is not None:
        np.testing.assert_array_equal(after.alpha, before.alpha)
    given, found = (Image.open(BytesIO(file)) for file in (FILES[name], content))
    assert (found.format, found.mode, found.size) == (given.format, given.mode, given.size)
    for key in ("icc_profile", "dpi", "compression", "exif"):
        deflated = key == "compression" and name == "TIFF 16-bit RGB"
        assert found.info.get(key) == ("tiff_adobe_deflate" if deflated else given.info.get(key)), key


@pytest.mark.parametrize("name", FILES)
def test_other_pixels_are_written_and_alpha_stays(name):
    before = read_picture(FILES[name])
    colour = before.colour[:, ::-1].copy()
    if before.mode == "1":
        colour = colour // 255 * 200  # what a refiner leaves of white
    after = read_picture(before.encoded(colour))
    expected = before.colour[:, ::-1]
    if name != "PNG palette, alpha":  # entries are shared out among the opacities
        np.testing.assert_array_equal(after.colour, expected)
    if before.alpha is not None:
        np.testing.assert_array_equal(after.alpha, before.alpha)


def test_a_jpeg_keeps_quality_sampling_and_words():
    smooth = gaussian_filter(RNG.random((40, 60, 3)), (4, 4, 0))
    pixels = (255 * (smooth - smooth.min()) / np.ptp(smooth)).astype(np.uint8)
    for options in ({"quality": 61}, {"quality": 95, "subsampling": 0, "progressive": True}):
        words = {"exif": EXIF.tobytes(), "xmp": b"<x/>", "icc_profile": b"profile"}
        given = saved(Image.fromarray(pixels), "JPEG", **words, **options)
        before = read_picture(given)
        content = before.encoded(before.colour)
        one, other = Image.open(BytesIO(given)), Image.open(BytesIO(content))
        assert other.quantization == one.quantization and other.layer == one.layer
        for key in ("progressive", "exif", "xmp", "icc_profile"):
            assert other.info.get(key) == one.info.get(key)
        assert np.abs(read_picture(content).colour.astype(int) - before.colour).mean() < 2


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["TIFF", "JPEG", "PNG"])
def test_a_rotation_is_not_applied_and_still_asked_for(form, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    options = {"tiffinfo": {274: orientation}} if form == "TIFF" else {"exif": exif.tobytes()}
    given = saved(Image.fromarray(np.repeat(np.repeat(GREY // 64 * 64, 8, 0), 8, 1)), form, **options)
    picture = read_picture(given)
    assert picture.colour.shape == (1, 72, 112)
    again = read_picture(picture.encoded(picture.colour))
    assert np.abs(again.colour.astype(int) - picture.colour).max() <= (9 if form == "JPEG" else 0)
    assert Image.open(BytesIO(picture.encoded(picture.colour))).getexif().get(274, 1) == orientation


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_deep_colour_in_a_tiff_keeps_rotation_and_words(orientation, channels, compression):
    words = TiffImagePlugin.ImageFileDirectory_v2()
    words[274], words[282], words[296], words[270], words[34675] = orientation, 300.0, 2, "eye", b"profile"
    planes = DEEP.transpose(2, 0, 1)
    alpha = planes[3] if channels == 4 else None
    options = {"tiffinfo": words, "compression": compression}
    given = Picture(planes[:3], alpha, "TIFF", "RGB" + "A" * (channels - 3), options).encoded(planes[:3])
    turned = cv2.imdecode(np.frombuffer(given, np.uint8), cv2.IMREAD_UNCHANGED)  # OpenCV rotates
    assert turned.shape == ((14, 9) if orientation > 4 else (9, 14)) + (channels,)
    before = read_picture(given)
    np.testing.assert_array_equal(before.colour, planes[:3])
    content = before.encoded(before.colour[:, ::-1])
    after = read_picture(content)
    np.testing.assert_array_equal(after.colour, planes[:3, ::-1])
    if alpha is not None:
        np.testing.assert_array_equal(after.alpha, alpha)
    found = Image.open(BytesIO(content))
    assert {tag: found.tag_v2[tag] for tag in words} == dict(words.items())
    assert found.info["compression"] == ("raw" if compression is None else "tiff_adobe_deflate")


def test_what_would_not_survive_is_refused():
    frames = [Image.fromarray(GREY), Image.fromarray(GREY)]
    for content, why in [
        (saved(frames[0], "TIFF", save_all=True, append_images=frames[1:]), "holds 2 pages"),
        (saved(Image.fromarray(GREY.astype(np.float32)), "TIFF"), "pixels are F"),
        (saved(Image.fromarray(GREY.astype(np.int32)), "TIFF"), "pixels are I"),
        (saved(Image.fromarray(COLOUR[..., :3]).convert("CMYK"), "JPEG"), "pixels are CMYK"),
        (saved(Image.fromarray(GREY), "PNG", transparency=3), "stands for transparency"),
    ]:
        with pytest.raises(ValueError, match=why):
            read_picture(content)
    with pytest.raises(OSError):
        read_picture(FILES["PNG grey"][:60])
    with pytest.raises(OSError):
        read_picture(saved(Image.fromarray(GREY), "GIF"))


def tiff(pixels, **tags):
    """A TIFF of one strip with other tags, which Pillow does not write."""
    words = TiffImagePlugin.ImageFileDirectory_v2()
    depth, channels = pixels.dtype.itemsize * 8, pixels.shape[-1]
    words[256], words[257], words[258], words[259] = pixels.shape[1], pixels.shape[0], (depth,) * channels, 1
    words[262], words[277], words[278], words[273] = 2 if channels > 1 else 1, channels, pixels.shape[0], 0
    for name, value in tags.items():
        words[{"depth": 258, "zero": 262, "extra": 338}[name]] = value
    content = pixels.tobytes()
    words[279] = len(content)
    target = BytesIO()
    words.save(target)
    return target.getvalue() + content


def test_a_tiff_that_would_come_out_as_another_is_refused():
    """Pillow, or OpenCV, decodes them all; what is written would be inverted, another depth or without a channel."""
    assert read_picture(tiff(DEEP[..., :1])).colour.dtype == np.uint16
    np.testing.assert_array_equal(read_picture(tiff(COLOUR[..., :1], zero=0)).colour[0], 255 - COLOUR[..., 0])
    for content, why in [
        (tiff(DEEP[..., :1], zero=0), "0 is white"),
        (tiff(DEEP[..., :1], depth=12), "are of 12 bits"),
        (tiff(COLOUR[..., :1], depth=4), "are of 4 bits"),
        (tiff(DEEP, extra=1), "multiplied with its alpha"),
        (tiff(COLOUR, extra=0), "channels beside colour"),
    ]:
        with pytest.raises(ValueError, match=why):
            read_picture(content)
    for pixels in (DEEP, COLOUR):
        np.testing.assert_array_equal(read_picture(tiff(pixels, extra=2)).alpha, pixels[..., 3])


def test_a_bmp_with_alpha_is_refused():
    header = struct.pack("<IiiHHIIiiII", 56, 14, -9, 1, 32, 3, COLOUR.nbytes, 0, 0, 0, 0)
    header += struct.pack("<IIII", 255, 255 << 8, 255 << 16, 255 << 24)
    content = b"BM" + struct.pack("<IHHI", 70 + COLOUR.nbytes, 0, 0, 70) + header + COLOUR.tobytes()
    with pytest.raises(ValueError, match="BMP with alpha; save it as PNG"):
        read_picture(content)


def test_more_colours_than_entries_become_near_ones_and_opacity_stays():
    levels = np.linspace(0, 255, 60)
    colour = np.stack(np.broadcast_arrays(levels[:, None], levels[None], 100.0), axis=-1).astype(np.uint8)
    for alpha in (None, RNG.choice(np.array([0, 128, 255], np.uint8), (60, 60))):
        image, opacity = with_palette(colour, alpha)
        found = np.asarray(image.convert("RGB")).astype(int)
        assert np.abs(found - colour).mean() < 6
        if alpha is not None:
            np.testing.assert_array_equal(np.frombuffer(opacity, np.uint8)[np.asarray(image)], alpha)


def test_the_smooth_edge_of_a_cut_out_does_not_take_the_entries_of_its_inside():
    levels = np.linspace(0, 255, 60)
    colour = np.stack(np.broadcast_arrays(levels[:, None], levels[None], 100.0), axis=-1).astype(np.uint8)
    alpha = np.full((60, 60), 255, np.uint8)
    alpha[0] = np.arange(60)
    image, opacity = with_palette(colour, alpha)
    assert np.abs(np.asarray(image.convert("RGB")).astype(int) - colour)[1:].mean() < 6
    np.testing.assert_array_equal(np.frombuffer(opacity, np.uint8)[np.asarray(image)], alpha)
    image, opacity = with_palette(colour[:16, :16], np.arange(256, dtype=np.uint8).reshape(16, 16))
    np.testing.assert_array_equal(np.asarray(image.convert("RGB")), colour[:16, :16])


def test_few_enough_colours_stay_exactly_however_opacity_is_spread():
    colour = np.zeros((60, 60, 3), np.uint8)
    alpha = np.full((60, 60), 255, np.uint8)
    colour[0, :, 0], colour[1, :, 1] = np.arange(60), np.arange(60)
    alpha[:2] = 0
    colour[5:7, :, 2] = 100 + np.arange(120).reshape(2, 60)
    image, opacity = with_palette(colour, alpha)
    np.testing.assert_array_equal(np.asarray(image.convert("RGB")), colour)
    np.testing.assert_array_equal(np.frombuffer(opacity, np.uint8)[np.asarray(image)], alpha)


@pytest.mark.parametrize("colour", [False, True])
def test_of_a_phone_s_jpeg_the_first_picture_is_taken_and_becomes_an_ordinary_one(colour):
    large = Image.fromarray(np.repeat(np.repeat(COLOUR[..., :3] if colour else GREY, 8, 0), 8, 1))
    words = {"exif": EXIF.tobytes(), "icc_profile": b"profile", "xmp": b"<x/>"}
    behind = [large.resize((20, 10)), large.resize((7, 9))]
    given = saved(large, "MPO", save_all=True, append_images=behind, quality=90, subsampling=0, **words)
    one = Image.open(BytesIO(given))
    assert (one.format, one.n_frames) == ("MPO", 3)
    before = read_picture(given)
    assert before.colour.shape == (3 if colour else 1, 72, 112)
    content = before.encoded(before.colour)
    other = Image.open(BytesIO(content))
    assert (other.format, other.mode, other.size) == ("JPEG", one.mode, one.size)
    assert content.count(b"\xff\xd8\xff") == 1 and b"MPF\0" not in content
    assert other.quantization == one.quantization and other.layer == one.layer
    for key in words:
        assert other.info[key] == one.info[key]
    assert np.abs(read_picture(content).colour.astype(int) - before.colour).mean() < 3


def test_a_damaged_word_behind_the_pixels_of_a_png_does_not_spoil_what_is_written():
    """Pillow reads the file; before the pixels the same bytes would make it refuse the whole."""
    given, end = FILES["PNG grey"][:-12], FILES["PNG grey"][-12:]
    body = b"tEXt" + b"key\0value"
    good = struct.pack(">I", 9) + body + struct.pack(">I", zlib.crc32(body))
    content = read_picture(given + good[:-4] + b"????" + good + end)
    found = Image.open(BytesIO(content.encoded(content.colour)))
    found.load()
    assert found.text == {"key": "value"}


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
@pytest.mark.parametrize(
    "pixels", [GREY, DEEP[..., 0], COLOUR[..., :3], DEEP[..., :3]], ids=["8", "16", "8 RGB", "16 RGB"]
)
def test_the_words_of_a_tiff_are_kept_to_the_byte(compression, pixels):
    words = TiffImagePlugin.ImageFileDirectory_v2()
    words[270], words[315], words[33432] = "0.5 µm".encode(), "Ä".encode("latin-1"), b"me"
    for tag, kind in ((700, 1), (33723, 7), (34377, 1)):
        words[tag], words.tagtype[tag] = b"<x/>\0\xc3", kind
    planes = pixels.reshape(*pixels.shape[:2], -1).transpose(2, 0, 1)
    options = {"tiffinfo": words, "compression": compression}
    mode = "RGB" if len(planes) == 3 else "L" if pixels.dtype == np.uint8 else "I;16"
    given = Picture(planes, None, "TIFF", mode, options).encoded(planes)
    before = read_picture(given)
    one, other = (Image.open(BytesIO(file)).tag_v2 for file in (given, before.encoded(before.colour)))
    assert one[270].encode("latin-1") == "0.5 µm".encode()
    for tag in words:
        assert (other[tag], other.tagtype[tag]) == (one[tag], one.tagtype[tag])


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
@pytest.mark.parametrize("tag, kind", [(33723, 4), (33723, 1), (33723, 2), (700, 7), (34377, 7), (34377, 2)])
def test_words_of_a_tiff_in_other_types_are_kept_too(compression, tag, kind):
    """Many programs write IPTC as 32-bit numbers."""
    content = b"\x1c\x02\x05\0"
    words = TiffImagePlugin.ImageFileDirectory_v2()
    words[tag] = struct.unpack("<L", content) if kind == 4 else content.decode("latin-1") if kind == 2 else content
    words.tagtype[tag] = kind
    file = BytesIO()
    Image.fromarray(GREY).save(file, "TIFF", tiffinfo=words)
    before = read_picture(file.getvalue())
    before.options["compression"] = compression
    found = Image.open(BytesIO(before.encoded(before.colour))).tag_v2
    assert found[tag].rstrip(b"\0") == content.rstrip(b"\0")
    assert found.tagtype[tag] == (7 if tag == 33723 else 1)
