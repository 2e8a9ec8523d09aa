"""Numbers as text, the same in the terminal, in the model card and on the pages."""

from __future__ import annotations

from collections.abc import Sequence

SMALLEST_P = 1e-300  # smaller values approach the limit of a float and are printed as a bound


def p_text(p: float) -> str:
    """A p value: 0.148, 9.9e-20 or < 1e-300."""
    if p < SMALLEST_P:
        return "< 1e-300"
    return f"{p:.3f}" if p >= 0.001 else f"{p:.1e}"


def mean_text(mean: float, std: float | None) -> str:
    """Mean ± standard deviation, or the mean alone when ``std`` is None."""
    return f"{mean:.2f}" + ("" if std is None else f" ± {std:.2f}")


def difference_text(difference: float, start: float, interval: Sequence[float]) -> str:
    """A difference and its interval in per cent of ``start``, or in the metric's unit when ``start`` is 0."""
    low, high = interval
    if not start:
        return f"{difference:+z.2f} ({low:+z.2f} to {high:+z.2f})"
    change, low, high = (100 * value / start for value in (difference, low, high))
    return f"{change:+z.0f} % ({low:+z.0f} to {high:+z.0f})"
