"""The built-in pictures data set: windows of one size from pictures of any size, never distorted."""

from __future__ import annotations

import numpy as np
import pytest
from image_files import saved
from PIL import Image
from pydantic import ValidationError

from synthreal.data.pictures import PicturesOptions, read_pictures, scaled_size
from synthreal.data.source import read_samples
from synthreal.errors import UserError
from synthreal.hooks.catalog import Catalog
from synthreal.spec import ImageSpec, Sample, Skipped

RNG = np.random.default_rng(0)


def read(root, crop, **options):
    return list(read_pictures(PicturesOptions(root=str(root), crop=crop, **options)))


def ramp(height, width, dtype=np.uint8):
    """A picture whose pixels tell their place."""
    return (np.arange(height)[:, None] * width + np.arange(width)).astype(dtype)


def disc(height, width):
    """A disc in a picture of its own size, as RGB."""
    y, x = np.mgrid[:height, :width]
    radius = min(height, width) / 3
    inside = np.hypot(y - (height - 1) / 2, x - (width - 1) / 2) < radius
    return np.where(inside[..., None], np.uint8([250, 200, 150]), np.uint8([0, 10, 20]))


def test_windows_are_unchanged_pixels_at_places_that_depend_on_the_file(tmp_path):
    picture = ramp(40, 60, np.uint16)
    for name in ("a.png", "b.png"):
        Image.fromarray(picture).save(tmp_path / name)
    items = read(tmp_path, (16, 20), crops=5)
    places = []
    for item in items:
        top, left = divmod(int(item.image[0, 0, 0]), 60)
        np.testing.assert_array_equal(item.image[0], picture[top : top + 16, left : left + 20])
        places.append((top, left))
    assert len(places) == 10 and len(set(places)) > 5 and places[:5] != places[5:]
    assert max(top for top, _ in places) > 12 and max(left for _, left in places) > 20
    again = read(tmp_path, (16, 20), crops=5)
    assert all((one.image == other.image).all() for one, other in zip(items, again, strict=True))
    (tmp_path / "c.png").write_bytes((tmp_path / "a.png").read_bytes())
    assert all(
        (one.image == other.image).all()
        for one, other in zip(items, read(tmp_path, (16, 20), crops=5)[:10], strict=True)
    )


@pytest.mark.parametrize("size", [(40, 60), (60, 40), (16, 16), (5, 9), (7, 50)])
@pytest.mark.parametrize("scale", [None, 12, 30])
def test_every_window_has_the_size_and_no_picture_is_distorted(tmp_path, size, scale):
    Image.fromarray(ramp(*size)).save(tmp_path / "a.png")
    for crop in ((16, 16), (12, 20)):
        assert all(item.image.shape == (1, *crop) for item in read(tmp_path, crop, scale=scale, crops=3))
        height, width = scaled_size(*size, scale=scale, crop=crop)
        assert height >= crop[0] and width >= crop[1]
        factors = (height / size[0], width / size[1])
        assert abs(factors[0] - factors[1]) <= 0.5 / min(size) + 1e-9
        assert min(height, width) >= (scale or min(size))


@pytest.mark.parametrize("crop", [(16, 20), (16, 60), (40, 60)])
def test_a_window_does_not_keep_its_picture_in_memory(tmp_path, crop):
    Image.fromarray(ramp(40, 60)).save(tmp_path / "a.png")
    (item,) = read(tmp_path, crop)
    assert item.image.base is None and item.image.flags.c_contiguous


def test_a_disc_stays_round_in_every_scale(tmp_path):
    Image.fromarray(disc(48, 90)).save(tmp_path / "a.png")
    for scale in (24, 48, 96):
        (item,) = read(tmp_path, (scale, round(90 / 48 * scale)), scale=scale)
        inside = item.image[0] > 125
        height, width = inside.any(1).sum(), inside.any(0).sum()
        assert abs(height - width) <= 1
        assert abs(height - 2 / 3 * scale) <= 2


def test_scaling_down_is_antialiased_and_keeps_depth_and_mean(tmp_path):
    stripes = np.tile(np.array([0, 60000], np.uint16), (64, 32))
    Image.fromarray(stripes).save(tmp_path / "a.png")
    (item,) = read(tmp_path, (16, 16), scale=16)
    assert item.image.dtype == np.uint16
    assert np.abs(item.image[0, 2:-2, 2:-2].astype(int) - 30000).max() < 1500


def test_a_picture_that_would_be_all_blur_is_skipped(tmp_path):
    Image.fromarray(ramp(4, 6)).save(tmp_path / "a.png")
    Image.fromarray(ramp(40, 60)).save(tmp_path / "b.png")
    tiny, whole = read(tmp_path, (40, 40))
    assert isinstance(tiny, Skipped) and "4x6 px, too small to be enlarged to 40x60 px" in tiny.reason
    assert isinstance(whole, Sample)


