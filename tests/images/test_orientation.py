"""Orientation: pictures are turned as Pillow turns them, whatever the format; damaged tags turn nothing."""

from __future__ import annotations

import numpy as np
import pytest
from image_files import saved
from PIL import Image, ImageOps

from synthreal.images.orientation import orientation, upright
from synthreal.images.picture import read_pixels

PIXELS = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)
PICTURE = Image.fromarray(PIXELS)


def tag(value):
    exif = Image.Exif()
    exif[274] = value
    return exif


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize("value", range(1, 9))
def test_a_picture_is_turned_as_viewers_show_it(form, value):
    content = saved(PICTURE, form, exif=tag(value), **({"lossless": True} if form == "WEBP" else {}))
    stored = read_pixels(content)
    expected = Image.fromarray(stored.transpose(1, 2, 0))
    expected.getexif()[274] = value
    expected = np.asarray(ImageOps.exif_transpose(expected)).transpose(2, 0, 1)
    assert orientation(content) == value
    np.testing.assert_array_equal(upright(stored, orientation(content)), expected)


def test_without_a_valid_tag_a_picture_stays_as_it_is():
    plain = [saved(PICTURE, form) for form in ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF", "PPM")]
    assert {orientation(content) for content in plain} == {1}
    assert orientation(saved(PICTURE, "PNG", exif=tag(9))) == 1
    for block in (
        b"",
        b"II*\0",
        b"II*\0\xff\xff\xff\xff",
        b"no EXIF",
        b"MM\0*\0\0\0\x08\xff\xff",
        b"II+\0" + b"\xff" * 12,
    ):
        assert orientation(saved(PICTURE, "JPEG", exif=b"Exif\0\0" + block)) == 1
    np.testing.assert_array_equal(upright(PIXELS.transpose(2, 0, 1), 1), PIXELS.transpose(2, 0, 1))
