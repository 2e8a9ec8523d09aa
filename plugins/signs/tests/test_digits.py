from __future__ import annotations

from itertools import combinations

import pytest
import torch

from synthreal_signs.digits import TYPEFACES, text_distance, text_lines
from synthreal_signs.geometry import SPEEDS

COUNT = len(SPEEDS)


def ink(face: int, stroke: float = 0.07) -> torch.Tensor:
    """Masks ``(8, 61, 101)`` of all numbers, 50 px per height of the digits."""
    x, y = torch.meshgrid(torch.linspace(-1, 1, 101), torch.linspace(-0.6, 0.6, 61), indexing="xy")
    faces = torch.full((COUNT,), face)
    distance = text_distance(faces, torch.arange(COUNT), x.expand(COUNT, -1, -1), y.expand(COUNT, -1, -1))
    return distance < stroke


@pytest.mark.parametrize("face", range(len(TYPEFACES)))
def test_every_number_has_a_shape_of_its_own(face: int) -> None:
    masks = ink(face)
    for a, b in combinations(masks, 2):
        assert (a ^ b).sum() > 0.1 * (a | b).sum()


def test_the_typefaces_differ_and_one_is_wider() -> None:
    narrow, wide = ink(0), ink(1)
    for a, b in zip(narrow, wide, strict=True):
        assert (a ^ b).sum() > 0.2 * (a | b).sum()
        assert b.any(0).sum() > a.any(0).sum()


@pytest.mark.parametrize("face", TYPEFACES)
@pytest.mark.parametrize("speed", SPEEDS)
def test_a_text_is_centred_and_of_height_one(face: str, speed: int) -> None:
    x, y = zip(*(point for line in text_lines(face, speed) for point in line), strict=True)
    assert min(x) == pytest.approx(-max(x), abs=0.03)
    assert min(y) == pytest.approx(-0.5, abs=0.01)
    assert max(y) == pytest.approx(0.5, abs=0.01)
    assert 1.1 < max(x) - min(x) < 1.7


@pytest.mark.parametrize("face", range(len(TYPEFACES)))
@pytest.mark.parametrize("speed", range(COUNT))
def test_the_distance_is_that_to_the_nearest_point_of_a_line(face: int, speed: int) -> None:
    pieces = []
    for line in text_lines(TYPEFACES[face], SPEEDS[speed]):
        points = torch.tensor(line)
        share = torch.linspace(0, 1, 40)[:, None, None]
        pieces.append((points[:-1] + share * (points[1:] - points[:-1])).flatten(0, 1))
    dense = torch.cat(pieces)
    places = torch.rand(200, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.8, 1.2])
    places = places - torch.tensor([0.9, 0.6])
    nearest = torch.cdist(places, dense).amin(1)
    x, y = places.T[:, None, :, None]
    found = text_distance(torch.tensor([face]), torch.tensor([speed]), x, y).flatten()
    torch.testing.assert_close(found, nearest, atol=0.02, rtol=0)


def test_far_from_the_text_the_distance_is_that_of_the_border_of_the_map() -> None:
    far = torch.tensor([[[-9.0, 9.0]]])
    found = text_distance(torch.tensor([0]), torch.tensor([3]), far, torch.zeros_like(far))
    assert (found > 0.2).all()
