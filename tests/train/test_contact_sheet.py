"""Contact sheets: the pixels of the images, enlarged by a whole factor, in captioned rows."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from synthreal.train.contact_sheet import _CAPTION, _GAP, contact_sheet, png, save_sheet


def rows(n=3, channels=1, height=12, width=16):
    generator = torch.Generator().manual_seed(0)
    return [(name, torch.rand(n, channels, height, width, generator=generator)) for name in ("simulated", "refined")]


@pytest.mark.parametrize(("channels", "height", "width"), [(1, 12, 16), (2, 12, 16), (3, 55, 35), (4, 224, 224)])
def test_a_sheet_shows_the_pixels_of_every_image(channels, height, width):
    given = rows(3, channels, height, width)
    sheet = np.asarray(contact_sheet(given))
    scale = max(1, round(112 / max(height, width)))
    assert sheet.shape[0] == 2 * (height * scale + _GAP) + _GAP
    for row, (_, images) in enumerate(given):
        for column in range(3):
            top, left = _GAP + row * (height * scale + _GAP), _CAPTION + column * (width * scale + _GAP)
            cell = sheet[top : top + height * scale : scale, left : left + width * scale : scale]
            expected = (images[column] * 255).round().byte().permute(1, 2, 0).numpy()
            expected = expected[..., :3] if channels >= 3 else expected[..., :1].repeat(3, -1)
            np.testing.assert_array_equal(cell, expected)


def test_captions_are_drawn_and_values_are_clamped():
    images = torch.full((1, 1, 12, 16), 7.0)
    sheet = np.asarray(contact_sheet([("simulated", images)]))
    assert (sheet[:, :_CAPTION] < 128).sum() > 100
    assert sheet[_GAP + 1, _CAPTION + 1].tolist() == [255, 255, 255]


def test_viridis_ranges_from_violet_to_yellow():
    images = torch.linspace(0, 1, 16).expand(1, 1, 12, 16)
    sheet = np.asarray(contact_sheet([("depth", images)], colormap="viridis")).astype(int)
    first, last = sheet[_GAP, _CAPTION], sheet[_GAP, _CAPTION + 16 * 7 - 1]
    assert first.tolist() == [68, 1, 84] and last.tolist() == [253, 231, 37]


def test_a_saved_sheet_is_a_valid_png(tmp_path):
    save_sheet(tmp_path / "a.png", rows())
    with Image.open(tmp_path / "a.png") as opened:
        opened.load()
        assert (opened.format, opened.mode) == ("PNG", "RGB")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize(("channels", "colormap"), [(1, None), (1, "viridis"), (3, None)])
def test_a_single_image_is_rendered_as_on_a_sheet(channels, colormap):
    (_, images), *_ = rows(2, channels, 55, 35)
    sheet = contact_sheet([("", images)], colormap=colormap)
    scale = max(1, round(112 / 55))
    for column, image in enumerate(images):
        with Image.open(BytesIO(png(image, colormap=colormap))) as alone:
            assert (alone.mode, alone.size, alone.info) == ("RGB", (35, 55), {})
            left = _CAPTION + column * (35 * scale + _GAP)
            cell = np.asarray(sheet)[_GAP : _GAP + 55 * scale : scale, left : left + 35 * scale : scale]
            np.testing.assert_array_equal(np.asarray(alone), cell)


def test_png_files_of_images_of_one_shape_have_the_same_size():
    flat, noise = torch.zeros(1, 224, 224), torch.rand(1, 224, 224)
    assert len(png(flat)) == len(png(noise)) == len(png(flat, colormap="viridis"))
