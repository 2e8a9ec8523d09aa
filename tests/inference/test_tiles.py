"""Tiles cover every pixel once, without visible seams."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from synthreal.core.refiner import Refiner
from synthreal.errors import UserError
from synthreal.inference.indexed import IndexedRefiner
from synthreal.inference.tiles import margin_of, tiles
from synthreal.inference.transform import Refine


@pytest.mark.parametrize(
    ("height", "width", "side", "margin"), [(7, 9, 4, 2), (100, 3, 7, 50), (5, 5, 8, 1), (64, 65, 64, 9)]
)
def test_every_pixel_lies_in_one_core_with_its_margin(height, width, side, margin):
    covered = np.zeros((height, width), int)
    place = np.arange(height * width).reshape(height, width)
    for tile in tiles(height, width, side=side, margin=margin):
        covered[tile.core] += 1
        assert all(part.stop - part.start <= side for part in tile.core)
        np.testing.assert_array_equal(place[tile.window][tile.core_in_window], place[tile.core])
        for outer, inner, length in zip(tile.window, tile.core, (height, width), strict=True):
            assert outer.start == max(0, inner.start - margin) and outer.stop == min(length, inner.stop + margin)
    assert (covered == 1).all()


@pytest.mark.parametrize("padding", ["zeros", "replicate", "reflect"])
@pytest.mark.parametrize(("noise", "kept"), [(0, ()), (2, (0.5,))])
def test_tiled_and_whole_results_are_equal(padding, noise, kept, device):
    torch.manual_seed(1)
    refiner = Refiner(1, kernel=3, blocks=2, width=6, padding=padding, noise_channels=noise, kept=kept).to(device)
    image = torch.rand(2, 1, 61, 83, device=device)
    image[:, :, 20:40, 10:70] = 0.5
    index = torch.tensor([3, 8])
    transform = Refine(refiner, channels=1)
    whole = IndexedRefiner(transform, seed=5)(image, index, full=2)
    tiled = IndexedRefiner(transform, seed=5, tile=24)(image, index, full=2)
    torch.testing.assert_close(tiled, whole, atol=1e-5, rtol=0)
    assert (whole - image).abs().mean() > 0.01
    if kept:
        assert torch.equal(tiled[:, :, 20:40, 10:70], image[:, :, 20:40, 10:70])


def test_a_margin_below_half_the_receptive_field_leaves_seams():
    torch.manual_seed(1)
    refiner = Refiner(1, blocks=2, width=6)
    image, index = torch.rand(1, 1, 60, 60), torch.tensor([0])
    whole = IndexedRefiner(Refine(refiner, channels=1), seed=0)(image, index, full=1)
    refiner.receptive_field -= 8
    tiled = IndexedRefiner(Refine(refiner, channels=1), seed=0, tile=24)(image, index, full=1)
    assert (tiled - whole).abs().max() > 1e-4


def test_a_network_without_receptive_field_is_not_tiled():
    with pytest.raises(UserError, match=r"Conv2d has no attribute `receptive_field`.*--tile none"):
        margin_of(nn.Conv2d(1, 1, 3))


def test_neighbouring_tiles_overlap_by_the_receptive_field():
    refiner = Refiner(1)
    first, second = tiles(10, 100, side=50, margin=margin_of(refiner))
    assert first.window[1].stop - second.window[1].start >= refiner.receptive_field == 19
