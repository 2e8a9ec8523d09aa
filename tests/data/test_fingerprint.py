"""Fingerprints: which changes of an image leave it nearly equal, and that other scenes are not."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from synthreal.data import fingerprint
from synthreal.data.encoding import to_unit
from synthreal.data.fingerprint import digest, edges, nearly_equal
from synthreal.data.source import convert_image
from synthreal.images.picture import read_pixels
from synthreal.spec import ImageSpec

GREY = ImageSpec(channels=1, height=64, width=64)


def scene(seed: int, size: tuple[int, int] = (120, 90)) -> np.ndarray:
    """Soft colours ``(3, H, W)``, another scene for each seed."""
    colours = np.random.default_rng(seed).normal(128, 50, (6, 8, 3)).clip(0, 255).astype(np.uint8)
    return np.asarray(Image.fromarray(colours).resize(size, Image.Resampling.BICUBIC)).transpose(2, 0, 1)


def edges_of(pixels: np.ndarray) -> np.ndarray:
    return edges(to_unit(convert_image(pixels, GREY))[0])


def noisy(pixels):
    return (pixels + np.random.default_rng(0).normal(0, 10, pixels.shape)).clip(0, 255).astype(np.uint8)


def compressed(pixels):
    content = BytesIO()
    Image.fromarray(pixels.transpose(1, 2, 0)).save(content, "JPEG", quality=40)
    return read_pixels(content.getvalue())


def resized(pixels):
    return np.asarray(Image.fromarray(pixels.transpose(1, 2, 0)).resize((60, 45))).transpose(2, 0, 1)


def darker(pixels):
    return (0.6 * pixels + 20).astype(np.uint8)


@pytest.mark.parametrize("change", [noisy, compressed, resized, darker])
def test_a_changed_image_is_nearly_equal_and_has_another_digest(change):
    scenes = [scene(seed) for seed in range(30)]
    changed = [change(pixels) for pixels in scenes]
    found = nearly_equal(*(np.stack([edges_of(pixels) for pixels in some]) for some in (changed, scenes)))
    assert found.tolist() == list(range(30))
    assert all(digest(one) != digest(other) for one, other in zip(scenes, changed, strict=True))


def test_other_scenes_are_not_nearly_equal():
    some, others = (np.stack([edges_of(scene(seed)) for seed in range(first, first + 150)]) for first in (0, 1000))
    assert (nearly_equal(some, others) == -1).all() and (nearly_equal(some) == -1).all()


def test_nearly_equal_is_the_correlation_with_the_best_earlier_image(monkeypatch):
    """In blocks smaller than the set, compared with a loop over all pairs."""
    monkeypatch.setattr(fingerprint, "_BLOCK", 4)
    some = np.stack([edges_of(noisy(scene(seed % 7))) for seed in range(19)])
    expected = [-1] * 19
    for row in range(19):
        likeness = [float(np.dot(some[row], some[other])) for other in range(row)]
        if likeness and max(likeness) >= fingerprint.NEAR:
            expected[row] = int(np.argmax(likeness))
    assert nearly_equal(some).tolist() == expected
    assert expected[:7] == [-1] * 7 and -1 not in expected[7:]


def test_an_image_without_edges_is_like_no_other():
    flat = np.stack([edges(np.full((64, 64), level, np.float32)) for level in (0, 0.5)])
    assert not flat.any()
    assert (nearly_equal(flat) == -1).all()


def test_a_digest_stands_for_pixels_shape_and_dtype():
    pixels = scene(0)
    assert digest(pixels) == digest(pixels.copy()) == digest(pixels[:, ::-1][:, ::-1])
    others = [pixels[:, ::-1], pixels.reshape(3, 120, 90), pixels.view(np.int8), scene(1)]
    assert len({digest(other) for other in [pixels, *others]}) == 5
