"""Numbers as people read them, the same in the terminal and on the pages."""

from __future__ import annotations

from collections.abc import Sequence

LEAST_P = 1e-300  # below, a probability is soon too small for a float


def p_text(p: float) -> str:
    """A probability: 0.148, 9.9e-20, < 1e-300 where it has become too small to say."""
    if p < LEAST_P:
        return "< 1e-300"
    return f"{p:.3f}" if p >= 0.001 else f"{p:.1e}"


def equals_p(p: float) -> str:
    """A probability in a sentence: p = 0.148, p < 1e-300."""
    text = p_text(p)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def mean_text(mean: float, std: float | None) -> str:
    """Mean ± deviation; the mean of one has none."""
    return f"{mean:.2f}" + ("" if std is None else f" ± {std:.2f}")


def percent_text(difference: float, start: float, interval: Sequence[float] | None = None) -> str:
    """A difference in per cent of where it starts, with its interval; empty where it starts at 0."""
    if not start:
        return ""
    bounds = "" if interval is None else " ({:+z.0f} to {:+z.0f})".format(*(100 * bound / start for bound in interval))
    return f"{100 * difference / start:+z.0f} %{bounds}"


def compared_text(several: bool) -> str:
    """How :func:`synthreal.run.significance.compared` comes to its interval and p, and why these may disagree."""
    return (
        f"interval: 95 %, of the mean difference, bootstrap over images{' and trainings' if several else ''}; "
        "p: Wilcoxon's test, which ranks images, so the two can disagree"
    )
