"""Image files: the same format, size, pixels and metadata come back; files that would come out wrong are refused."""

from __future__ import annotations

import resource
import struct
import zlib
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from image_files import chunk, png_file, saved, tiff_file
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from scipy.ndimage import gaussian_filter

from synthreal.errors import one_line
from synthreal.images.picture import Picture, any_size, picture_size, read_info, read_picture, read_pixels

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (9, 14), np.uint8)
COLOUR = RNG.integers(0, 256, (9, 14, 4), np.uint8)
COLOUR[2:4, 3:7, 3] = 0
DEEP = RNG.integers(0, 65536, (9, 14, 4)).astype(np.uint16)
EXIF = Image.Exif()
EXIF[274] = 6
TEXT = PngInfo()
TEXT.add_text("key", "value")
TEXT.add_itxt("subject", "0.5 µm")


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
    "TIFF 16 bits, big-endian": saved(Image.fromarray(DEEP[..., 0].astype(">u2")), "TIFF"),
    **{f"{form} 16-bit RGB": bytes(cv2.imencode(f".{form.lower()}", DEEP[..., :3])[1]) for form in ("PNG", "TIFF")},
    "PNG 16-bit RGBA": bytes(cv2.imencode(".png", DEEP)[1]),
    "TIFF compressed": saved(Image.fromarray(GREY), "TIFF", compression="tiff_lzw", dpi=(300, 300), description="eye"),
    "WEBP RGB": saved(Image.fromarray(COLOUR[..., :3]), "WEBP", lossless=True, exif=EXIF.tobytes(), xmp=b"<x/>"),
    "WEBP RGBA": saved(Image.fromarray(COLOUR), "WEBP", lossless=True, exact=True, icc_profile=b"profile"),
    "JPEG grey": saved(Image.fromarray(GREY), "JPEG"),
    "GIF grey": saved(Image.fromarray(GREY), "GIF"),
    "PPM grey": saved(Image.fromarray(GREY), "PPM"),
    "PPM RGB": saved(Image.fromarray(COLOUR[..., :3]), "PPM"),
    "PPM 1 bit": saved(Image.fromarray(GREY > 90), "PPM"),
    "PPM 16 bits": b"P5\n14 9\n65535\n" + DEEP[..., 0].astype(">u2").tobytes(),
    "PNG with metadata": saved(
        Image.fromarray(GREY), "PNG", exif=EXIF.tobytes(), icc_profile=b"profile", dpi=(72, 72), pnginfo=TEXT
    ),
}


