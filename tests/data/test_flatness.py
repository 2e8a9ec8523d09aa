"""Renders and photographs told apart by areas of one colour."""

from __future__ import annotations

import numpy as np
import pytest
from renders import folder, photograph, render

from synthreal.data.flatness import flat_share, swapped


@pytest.fixture
def pair(tmp_path):
    return folder(tmp_path / "renders", 12, (40, 60)), folder(tmp_path / "photographs", 9, (40, 60), photograph)


def test_swapped_folders_are_recognised(pair):
    renders, photographs = pair
    assert swapped(renders, photographs) is None
    problem = swapped(photographs, renders)
    assert (
        problem is not None and problem.startswith(f"{renders}: its pictures look drawn") and "swap the two" in problem
    )


@pytest.mark.parametrize("draw", [render, photograph])
def test_two_folders_of_one_kind_are_not_swapped(tmp_path, draw):
    one, other = (folder(tmp_path / name, 9, (40, 60), draw) for name in "ab")
    assert swapped(one, other) is None and swapped(other, one) is None


def test_flat_blocks_of_jpeg_are_no_drawing_but_noise_in_jpeg_is_a_photograph(tmp_path, pair):
    renders, photographs = pair
    drawn = folder(tmp_path / "drawn", 9, (40, 60), suffix="jpg", quality=100)
    noisy = folder(tmp_path / "noisy", 9, (40, 60), photograph, suffix="jpg", quality=90)
    assert swapped(photographs, drawn) is None
    assert swapped(noisy, renders) is not None


def test_broken_files_do_not_count(pair):
    renders, photographs = pair
    for path in pair:
        (path / "0.png").write_text("hello")
    assert swapped(photographs, renders) is not None


def test_flat_pixels_by_hand():
    picture = np.random.default_rng(0).integers(1, 255, (3, 12, 12), dtype=np.uint8)
    assert flat_share(picture) == 0
    picture[:, 2:7, 2:7] = 90  # 3x3 of its px have eight equal neighbours, and 10x10 have eight neighbours
    assert flat_share(picture) == pytest.approx(9 / 100)
    picture[:, :, 6:] = 255  # clipped, hence left out
    assert flat_share(picture) == pytest.approx(6 / 50)
    assert flat_share(np.zeros((1, 12, 12), np.uint8)) is None
    assert flat_share(np.full((1, 2, 9), 7, np.uint8)) is None


def test_only_the_middle_of_a_large_picture_counts():
    picture = np.random.default_rng(0).integers(1, 255, (1, 700, 700), dtype=np.uint8)
    picture[:, :90] = 9
    assert flat_share(picture) == 0
