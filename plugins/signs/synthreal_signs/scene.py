"""What is drawn: a sign with digits, its neighbours and a plain background, from back to front.

Every layer has one colour and a coverage. Pixels are sampled 2x2 times, and the visible share of each layer is averaged
over a pixel before it is coloured. There is no blur, no noise, no dirt and no shading: refining has to add them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from synthreal_signs.digits import TYPEFACES, text_distance
from synthreal_signs.geometry import SIZE
from synthreal_signs.plate import RING_INNER, RING_OUTER, Plate
from synthreal_signs.random_columns import RandomColumns

SAMPLES = 2  # per pixel along each axis
COLUMNS = 43  # that drawing takes of a table
BACKGROUNDS = (  # sky, overcast sky, grey walls, foliage, earth, shade
    (0.50, 0.65, 0.85),
    (0.90, 0.92, 0.95),
    (0.50, 0.50, 0.48),
    (0.25, 0.32, 0.18),
    (0.38, 0.30, 0.22),
    (0.10, 0.10, 0.11),
)


@dataclass
class Layers:
    """Shares of layers, averaged over pixels; they are added from front to back."""

    visible: Tensor  # (n, S, S), not yet covered
    shares: list[Tensor] = field(default_factory=list)
    colours: list[Tensor] = field(default_factory=list)

    def add(self, coverage: Tensor, colour: Tensor) -> None:
        """Put a layer behind all others: coverage ``(n, S, S)`` in [0, 1] and colour ``(n, 3)``."""
        share = self.visible * coverage
        self.visible = self.visible - share
        self.shares.append(avg_pool2d(share[:, None], SAMPLES)[:, 0])
        self.colours.append(colour)

    def image(self) -> Tensor:
        """``(n, 3, H, W)``."""
        return torch.einsum("nlhw,nlc->nchw", torch.stack(self.shares, 1), torch.stack(self.colours, 1))


def draw(plate: Plate, speed: Tensor, columns: RandomColumns, contrast: float) -> Tensor:
    """Images ``(n, 3, 32, 32)`` of signs.

    Args:
        plate: where the signs are.
        speed: indices into ``SPEEDS``, ``(n,)``.
        columns: a table with ``COLUMNS`` columns left.
        contrast: 1 gives the whole range of tones, less gives greyer signs, down to 0.
    """
    u, v = plate.coordinates(SIZE, SAMPLES)
    sharp = SAMPLES * _scale(plate)
    radius = (u.square() + v.square()).sqrt()
    layers = Layers(torch.ones_like(u))
    light = columns.uniform(0.45, 1.0)
    white = _tinted(columns, light * columns.uniform(0.85, 1.0), 0.06)
    black = _tinted(columns, light * columns.uniform(0.03, 0.2), 0.02)
    red = _red(columns, light)
    grey = white.mean(1, keepdim=True)
    black, red = (grey + (colour - grey) * _tone(columns, contrast) for colour in (black, red))

    layers.add(_digits(u, v, sharp, speed, columns), black)
    inner = _column(columns.uniform(RING_INNER - 0.025, RING_INNER + 0.025))
    layers.add(_inside(inner - radius, sharp), white)
    layers.add(_inside(RING_OUTER - radius, sharp), red)
    layers.add(_inside(1 - radius, sharp), _tinted(columns, light * columns.uniform(0.7, 1.0), 0.06))
    _add_neighbours(layers, u, v, sharp, light, white, red, columns)
    _add_background(layers, u, v, sharp, columns)
    return layers.image()


def _digits(u: Tensor, v: Tensor, sharp: Tensor, speed: Tensor, columns: RandomColumns) -> Tensor:
    """Coverage of the number; its height is 0.74 to 0.84 radii, its strokes a tenth to a sixth of that."""
    face = columns.index(len(TYPEFACES))
    height = _column(columns.uniform(0.66, 0.76))  # of the centre lines
    width = height * _column(columns.uniform(0.92, 1.08))
    x = (u - _column(columns.uniform(-0.03, 0.03))) / width
    y = (v - _column(columns.uniform(-0.03, 0.03))) / height
    stroke = _column(columns.uniform(0.055, 0.09))
    return _inside((stroke - text_distance(face, speed, x, y)) * height, sharp)


def _add_neighbours(
    layers: Layers,
    u: Tensor,
    v: Tensor,
    sharp: Tensor,
    light: Tensor,
    white: Tensor,
    red: Tensor,
    columns: RandomColumns,
) -> None:
    """Another round sign below or above, a small plate below, the pole, and a panel that carries the sign."""
    side = 2 * columns.chance(0.5) - 1
    gap = columns.uniform(2.02, 2.25)
    there = _column(columns.chance(0.2))
    away = (u.square() + (v - _column(side * gap)).square()).sqrt()
    layers.add(there * _inside(RING_INNER - away, sharp), white)
    layers.add(there * _inside(RING_OUTER - away, sharp), red)
    layers.add(there * _inside(1 - away, sharp), white)
    top, half = columns.uniform(1.05, 1.2), columns.uniform(0.5, 1.0)
    there = _column(columns.chance(0.2)) * (1 - there)
    below = torch.minimum(v - _column(top), _column(half) - u.abs())
    layers.add(there * _inside(below - 0.06, sharp), white)
    layers.add(there * _inside(below, sharp), _tinted(columns, light * columns.uniform(0.05, 0.6), 0.05))
    half = columns.uniform(0.05, 0.14)
    ends = torch.maximum(v - _column(columns.uniform(-3.0, 1.0)), -v)  # some poles end at the upper rim
    pole = torch.minimum(_column(half) - (u - _column(columns.uniform(-0.1, 0.1))).abs(), ends)
    layers.add(_column(columns.chance(0.6)) * _inside(pole, sharp), _tinted(columns, columns.uniform(0.1, 0.8), 0.03))
    half = columns.uniform(1.05, 1.5)
    panel = torch.minimum(_column(half) - u.abs(), torch.minimum(v + _column(half), 2.2 - v))
    layers.add(_column(columns.chance(0.08)) * _inside(panel, sharp), white)


def _add_background(layers: Layers, u: Tensor, v: Tensor, sharp: Tensor, columns: RandomColumns) -> None:
    """Two plain tones that meet at an edge or pass into each other."""
    angle, offset = columns.uniform(-math.pi, math.pi), columns.uniform(-1.0, 1.0)
    across = u * _column(angle.cos()) + v * _column(angle.sin()) - _column(offset)
    softness = _column(torch.where(columns.chance(0.5) > 0, 1.0, columns.uniform(0.05, 1.0)))
    first = (across / (2 * softness) + 0.5).clamp(0, 1)
    layers.add(torch.where(softness < 1, first, _inside(across, sharp)), _background(columns))
    layers.add(torch.ones_like(u), _background(columns))


def _background(columns: RandomColumns) -> Tensor:
    palette = torch.tensor(BACKGROUNDS, device=columns.table.device)
    colour = palette[columns.index(len(BACKGROUNDS))] * columns.uniform(0.3, 1.1)[:, None]
    return colour.clamp(0, 1)


def _tinted(columns: RandomColumns, tone: Tensor, tint: float) -> Tensor:
    """A grey ``(n,)`` as a colour ``(n, 3)``, between yellowish and bluish, rather bluish as outdoors."""
    warm = columns.uniform(-1.5 * tint, 0.5 * tint)
    return torch.stack((tone * (1 + warm), tone, tone * (1 - warm)), dim=1)


def _red(columns: RandomColumns, light: Tensor) -> Tensor:
    tone = light * columns.uniform(0.35, 0.8)
    green = columns.uniform(0.15, 0.5)
    return torch.stack((tone, tone * green, tone * green * columns.uniform(0.8, 1.2)), dim=1)


def _tone(columns: RandomColumns, contrast: float) -> Tensor:
    """The contrast of one colour to white: half to all of ``contrast``."""
    return contrast * columns.uniform(0.6, 1.0)[:, None]


def _inside(distance: Tensor, sharp: Tensor) -> Tensor:
    """Coverage of a shape by its signed distance, positive inside, in radii; ``sharp (n, 1, 1)`` samples a radius."""
    return (distance * sharp + 0.5).clamp(0, 1)


def _scale(plate: Plate) -> Tensor:
    """Px per radius of the plate ``(n, 1, 1)``, the geometric mean over directions at its centre."""
    h = plate.to_image / plate.to_image[:, 2:, 2:]
    x, y = h[:, 0, 2], h[:, 1, 2]
    ux, uy = h[:, 0, 0] - x * h[:, 2, 0], h[:, 1, 0] - y * h[:, 2, 0]
    vx, vy = h[:, 0, 1] - x * h[:, 2, 1], h[:, 1, 1] - y * h[:, 2, 1]
    return (ux * vy - uy * vx).abs().sqrt()[:, None, None]


def _column(value: Tensor) -> Tensor:
    """``(n,)`` to ``(n, 1, 1)``, to broadcast over pixels."""
    return value[:, None, None]