@contextmanager
def memory_limit(more=1 << 28):
    """At most 256 MiB of address space more than now."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + more, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def opened(content):
    return Image.open(BytesIO(content))


@pytest.mark.parametrize("name", [name for name in FILES if name[:3] not in ("JPE", "GIF")])
def test_a_file_comes_back_with_the_same_or_other_pixels(name):
    before = read_picture(FILES[name])
    assert before.colour.dtype == (np.uint16 if "16" in name else np.uint8)
    assert (before.alpha is None) == ("alpha" not in name and "RGBA" not in name)
    for colour in (before.colour, before.colour[:, ::-1]):
        content = before.encoded(colour // 255 * 200 if before.bilevel else colour)  # a refiner dims white
        after = read_picture(content)
        np.testing.assert_array_equal(after.colour, colour)
        np.testing.assert_array_equal(after.alpha, before.alpha)
        given, found = opened(FILES[name]), opened(content)
        assert (found.format, found.size) == (given.format, given.size)
        assert found.mode == given.mode or given.mode in ("P", "I;16B")
        assert FILES[name][:2] in (content[:2], b"MM")
        keys = {"icc_profile", "xmp", "dpi", "exif", "key", "subject"}
        keys |= set() if "16-bit" in name else {"compression"}
        assert {key: found.info.get(key) for key in keys} == {key: given.info.get(key) for key in keys}


def test_a_jpeg_keeps_quality_subsampling_and_metadata():
    smooth = gaussian_filter(RNG.random((40, 60, 3)), (4, 4, 0))
    pixels = (255 * (smooth - smooth.min()) / np.ptp(smooth)).astype(np.uint8)
    for options in ({"quality": 61}, {"quality": 95, "subsampling": 0, "progressive": True}):
        metadata = {"exif": EXIF.tobytes(), "xmp": b"<x/>", "icc_profile": b"profile"}
        given = saved(Image.fromarray(pixels), "JPEG", **metadata, **options)
        before = read_picture(given)
        content = before.encoded(before.colour)
        one, other = opened(given), opened(content)
        assert other.quantization == one.quantization and other.layer == one.layer
        for key in ("progressive", *metadata):
            assert other.info.get(key) == one.info.get(key)
        assert np.abs(read_picture(content).colour.astype(int) - before.colour).mean() < 2


@pytest.mark.parametrize("form", ["TIFF", "JPEG", "PNG"])
def test_an_orientation_is_preserved_and_not_applied(form):
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[274] = orientation
        options = {"tiffinfo": {274: orientation}} if form == "TIFF" else {"exif": exif.tobytes()}
        pixels = np.repeat(np.repeat(GREY // 64 * 64, 8, 0), 8, 1)
        picture = read_picture(saved(Image.fromarray(pixels), form, **options))
        content = picture.encoded(picture.colour)
        for found in (picture, read_picture(content)):
            assert np.abs(found.colour[0].astype(int) - pixels).max() <= (9 if form == "JPEG" else 0)
        assert opened(content).getexif().get(274, 1) == orientation


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_16_bit_colour_in_a_tiff_keeps_orientation_and_metadata(channels, compression):
    planes = DEEP.transpose(2, 0, 1)
    alpha = planes[3] if channels == 4 else None
    for orientation in range(1, 9):
        tags = {274: orientation, 282: 300.0, 296: 2, 270: "eye", 34675: b"profile"}
        options = {"tiffinfo": tags, "compression": compression}
        given = Picture(planes[:3], alpha, "TIFF", options=options).encoded(planes[:3])
        turned = cv2.imdecode(np.frombuffer(given, np.uint8), cv2.IMREAD_UNCHANGED)  # OpenCV rotates
        assert turned.shape == ((14, 9) if orientation > 4 else (9, 14)) + (channels,)
        before = read_picture(given)
        np.testing.assert_array_equal(before.colour, planes[:3])
        content = before.encoded(before.colour[:, ::-1])
        after = read_picture(content)
        np.testing.assert_array_equal(after.colour, planes[:3, ::-1])
        np.testing.assert_array_equal(after.alpha, alpha)
        found = opened(content)
        assert {tag: found.tag_v2[tag] for tag in tags} == tags
        assert found.info["compression"] == ("raw" if compression is None else "tiff_adobe_deflate")


@pytest.mark.parametrize("pixels", [GREY, DEEP[..., :3]], ids=["8-bit grey", "16-bit RGB"])
def test_the_metadata_of_a_tiff_is_preserved_to_the_byte(pixels):
    tags = {270: "0.5 µm".encode(), 315: "Ä".encode("latin-1"), 33432: b"me", 700: b"<x/>\0\xc3", 34675: b"profile"}
    planes = pixels.reshape(*pixels.shape[:2], -1).transpose(2, 0, 1)
    for compression in (None, "tiff_lzw"):
        given = Picture(planes, None, "TIFF", options={"tiffinfo": tags, "compression": compression}).encoded(planes)
        before = read_picture(given)
        one, other = (opened(content).tag_v2 for content in (given, before.encoded(before.colour)))
        assert one[270].encode("latin-1") == "0.5 µm".encode() and one[700] == b"<x/>\0\xc3"
        assert {tag: other[tag] for tag in tags} == {tag: one[tag] for tag in tags}


def bmp_with_alpha(pixels=COLOUR):
    header = struct.pack("<IiiHHIIiiII", 56, 14, -9, 1, 32, 3, pixels.nbytes, 0, 0, 0, 0)
    header += struct.pack("<IIII", 255, 255 << 8, 255 << 16, 255 << 24)
    return b"BM" + struct.pack("<IHHI", 70 + pixels.nbytes, 0, 0, 70) + header + pixels.tobytes()


def test_files_that_would_come_out_wrong_are_refused():
    """Pillow or OpenCV decodes them all; written back they would be inverted, darker or without a channel or page."""
    grey = Image.fromarray(GREY)
    for content, why in [
        (saved(grey, "TIFF", save_all=True, append_images=[grey]), "several pages"),
        (saved(Image.fromarray(GREY.astype(np.float32)), "TIFF"), "float or signed"),
        (saved(Image.fromarray(GREY.astype(np.int32)), "TIFF"), "float or signed"),
        (saved(Image.fromarray(COLOUR[..., :3]).convert("CMYK"), "JPEG"), "pixels are CMYK"),
        (saved(grey, "PNG", transparency=3), "stands for transparency"),
        (tiff_file(DEEP[..., :1] >> 4, 12), "have 12 bits"),
        (tiff_file(DEEP, 16, 2, t338=(1,)), "multiplied with its alpha"),
        (tiff_file(COLOUR, 8, 2, t338=(0,)), "channels beside colour"),
        (bmp_with_alpha(), "BMP with alpha; save it as PNG"),
    ]:
        with pytest.raises(ValueError, match=why):
            read_picture(content)
    with pytest.raises(OSError):
        read_picture(FILES["PNG grey"][:60])
    with pytest.raises(ValueError, match="256 colours"):
        read_picture(saved(grey, "GIF"))


def test_alpha_of_a_bmp_that_is_0_everywhere_is_none():
    picture = read_picture(bmp_with_alpha(COLOUR * np.uint8([1, 1, 1, 0])))
    assert picture.alpha is None
    np.testing.assert_array_equal(picture.colour, COLOUR[..., :3].transpose(2, 0, 1))
    np.testing.assert_array_equal(read_pixels(picture.encoded(picture.colour)), picture.colour)


def test_comments_of_a_pgm_may_be_long():
    content = b"P5\n#" + b"c" * 2000 + b"\n14 9 # width\n255\n" + GREY.tobytes()
    np.testing.assert_array_equal(read_picture(content).colour[0], GREY)


def test_damaged_16_bit_colour_does_not_make_opencv_write_messages(capfd):
    content = FILES["PNG 16-bit RGB"]
    start = content.index(b"IDAT") - 4
    (length,) = struct.unpack_from(">I", content, start)
    body = bytearray(content[start + 8 : start + 8 + length])
    body[16] ^= 255
    with pytest.raises(ValueError, match="OpenCV does not read"):
        read_pixels(content[:start] + chunk(b"IDAT", bytes(body)) + content[start + 12 + length :])
    assert "ERROR" not in capfd.readouterr().err


def test_pixels_of_a_png_with_a_wrong_checksum_are_refused():
    """Pillow decodes some of them to other values."""
    pixels = np.add.outer(3 * np.arange(60), np.arange(70)).astype(np.uint8)
    whole = saved(Image.fromarray(pixels), "PNG")
    for place in range(whole.index(b"IDAT") + 4, whole.index(b"IEND") - 4):
        content = bytearray(whole)
        content[place] ^= 16
        for read in (read_pixels, read_picture):
            with pytest.raises(ValueError, match="checksum of its pixels"):
                read(bytes(content))


def test_unusual_tiffs_that_are_read_correctly():
    assert read_picture(tiff_file(DEEP[..., :1], 16)).colour.dtype == np.uint16
    np.testing.assert_array_equal(read_picture(tiff_file(COLOUR[..., :1], 8, 0)).colour[0], 255 - COLOUR[..., 0])
    halves = np.stack([GREY >> 4, GREY & 15], -1).reshape(9, 28)
    np.testing.assert_array_equal(read_picture(tiff_file(halves[..., None], 4)).colour[0], halves * 17)
    for pixels, bits in ((DEEP, 16), (COLOUR, 8)):
        content = tiff_file(pixels, bits, 2, t338=(2,))
        np.testing.assert_array_equal(read_picture(content).alpha, pixels[..., 3])


@pytest.mark.parametrize("colour", [False, True])
def test_a_phone_jpeg_becomes_a_plain_jpeg_of_its_first_image(colour):
    large = Image.fromarray(np.repeat(np.repeat(COLOUR[..., :3] if colour else GREY, 8, 0), 8, 1))
    metadata = {"exif": EXIF.tobytes(), "icc_profile": b"profile", "xmp": b"<x/>"}
    others = [large.resize((20, 10)), large.resize((7, 9))]
    given = saved(large, "MPO", save_all=True, append_images=others, quality=90, subsampling=0, **metadata)
    one = opened(given)
    assert (one.format, one.n_frames) == ("MPO", 3)
    before = read_picture(given)
    assert before.colour.shape == (3 if colour else 1, 72, 112)
    content = before.encoded(before.colour)
    other = opened(content)
    assert (other.format, other.mode, other.size) == ("JPEG", one.mode, one.size)
    assert content.count(b"\xff\xd8\xff") == 1 and b"MPF\0" not in content
    assert other.quantization == one.quantization and other.layer == one.layer
    assert all(other.info[key] == one.info[key] for key in metadata)
    assert np.abs(read_picture(content).colour.astype(int) - before.colour).mean() < 3


def segment(marker, body):
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


PLAIN = {form: saved(Image.fromarray(GREY), form) for form in ("PNG", "JPEG", "TIFF")}
HUGE = zlib.compress(bytes(3 << 20))
EXTENDED = b"http://ns.adobe.com/xmp/extension/\0"


@pytest.mark.parametrize(
    ("form", "metadata"),
    [
        ("PNG", chunk(b"iCCP", b"icc\0\0" + HUGE)),
        ("PNG", chunk(b"zTXt", b"Metadata\0\0" + HUGE)),
        ("PNG", chunk(b"zTXt", b"Metadata\0\0not deflate")),
        ("PNG", chunk(b"iTXt", b"key\0\1\0\0\0" + HUGE)),
        ("PNG", chunk(b"iCCP", b"icc\0\0not deflate")),
        ("PNG", chunk(b"eXIf", b"garbage")),
        ("JPEG", segment(0xE1, b"Exif\0\0garbage that is not EXIF")),
        ("JPEG", segment(0xE1, b"Exif\0\0MM\0*\xff\xff\xff\xff")),
        ("JPEG", segment(0xE2, b"ICC_PROFILE\0\7\3garbage")),
        ("JPEG", b"".join(segment(0xE1, EXTENDED + bytes(60000)) for _ in range(40))),
        ("JPEG", segment(0xED, b"Photoshop 3.0\0garbage") + segment(0xFE, b"\xff\xfe")),
    ],
    ids=lambda value: value[:30] if isinstance(value, bytes) else value,
)
def test_pictures_with_damaged_or_giant_metadata_are_read(form, metadata):
    start = 33 if form == "PNG" else 20
    content = PLAIN[form][:start] + metadata + PLAIN[form][start:]
    picture = read_picture(content)
    np.testing.assert_array_equal(picture.colour, read_picture(PLAIN[form]).colour)
    again = picture.encoded(picture.colour)
    assert metadata in again
    np.testing.assert_array_equal(read_picture(again).colour.shape, picture.colour.shape)


@pytest.mark.parametrize("compression", [1, 8])
@pytest.mark.parametrize("kind", [1, 2, 3, 4, 5, 7, 13, 99])
def test_a_tiff_with_damaged_tags_is_read(kind, compression):
    for number in (270, 274, 282, 296, 700, 33723, 34377, 34665, 34675, 34853, 37500, 42113):
        whole = tiff_file(GREY[..., None], compression=compression, **{f"t{number}": (60000, 60001, 60002)})
        entry = whole.index(struct.pack("<HHI", number, 3, 3))
        (place,) = struct.unpack_from("<I", whole, entry + 8)
        blank = whole.index(bytes(8))
        for count, value in ((1, blank), (3, place), (1, 0xFFFFFFFF), (0, 0), (0xFFFFFFF, 8), (5, 0xFFFFFF)):
            content = whole[: entry + 2] + struct.pack("<HII", kind, count, value) + whole[entry + 12 :]
            picture = read_picture(content)
            np.testing.assert_array_equal(picture.colour[0], GREY)
            np.testing.assert_array_equal(read_pixels(picture.encoded(picture.colour))[0], GREY)


def test_a_damaged_metadata_chunk_is_left_out():
    """Pillow ignores it after the pixels; before the pixels it would refuse the whole file."""
    given, end = FILES["PNG grey"][:-12], FILES["PNG grey"][-12:]
    good = chunk(b"tEXt", b"key\0value")
    picture = read_picture(given + good[:-4] + b"????" + good + end)
    found = opened(picture.encoded(picture.colour))
    found.load()
    assert found.text == {"key": "value"}


@pytest.mark.parametrize(
    "content",
    [
        png_file(GREY[..., None], size=(65535, 65535)),
        png_file(DEEP, 16, 6, size=(60000, 60000)),
        tiff_file(GREY[..., None], t256=(65535,), t257=(65535,)),
        tiff_file(GREY[..., None], t256=(65535,), t257=(65535,), t278=(65535,), compression=8),
        tiff_file(DEEP[..., :3], 16, 2, t256=(65535,), t257=(65535,)),
        tiff_file(GREY[..., None], t322=(65520,), t323=(65520,), tile=16),
        b"P5 65535 65535 255\n" + bytes(900),
        b"P1 65535 65535\n" + bytes(900),
        FILES["JPEG grey"].replace(struct.pack(">HH", 9, 14), struct.pack(">HH", 65500, 65500)),
        FILES["BMP grey"].replace(struct.pack("<ii", 14, 9), struct.pack("<ii", 65535, 65535)),
        FILES["GIF grey"].replace(struct.pack("<HH", 14, 9), struct.pack("<HH", 65535, 65535)),
    ],
    ids=lambda content: repr(content[:4]),
)
def test_a_header_that_promises_more_than_the_file_holds_is_refused(content):
    with any_size(), memory_limit():
        for read in (read_pixels, read_picture, picture_size):
            with pytest.raises(ValueError, match=r"cannot hold|are there"):
                read(content)


def test_large_blank_pictures_are_plausible():
    blank = Image.new("L", (9000, 9000))
    assert read_pixels(saved(blank, "PNG")).shape == (1, 9000, 9000)
    page = read_pixels(saved(Image.new("1", (5000, 7000), 1), "TIFF", compression="group4"))
    assert page.shape == (1, 7000, 5000) and page.min() == 255
    size = {"t256": (9000,), "t257": (9000,), "t278": (9000,)}
    webp = saved(Image.fromarray(COLOUR[..., :3]), "WEBP", lossless=True)
    at = webp.index(b"VP8L") + 9
    for content in (
        png_file(GREY[..., None], 8, 3, chunk(b"PLTE", bytes(768)), size=(6000, 6000)),
        png_file(GREY[..., None] * 0, 1, 3, chunk(b"PLTE", bytes(6)), chunk(b"IDAT", bytes(9999)), size=(9000, 9900)),
        FILES["GIF grey"].replace(struct.pack("<HH", 14, 9), struct.pack("<HH", 6000, 4000)),
        webp[:at] + struct.pack("<I", 8999 | 8999 << 14) + webp[at + 4 :],
        *(tiff_file(COLOUR[..., :3], 8, 2, compression=compression, **size) for compression in (34925, 50000)),
    ):
        assert min(picture_size(content)) >= 4000
    with any_size(), pytest.raises(ValueError, match="may not hold") as caught:
        picture_size(tiff_file(COLOUR[..., :3], 8, 2, compression=50000, **{name: (20000,) for name in size}))
    assert "damaged" not in str(caught.value)


def test_a_chunk_that_asks_for_gigabytes_is_refused():
    content = bytearray(FILES["PNG 16-bit RGBA"])
    content[33:37] = b"\xfb\x00\x16\xa0"
    with memory_limit(), pytest.raises(OSError):
        read_pixels(bytes(content))


def test_animations_and_pages_are_refused_without_a_walk_through_all():
    frames = [Image.fromarray(np.roll(GREY, place)) for place in range(4)]
    for form in ("GIF", "WEBP", "PNG", "TIFF"):
        content = saved(frames[0], form, save_all=True, append_images=frames[1:])
        for read in (read_pixels, read_picture):
            with pytest.raises(ValueError, match=r"animation|pages"):
                read(content)
    page = FILES["TIFF grey"]
    following = page[4:8]
    ring = bytearray(page)
    (start,) = struct.unpack("<I", following)
    (count,) = struct.unpack_from("<H", page, start)
    end = start + 2 + 12 * count
    ring[end : end + 4] = following  # the next page is the first
    np.testing.assert_array_equal(read_pixels(bytes(ring))[0], GREY)


def test_the_content_decides_about_the_format_and_text_is_no_picture():
    starts = (b"II*\0", b"MM\0*\0\0\0\x08", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")
    for content in (b"hello", b"", b"P7 5 5", b"<svg/>", *starts):
        with pytest.raises((OSError, ValueError)) as caught:
            read_pixels(content)
        assert one_line(caught.value)


def test_colours_under_transparent_pixels_are_black_to_the_network():
    picture = read_picture(FILES["PNG RGBA"])
    alpha = COLOUR[..., 3]
    assert (alpha == 0).any()
    np.testing.assert_array_equal(picture.visible, np.where(alpha > 0, picture.colour, 0))
    assert picture.visible.dtype == np.uint8


def test_of_several_pictures_the_first_is_read_on_demand():
    frames = [Image.fromarray(np.roll(GREY, place)) for place in range(4)]
    files = [saved(frames[0], form, save_all=True, append_images=frames[1:]) for form in ("GIF", "PNG", "TIFF")]
    files.append(2 * saved(frames[0], "PPM"))
    for content in files:
        pixels, info = read_pixels(content, first=True), read_info(content)
        np.testing.assert_array_equal(pixels, np.broadcast_to(GREY, pixels.shape))
        assert (info.height, info.width, info.is_grey, info.is_16_bit) == (9, 14, len(pixels) == 1, False)
        assert info.has_further_pictures
    colours = [Image.fromarray(np.roll(COLOUR[..., :3], place)) for place in range(3)]
    content = saved(colours[0], "WEBP", save_all=True, append_images=colours[1:], lossless=True)
    np.testing.assert_array_equal(read_pixels(content, first=True), COLOUR[..., :3].transpose(2, 0, 1))
    assert read_info(content).has_further_pictures and not read_info(content).is_grey
    with pytest.raises(ValueError, match="several pages"):  # a stack in one page: which is first is not certain
        read_pixels(tiff_file(GREY[..., None], text=b"ImageJ=1.53t\nimages=3\n"), first=True)


@pytest.mark.parametrize("name", FILES)
def test_the_info_says_what_the_pixels_will_be(name):
    info, pixels = read_info(FILES[name]), read_pixels(FILES[name])
    assert (info.height, info.width) == pixels.shape[1:]
    assert (info.is_grey, info.is_16_bit) == (len(pixels) < 3, pixels.dtype == np.uint16)
    assert not info.has_further_pictures
