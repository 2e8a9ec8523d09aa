"""Line charts as SVG that follows the colours of the page it stands in.

matplotlib knows no CSS variables, so every colour is drawn as a number of its own and replaced afterwards. Text stays
text, ids are made unique within the page, and the same panel gives the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any

LEFT, BOTTOM, RIGHT, TOP = 56, 45, 5, 11  # margins in units: the same in every panel, so that they line up
FONT = 12
LEVEL_DASH = (4, 3)
DOTS = 3  # a line of at most so many points is drawn with its points

INK, QUIET, LINE = "ink", "quiet", "line"


@dataclass(frozen=True)
class Size:
    """A size of drawing, in units of the viewBox: about CSS px on a phone; its name is a CSS class of the page."""

    name: str
    width: int
    height: int


SMALL = Size("small", 360, 225)  # two beside each other, or one on a phone
WIDE = Size("wide", 720, 330)  # a row of its own
TALL = Size("tall", 360, 330)  # the same on a phone


@dataclass(frozen=True)
class Curve:
    """A line of a chart.

    Attributes:
        label: what it is.
        x: places.
        y: values.
        colour: name of a CSS variable of the page.
        dash: on and off lengths in units; empty is a whole line.
        width: in units.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    colour: str
    dash: tuple[float, ...] = ()
    width: float = 1.8


@dataclass(frozen=True)
class Panel:
    """A chart.

    Attributes:
        name: unique in the page; the prefix of its ids.
        title: what it shows.
        described: the same for who cannot see it.
        curves: its lines.
        x_label: of the axis below.
        y_label: of the axis at the left; may be empty.
        levels: (value, label): dashed horizontal lines to compare with.
        edges: places of thin vertical lines.
        best: a point to mark, or None.
        x_limits: of the axis below, or None.
        y_limits: of the axis at the left, or None.
        sizes: in which it is drawn; the page shows the one that fits.
    """

    name: str
    title: str
    described: str
    curves: Sequence[Curve]
    x_label: str = "step"
    y_label: str = ""
    levels: Sequence[tuple[float, str]] = ()
    edges: Sequence[float] = ()
    best: tuple[float, float] | None = None
    x_limits: tuple[float, float] | None = None
    y_limits: tuple[float, float] | None = None
    sizes: Sequence[Size] = (SMALL,)

    @property
    def legend(self) -> list[tuple[str, str, str]]:
        """(label, colour, dashes) of what needs a name beside the title: several lines, and levels."""
        curves = [(curve.label, curve.colour, dashes(curve.dash)) for curve in self.curves if len(self.curves) > 1]
        return curves + [(label, QUIET, dashes(LEVEL_DASH)) for _, label in self.levels]


def dashes(lengths: Sequence[float]) -> str:
    """On and off lengths as SVG writes them; empty for a whole line."""
    return " ".join(f"{length:g}" for length in lengths)


def draw(panel: Panel, size: Size = SMALL) -> str:
    """A panel as an ``<svg>`` element."""
    import matplotlib
    from matplotlib.figure import Figure

    palette = _Palette()
    with matplotlib.rc_context():
        parameters: Any = matplotlib.rcParams
        matplotlib.rcdefaults()  # whatever stands in the user's matplotlibrc
        for key, value in _style(palette).items():
            parameters[key] = value
        width, height = size.width, size.height
        figure = Figure(figsize=(width / 72, height / 72))
        across, up = (width - LEFT - RIGHT) / width, (height - BOTTOM - TOP) / height
        axes = figure.add_axes((LEFT / width, BOTTOM / height, across, up))
        _fill(axes, panel, palette)
        file = StringIO()
        figure.savefig(file, format="svg", metadata={"Creator": None, "Date": None, "Format": None, "Type": None})
    return _inline(file.getvalue(), panel.name if size == SMALL else f"{panel.name}-{size.name}", size, palette)


def _fill(axes: Any, panel: Panel, palette: _Palette) -> None:
    for edge in panel.edges:
        axes.axvline(edge, color=palette[LINE], linewidth=1)
    for value, _ in panel.levels:
        axes.axhline(value, color=palette[QUIET], linewidth=1.4, dashes=[length / 1.4 for length in LEVEL_DASH])
    for curve in panel.curves:
        dotted = "o" if len(curve.x) <= DOTS else ""
        dashed = [length / curve.width for length in curve.dash] or (None, None)
        axes.plot(
            curve.x, curve.y, color=palette[curve.colour], linewidth=curve.width, dashes=dashed, marker=dotted,
            markersize=5, zorder=2 + curve.width,
        )  # fmt: skip
    if panel.best is not None:
        axes.plot(
            *panel.best, marker="o", markersize=9, markerfacecolor="none", color=palette[INK], linewidth=0, zorder=9
        )
    axes.set_xlabel(panel.x_label)
    axes.set_ylabel(panel.y_label)
    if panel.y_limits is not None:
        axes.set_ylim(*panel.y_limits)
    axes.margins(x=0.02)
    if panel.x_limits is not None:
        axes.set_xlim(*panel.x_limits)
    axes.locator_params(axis="x", nbins=6)


class _Palette:
    """Names of CSS variables as colours that no figure has by chance."""

    def __init__(self) -> None:
        self._names: list[str] = []

    def __getitem__(self, name: str) -> str:
        if name not in self._names:
            self._names.append(name)
        return f"#0001{self._names.index(name):02x}"

    def variables(self, svg: str) -> str:
        """The drawing with every colour as its variable."""
        return re.sub(r"#0001([0-9a-f]{2})\b", lambda match: f"var(--{self._names[int(match[1], 16)]})", svg)


def _style(palette: _Palette) -> dict[str, Any]:
    return {
        "svg.fonttype": "none",
        "svg.hashsalt": "synthreal",
        "text.parse_math": False,
        "font.size": FONT,
        "axes.grid": True,
        "axes.grid.axis": "y",
        "axes.axisbelow": True,
        "axes.formatter.useoffset": False,
        "grid.color": palette[LINE],
        "grid.linewidth": 0.8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.spines.left": False,
        "axes.edgecolor": palette[LINE],
        "text.color": palette[INK],
        "axes.labelcolor": palette[QUIET],
        "xtick.color": palette[QUIET],
        "ytick.color": palette[QUIET],
        "xtick.major.size": 3,
        "ytick.major.size": 0,
        "axes.facecolor": "none",
        "figure.facecolor": "none",
        "savefig.facecolor": "none",
    }


def _inline(svg: str, name: str, size: Size, palette: _Palette) -> str:
    """What an SVG file holds, fit to stand among others in a page."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)  # it would hold for the whole page
    box = f'viewBox="0 0 {size.width} {size.height}"'
    svg = re.sub(r"<svg[^>]*>", f'<svg {box} xmlns:xlink="http://www.w3.org/1999/xlink">', svg)
    svg = re.sub(r"(font: [^;\"]*?px) [^;\"]*", r"\1 system-ui, sans-serif", svg)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(href="|url\()#(?!0001)', rf"\1#{name}-", svg)
    return palette.variables(svg).strip()
