"""The digits of the signs: centre lines of our own, drawn as strokes of any width.

Two typefaces: a narrow one of straight sides and round ends, like DIN 1451, and a wider one of ellipses, like the
grotesques that other countries and older signs use. A text of three digits is set in a narrower cut of both.

A glyph is a list of polylines in units of the height of its centre line, y down, the top at 0, the bottom at 1. A text
becomes a map of the distance to its nearest centre line. The map is computed once per device; drawing looks it up, so
that the cost of an image does not depend on the number of strokes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from synthreal_signs.geometry import SPEEDS

Line = list[tuple[float, float]]

TYPEFACES = ("narrow", "wide")
CUTS = {"narrow": (0.56, 0.37), "wide": (0.66, 0.41)}  # width of a zero in texts of two and of three digits
GAPS = (0.28, 0.25)  # between the centre lines of neighbouring digits of these texts
CELLS = 48  # of the distance map, per unit
HALF_WIDTH, HALF_HEIGHT = 1.15, 0.75  # units that the map covers to each side of the centre of a text


def text_distance(face: Tensor, speed: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """The distance to the nearest centre line of a text, in heights of its digits.

    Args:
        face: indices into ``TYPEFACES``, ``(n,)``.
        speed: indices into ``SPEEDS``, ``(n,)``.
        x: positions ``(n, H, W)`` in heights of the digits, 0 at the middle of the text.
        y: the same, down.
    """
    maps = _distance_maps(x.device)
    count, rows, columns = maps.shape
    across = (x * CELLS + (columns - 1) / 2).clamp(0, columns - 1)
    down = (y * CELLS + (rows - 1) / 2).clamp(0, rows - 1)
    down = down + ((face * len(SPEEDS) + speed) * rows)[:, None, None]  # one tall image of all maps: nothing is copied
    grid = torch.stack((across * (2 / (columns - 1)) - 1, down * (2 / (count * rows - 1)) - 1), dim=-1)
    found: Tensor = grid_sample(maps.view(1, 1, -1, columns), grid.flatten(0, 1)[None], align_corners=True)
    return found.view_as(x)


@cache
def _distance_maps(device: torch.device) -> Tensor:
    """``(len(TYPEFACES) * len(SPEEDS), rows, columns)``."""
    x = torch.arange(-round(HALF_WIDTH * CELLS), round(HALF_WIDTH * CELLS) + 1) / CELLS
    y = torch.arange(-round(HALF_HEIGHT * CELLS), round(HALF_HEIGHT * CELLS) + 1) / CELLS
    points = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
    maps = [_distance(points, text_lines(face, speed)) for face in TYPEFACES for speed in SPEEDS]
    return torch.stack(maps).to(device)


def _distance(points: Tensor, lines: Sequence[Line]) -> Tensor:
    """Distance ``(H, W)`` of ``points (H, W, 2)`` to the nearest of some polylines."""
    starts = torch.tensor([start for line in lines for start in line[:-1]])
    along = torch.tensor([end for line in lines for end in line[1:]]) - starts
    offset = points[:, :, None] - starts
    share = ((offset * along).sum(-1) / along.square().sum(-1)).clamp(0, 1)
    distance: Tensor = torch.linalg.vector_norm(offset - share[..., None] * along, dim=-1)
    return distance.amin(-1)


def text_lines(face: str, speed: int) -> list[Line]:
    """The centre lines of a number, centred at 0."""
    text = str(speed)
    width, gap = CUTS[face][len(text) - 2], GAPS[len(text) - 2]
    glyphs = [_glyph(face, digit, width) for digit in text]
    lines: list[Line] = []
    left = 0.0
    for glyph in glyphs:
        lines += [[(x + left, y - 0.5) for x, y in line] for line in glyph]
        left += max(x for line in glyph for x, _ in line) + gap
    return [[(x - (left - gap) / 2, y) for x, y in line] for line in lines]


def _glyph(face: str, digit: str, w: float) -> list[Line]:
    """The polylines of a digit whose centre lines reach from 0 to at most ``w``."""
    m = w / 2
    if digit == "1":
        stem = 0.42 * w
        return [[(0.0, 0.26 if face == "narrow" else 0.2), (stem, 0.0), (stem, 1.0)]]
    if digit == "2":
        hook = _arc(m, 0.29, 0.96 * m, 0.29, -170, 35 if face == "narrow" else 45)
        return [[*hook, (0.0, 1.0), (w, 1.0)]]
    if digit == "7":
        if face == "narrow":
            return [[(0.0, 0.0), (w, 0.0), (0.32 * w, 1.0)]]
        return [[(0.0, 0.0), (w, 0.0), (0.58 * w, 0.45), (0.4 * w, 0.75), (0.34 * w, 1.0)]]
    if digit == "5":
        corner = (0.1 * w, 0.0) if face == "narrow" else (0.16 * w, 0.0)
        return [[(0.92 * w, 0.0), corner, (0.03 * w, 0.5)], [(0.03 * w, 0.5), *_arc(m, 0.67, m, 0.33, -145, 155)]]
    if digit == "3":
        top = _arc(m, 0.26, 0.92 * m, 0.26, -165, 90)
        bottom = _arc(m, 0.74, m, 0.26, -90, 160)
        return [[*top, (0.7 * m, 0.5)], [(0.7 * m, 0.5), *bottom]] if face == "narrow" else [top, bottom]
    if digit == "8":
        waist = 0.47 if face == "narrow" else 0.48
        return [
            _arc(m, waist / 2, 0.86 * m, waist / 2, 0, 360),
            _arc(m, (1 + waist) / 2, m, (1 - waist) / 2, 0, 360),
        ]
    if digit == "6":
        bowl = _arc(m, 0.68, m, 0.32, 0, 360)
        if face == "narrow":
            return [bowl, [(1.3 * m, 0.0), (0.55 * m, 0.25), (0.12 * m, 0.5), (0.0, 0.68)]]
        return [bowl, _arc(m * 1.06, 0.5, 1.06 * m, 0.5, -180, -40)]
    if face == "narrow":  # 0
        return [[*_arc(m, m, m, m, -180, 0), *_arc(m, 1 - m, m, m, 0, 180), (0.0, m)]]
    return [_arc(m, 0.5, m, 0.5, 0, 360, power=2.4)]


def _arc(x: float, y: float, rx: float, ry: float, start: float, end: float, power: float = 2.0) -> Line:
    """An arc of a (super)ellipse; angles in degrees, 0 to the right, 90 down."""
    steps = max(2, round(abs(end - start) / 15))
    points = []
    for k in range(steps + 1):
        angle = math.radians(start + (end - start) * k / steps)
        cos, sin = (math.copysign(abs(f) ** (2 / power), f) for f in (math.cos(angle), math.sin(angle)))
        points.append((x + rx * cos, y + ry * sin))
    return [a for a, b in pairwise(points) if a != b] + points[-1:]
