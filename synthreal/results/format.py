"""Numbers as people read them, the same in the terminal and on the pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

UNLABELLED = "Without labels: how real, how true"
_DISTANCES = {"kid": "KID", "kid_estimator": "KID est", "sliced_wasserstein": "SWD", "spectrum": "spectrum"}
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
    """How :func:`synthreal.metrics.significance.compare_errors` computes its interval and p."""
    return (
        f"interval: 95 %, of the mean difference, bootstrap over images"
        f"{' and trainings (too narrow where these are few)' if several else ''}; "
        "p: Wilcoxon's test, which ranks images, so the two can disagree"
    )


def unlabelled_text(primary: str) -> str:
    """What the numbers of :func:`quality_rows` are."""
    return (
        "KID (of random features; est: of the estimator's), SWD (sliced Wasserstein) and spectrum (dB): distances to "
        "unlabelled real images, lower is closer. Told apart: how often a fresh classifier tells such images from real "
        "ones, 50 % is guessing; p: of doing as well by guessing. Drift: "
        f"{primary} between the estimator's answers before and after, an upper bound on what labels lose."
    )


def quality_rows(
    quality: Mapping[str, Mapping[str, Any]], primary: str
) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
    """What :func:`synthreal.metrics.summary.summarize_quality` found of each arm: titles, and the cells of each arm.

    What was found of no arm has no column; what was not found of one is ``-``.
    """
    columns: dict[str, dict[str, str]] = {}
    for arm, found in quality.items():
        cells = {title: f"{found[name]:.3f}" for name, title in _DISTANCES.items() if found.get(name) is not None}
        if told := found.get("two_sample"):
            cells |= {"told apart": f"{100 * told['accuracy']:.1f} %", "p": p_text(told["p"])}
        if primary in (found.get("drift") or {}):
            cells["drift"] = f"{found['drift'][primary]:.2f}"
        for title, text in cells.items():
            columns.setdefault(title, {})[arm] = text
    order = (*_DISTANCES.values(), "told apart", "p", "drift")
    titles = tuple(title for title in order if title in columns)
    return titles, {arm: tuple(columns[title].get(arm, "-") for title in titles) for arm in quality}
