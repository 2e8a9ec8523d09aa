"""Every bit depth and kind of colour of TIFF, PNG, JPEG and PNM has the right values, or is refused with a reason."""

from __future__ import annotations

import itertools
import struct

import numpy as np
import pytest
from image_files import chunk, png_file, saved, tiff_file
from PIL import Image

from synthreal.images.picture import read_picture, read_pixels

RNG = np.random.default_rng(0)
SMOOTH = Image.fromarray(RNG.integers(0, 256, (6, 6, 3), np.uint8)).resize((48, 32), Image.Resampling.BICUBIC)


def samples(bits, channels):
    return RNG.integers(0, 1 << bits, (11, 13, channels))


def scaled(values, bits):
    """Samples ``(H, W, C)`` as ``(C, H, W)`` at the whole depth of 8 or 16 bits."""
    dtype = np.uint8 if bits <= 8 else np.uint16
    return np.rint(values * (np.iinfo(dtype).max / ((1 << bits) - 1))).astype(dtype).transpose(2, 0, 1)


LAYOUTS = [
    {},
    {"big": True},
    {"planes": True},
    {"compression": 8},
    {"compression": 8, "predictor": 2},
    {"compression": 32773, "rows": 3},
    {"fill": 2},
    {"fill": 2, "compression": 8},
    {"tile": 16},
    {"tile": 16, "compression": 8, "planes": True},
    {"tile": 16, "compression": 8, "predictor": 2},
]
# (PhotometricInterpretation, channels): further tags
KINDS = {(0, 1): {}, (1, 1): {}, (2, 3): {}, (2, 4): {"t338": (2,)}, (1, 2): {"t338": (2,)}, (3, 1): {}, (5, 4): {}}
# what must be read, because it is common
COMMON = {(1, 0, 1), (1, 1, 1), (2, 1, 1), (4, 1, 1), (8, 0, 1), (8, 1, 1), (8, 1, 2), (8, 2, 3), (8, 2, 4), (8, 3, 1)}
COMMON |= {(8, 5, 4), (16, 1, 1), (16, 2, 3), (16, 2, 4), (4, 3, 1)}