def test_photographs_are_upright(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(ramp(8, 12)).save(tmp_path / "a.png", exif=exif)
    (item,) = read(tmp_path, (12, 8))
    np.testing.assert_array_equal(item.image[0], np.rot90(ramp(8, 12), -1))


def test_the_first_of_several_pictures_is_read(tmp_path):
    frames = [Image.fromarray(np.roll(ramp(9, 14), place)) for place in range(3)]
    for form in ("PNG", "TIFF"):
        content = saved(frames[0], form, save_all=True, append_images=frames[1:])
        (tmp_path / f"a.{form.lower()}").write_bytes(content)
    for item in read(tmp_path, (9, 14)):
        np.testing.assert_array_equal(item.image[0], ramp(9, 14))


def test_hidden_colours_do_not_bleed_into_their_neighbours(tmp_path):
    pixels = np.zeros((32, 32, 4), np.uint8)
    pixels[..., 0] = 255  # hidden red
    pixels[8:24, 8:24] = (0, 0, 200, 255)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    for background in (0.0, 1.0):
        for scale in (None, 16):
            (item,) = read(tmp_path, (16, 16) if scale else (32, 32), scale=scale, background=background)
            assert item.image.shape[0] == 3
            red, green, _ = item.image.astype(int)
            np.testing.assert_array_equal(red, green)
            assert item.image[0, 0, 0] == 255 * background


def test_files_are_a_random_choice_that_more_files_contain(tmp_path):
    for value in range(20):
        Image.fromarray(np.full((4, 4), value, np.uint8)).save(tmp_path / f"{value:02}.png")
    few, more, every = ([int(item.image.max()) for item in read(tmp_path, (4, 4), files=n)] for n in (5, 10, 50))
    assert len(few) == 5 and len(more) == 10 and every == list(range(20))
    assert set(few) < set(more) and few == sorted(few) and few != list(range(5))


def test_unreadable_files_are_skipped_and_a_folder_without_any_other_is_refused(tmp_path):
    with pytest.raises(UserError, match="no image file"):
        read(tmp_path, (4, 4))
    (tmp_path / "a.png").write_text("hello")
    (tmp_path / "b.heic").write_text("hello")
    with pytest.raises(UserError, match=r"not one of its 2 image files is readable; .*a\.png: not a whole PNG"):
        read(tmp_path, (4, 4))
    Image.fromarray(ramp(4, 4)).save(tmp_path / "c.png")
    assert [type(item) for item in read(tmp_path, (4, 4))] == [Skipped, Skipped, Sample]


def test_windows_become_images_of_the_run_and_are_never_resized(tmp_path):
    Image.fromarray(disc(20, 30)).save(tmp_path / "a.png")
    spec, options = Catalog.of(()).dataset("pictures", "real"), {"root": str(tmp_path), "crop": (16, 18)}
    image = ImageSpec(channels=1, height=16, width=18, dtype="uint16")
    (item,) = read_samples(spec, PicturesOptions(**options), image)
    assert item.image.shape == (1, 16, 18) and item.image.dtype == np.uint16 and item.image.max() > 40000
    other = ImageSpec(channels=1, height=18, width=16)
    with pytest.raises(
        UserError, match="data set 'pictures': option crop is 16x18, but image is 18x16 px; make them equal"
    ):
        read_samples(spec, PicturesOptions(**options), other)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_images_with_an_alpha_channel_are_refused(tmp_path, channels):
    Image.fromarray(np.full((4, 4, 4), 99, np.uint8)).save(tmp_path / "a.png")
    spec, options = Catalog.of(()).dataset("pictures", "real"), PicturesOptions(root=str(tmp_path), crop=(4, 4))
    image = ImageSpec(channels=channels, height=4, width=4)
    if channels in (1, 3):
        (item,) = read_samples(spec, options, image)
        assert item.image.shape == (channels, 4, 4) and item.image.max() < 99
    else:
        with pytest.raises(UserError, match=f"'pictures': its windows have no alpha, but image has {channels} chan"):
            read_samples(spec, options, image)


@pytest.mark.parametrize("options", [{}, {"crop": (0, 4)}, {"crop": (4,)}, {"crops": 0}, {"scale": 0}, {"files": 0}])
def test_wrong_options_are_refused(options):
    with pytest.raises(ValidationError):
        PicturesOptions(root="a", **({"crop": (4, 4)} | options if options else {}))


def test_a_picture_of_one_window_gives_one(tmp_path):
    for number in range(3):
        Image.fromarray(ramp(20, 24) + np.uint8(number)).save(tmp_path / f"{number}.png")
    items = read(tmp_path, (20, 24), crops=4)
    assert len(items) == 3