@pytest.mark.parametrize("bits", [1, 2, 4, 6, 8, 10, 12, 14, 16, 24, 32])
def test_tiff_samples_are_right_or_refused(bits):
    read = set()
    for ((meaning, channels), tags), layout, order in itertools.product(KINDS.items(), LAYOUTS, "<>"):
        if (layout.get("predictor") and bits not in (8, 16)) or (meaning == 3 and bits > 8):
            continue
        values = samples(bits, channels)
        expected = scaled(values, bits)
        if meaning == 0:
            expected = np.iinfo(expected.dtype).max - expected
        elif meaning == 3:
            palette = RNG.integers(0, 256, (3, 1 << bits))
            tags = {"t320": tuple((palette * 257).flatten())}
            expected = palette[:, values[..., 0]].astype(np.uint8)
        elif meaning == 5:
            ink = values / ((1 << bits) - 1)
            expected = (255 * (1 - ink[..., :3]) * (1 - ink[..., 3:])).transpose(2, 0, 1)
        content = tiff_file(values, bits, meaning, order=order, **layout, **tags)
        try:
            found = read_pixels(content)
        except (ValueError, OSError):
            assert layout or (bits, meaning, channels) not in COMMON
            continue
        read.add((bits, meaning, channels))
        assert found.shape == expected.shape, (meaning, layout, order)
        assert np.abs(found.astype(float) - expected).max() <= (2 if meaning == 5 else 0), (meaning, layout, order)
        assert found.dtype == (np.uint8 if meaning == 5 else expected.dtype)
    assert read >= {kind for kind in COMMON if kind[0] == bits}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (tiff_file(samples(8, 1), 8, 4), "kind 4"),  # mask
        (tiff_file(samples(8, 3), 8, 8), "kind 8"),  # CIELab
        (tiff_file(samples(8, 3), 8, 6), "kind 6"),  # YCbCr without JPEG
        (tiff_file(samples(8, 1), 8, 32803), "kind 32803"),  # of a sensor
        (tiff_file(samples(8, 3), 8, 6, compression=6), "compression 6"),  # old JPEG
        (tiff_file(samples(8, 1), t339=(2,)), "float or signed"),
        (tiff_file(samples(16, 1), 16, t339=(2,)), "float or signed"),
        (tiff_file(samples(32, 1), 32, t339=(3,)), "float or signed"),
        (tiff_file(samples(12, 1), 16, t281=(4095,)), "white is 4095"),
        (tiff_file(samples(10, 3), 16, 2, t281=(1023,) * 3), "white is 1023"),
        (tiff_file(samples(8, 1) * 15, 16, t341=(4000,)), "white is 4000"),
        (tiff_file(samples(12, 1), 16, 0, t281=(65535,), t341=(4095,)), "white is 4095"),
        (tiff_file(samples(4, 1), 8, t281=(15,)), "white is 15"),
        (tiff_file(samples(8, 1), 32), "have 32 bits"),
        (tiff_file(samples(8, 1), 8, 3, t320=tuple(range(256)) * 3), "palette have 8 bits"),
        (tiff_file(samples(8, 4), 8, 2), "channels beside colour"),
        (tiff_file(samples(16, 4), 16, 2, t338=(0,)), "channels beside colour"),
        (tiff_file(samples(8, 2), 8, 1, t338=(0,)), "channels beside colour"),
        (tiff_file(samples(8, 1), 8, None), "PhotometricInterpretation"),
        (tiff_file(samples(8, 1), rows=6, t257=(20,)), "2 of its 4 strips"),
        (tiff_file(samples(8, 3), 8, 2, planes=True, compression=8, rows=6, t257=(13,)), "6 of its 9 strips"),
        (tiff_file(samples(8, 1), tile=16, t256=(17,)), "1 of its 2 strips"),
        (tiff_file(samples(8, 1), t279=(100,)), "100 of the 143 bytes"),
        (tiff_file(samples(8, 1), t32997=(3,)), "several pages"),
        (tiff_file(samples(8, 1), text=b"ImageJ=1.53t\nimages=3\nslices=3\n"), "several pages"),
        (tiff_file(samples(8, 1), t254=(1,)), "preview"),
        (tiff_file(samples(16, 4), 16, 2, t338=(1,)), "multiplied with its alpha"),
        (tiff_file(samples(16, 3), 16, 2, planes=True), "planes of their own"),
        (tiff_file(samples(8, 4), 8, 2, planes=True, t338=(1,)), "planes of their own"),
        (tiff_file(samples(8, 1), fill=2, compression=8), "FillOrder"),
        (tiff_file(samples(8, 1), big=True, order=">"), "big-endian BigTIFF"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_tiffs_without_certain_values_are_refused(content, reason):
    for read in (read_pixels, read_picture):
        with pytest.raises(ValueError, match=reason):
            read(content)


def test_a_statistical_maximum_does_not_matter():
    for values, bits, top in ((samples(8, 1), 8, 127), (samples(8, 1) // 2, 8, 128), (samples(16, 1), 16, 4095)):
        np.testing.assert_array_equal(read_pixels(tiff_file(values, bits, t281=(top,))), scaled(values, bits))
    values = np.zeros((11, 13, 1), int)
    np.testing.assert_array_equal(read_pixels(tiff_file(values, 16, t281=(4095,))), scaled(values, 16))


def test_one_picture_of_imagej():
    values = samples(8, 1)
    content = tiff_file(values, text=b"ImageJ=1.53t\nimages=1\n")
    np.testing.assert_array_equal(read_pixels(content), scaled(values, 8))


def test_several_pictures_in_a_pnm_are_refused():
    for one in (b"P4\n9 2\n" + bytes(4), b"P5 # \n3 2 255\n" + bytes(6), b"P6\n3 2\n999\n" + bytes(36)):
        assert read_pixels(one + b"\n").max(initial=0) in (0, 255)
        for read in (read_pixels, read_picture):
            with pytest.raises(ValueError, match="several pictures"):
                read(one + one)


def test_inverted_grey_of_16_bits_is_written_back_like_it_looks():
    values = samples(16, 1)
    picture = read_picture(tiff_file(values, 16, 0))
    np.testing.assert_array_equal(picture.colour, 65535 - scaled(values, 16))
    np.testing.assert_array_equal(read_pixels(picture.encoded(picture.colour)), picture.colour)


@pytest.mark.parametrize(
    ("kind", "channels", "bits"),
    [
        *((0, 1, bits) for bits in (1, 2, 4)),
        *((*kind, bits) for kind in ((0, 1), (2, 3), (4, 2), (6, 4)) for bits in (8, 16)),
    ],
)
def test_png_samples(kind, channels, bits):
    values = samples(bits, channels)
    expected = scaled(values, bits)
    np.testing.assert_array_equal(read_pixels(png_file(values, bits, kind)), expected)
    if kind in (0, 2):  # a colour that stands for transparency
        key = values[3, 4]
        content = png_file(values, bits, kind, chunk(b"tRNS", struct.pack(f">{channels}H", *key)))
        found = read_pixels(content)
        np.testing.assert_array_equal(found[:-1], expected)
        np.testing.assert_array_equal(found[-1], (values != key).any(-1) * np.iinfo(found.dtype).max)
        with pytest.raises(ValueError, match="stands for transparency"):
            read_picture(content)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_png_palettes(bits):
    values = samples(bits, 1)
    palette = RNG.integers(0, 256, (1 << bits, 4), np.uint8)
    chunks = [chunk(b"PLTE", palette[:, :3].tobytes()), chunk(b"tRNS", palette[:, 3].tobytes())]
    colours = palette[values[..., 0]].transpose(2, 0, 1)
    np.testing.assert_array_equal(read_pixels(png_file(values, bits, 3, chunks[0])), colours[:3])
    np.testing.assert_array_equal(read_pixels(png_file(values, bits, 3, *chunks)), colours)


@pytest.mark.parametrize(("kind", "channels"), [(0, 1), (2, 3), (6, 4)])
@pytest.mark.parametrize("bits", [10, 12])
def test_fewer_significant_bits_of_a_png(kind, channels, bits):
    low, shift = samples(bits, channels), 16 - bits
    significant = chunk(b"sBIT", bytes([bits] * channels))
    dark = low >> 6
    factor = 65535 / ((1 << bits) - 1)
    for values in (low << shift, low << shift | low >> bits - shift, np.rint(low * factor).astype(int)):
        np.testing.assert_array_equal(read_pixels(png_file(values, 16, kind, significant)), scaled(values, 16))
    for values in (dark << shift, np.rint(dark * factor).astype(int), 0 * low):
        np.testing.assert_array_equal(read_pixels(png_file(values, 16, kind, significant)), scaled(values, 16))
    with pytest.raises(ValueError, match="sBIT"):
        read_pixels(png_file(low, 16, kind, significant))


@pytest.mark.parametrize(
    ("bits", "depth", "kind", "significant"),
    [
        (12, 16, 6, (12, 12, 12, 16)),
        (12, 16, 2, (12, 16, 12)),
        (12, 16, 4, (12, 16)),
        (8, 16, 0, (8,)),
        (5, 8, 2, (5, 6, 5)),
        (2, 4, 0, (2,)),
    ],
)
def test_significant_bits_of_each_colour_count_at_every_depth(bits, depth, kind, significant):
    values = samples(bits, len(significant))
    if kind in (4, 6):
        values[..., -1] = 65535
    chunks = chunk(b"sBIT", bytes(significant))
    with pytest.raises(ValueError, match="sBIT"):
        read_pixels(png_file(values, depth, kind, chunks))
    values = np.where(values < 1 << bits, values << depth - bits, values)
    np.testing.assert_array_equal(read_pixels(png_file(values, depth, kind, chunks)), scaled(values, depth))


def damaged_jpegs():
    whole = saved(SMOOTH.resize((256, 256)), "JPEG", quality=95)
    half, rest = whole[: len(whole) // 2], len(whole) // 2
    yield "its end", whole[:-2]
    yield "its end", saved(SMOOTH, "JPEG", progressive=True)[:-200]
    yield "its end", half + bytes(rest)
    yield "zeros", half + bytes(rest) + whole[-2:]
    yield "FFD8", half + whole
    yield "FF03", half + b"\xff\x03" + whole[len(half) :]


@pytest.mark.parametrize(("reason", "content"), list(damaged_jpegs()))
def test_jpegs_with_damaged_scans_are_refused(reason, content):
    with pytest.raises(ValueError, match=reason):
        read_pixels(content)


def test_unusual_jpegs_are_whole():
    plain = saved(SMOOTH, "JPEG")
    blank = Image.new("RGB", (3000, 3000), (90, 90, 90))
    for content in (
        plain + b"\xff\x01junk" + plain,
        plain[:-2] + b"\xff\xff\xff\xd9",
        saved(SMOOTH, "JPEG", progressive=True),
        saved(SMOOTH, "JPEG", restart_marker_blocks=1),
        saved(SMOOTH.convert("CMYK"), "JPEG", optimize=True),
        saved(SMOOTH, "MPO", save_all=True, append_images=[SMOOTH]),
        *(saved(blank, "JPEG", **options) for options in ({}, {"optimize": True}, {"progressive": True})),
    ):
        assert read_pixels(content).shape[0] == 3


@pytest.mark.parametrize("top", [1, 3, 100, 255, 1023, 4095, 65535])
def test_pnm_values(top):
    grey, colour = RNG.integers(0, top + 1, (11, 13, 1)), RNG.integers(0, top + 1, (11, 13, 3))
    stored, dtype = ("u1", np.uint8) if top < 256 else (">u2", np.uint16)
    for content in (
        b"P5\n# 9 9\n13 11\n%d\n" % top + grey.astype(stored).tobytes(),
        b"P2\n13 11\n%d\n" % top + " ".join(map(str, grey.ravel())).encode(),
    ):
        found = read_pixels(content)
        assert found.dtype == dtype
        assert np.abs(found - grey.transpose(2, 0, 1) * (np.iinfo(dtype).max / top)).max() <= 0.51
    content = b"P6\n13 11\n%d\n" % top + colour.astype(stored).tobytes()
    assert np.abs(read_pixels(content) - colour.transpose(2, 0, 1) * (255 / top)).max() <= 0.51
    if top != 255:
        with pytest.raises(ValueError, match="largest value"):
            read_picture(content)


def test_cmyk_jpegs_are_read_where_an_adobe_segment_says_that_they_are_inverted():
    content = saved(SMOOTH.convert("CMYK"), "JPEG", quality=98)
    expected = np.asarray(SMOOTH).transpose(2, 0, 1).astype(int)
    assert np.abs(read_pixels(content) - expected).max() <= 12
    with pytest.raises(ValueError, match="CMYK"):
        read_picture(content)
    start = content.index(b"\xff\xee")
    with pytest.raises(ValueError, match="CMYK"):
        read_pixels(content[:start] + content[start + 16 :])
    assert np.abs(read_pixels(saved(SMOOTH, "JPEG", quality=98, keep_rgb=True)) - expected).max() <= 12


@pytest.mark.parametrize("compression", ["jpeg", "tiff_lzw", "lzma", "group4"])
def test_tiff_compression(compression):
    image = SMOOTH.convert("1") if compression == "group4" else SMOOTH
    expected = np.atleast_3d(np.asarray(image).astype(int) * (255 if image.mode == "1" else 1)).transpose(2, 0, 1)
    most = 40 if compression == "jpeg" else 0
    assert np.abs(read_pixels(saved(image, "TIFF", compression=compression)) - expected).max() <= most
