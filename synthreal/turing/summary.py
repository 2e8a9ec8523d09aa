"""The summary of a visual Turing test: confusion matrix (the paper's Table 1), accuracy and p.

p is that of the exact one-sided binomial test against guessing. Studies of refined images and of simulated images are
never added up.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Any, get_args

from synthreal.metrics.significance import binomial_p
from synthreal.results.tables import p_text
from synthreal.turing.answers import Against, Answer, Choice


def summarise(answers: Iterable[Answer]) -> dict[str, Any]:
    """Summarise a study as ``{"raters": [...], "total": {"refined": {...}, "simulated": {...}}}``.

    A rater has ``rater``, ``against``, ``done`` and ``total`` (images), ``confusion`` (truth -> choice -> number),
    ``correct``, ``accuracy`` in [0, 1] and ``p``, over studies of any seed and size. A total has the same entries over
    all raters, with their number as ``raters`` instead of ``rater``.
    """
    by_rater: dict[tuple[Against, str], list[Answer]] = {}
    for answer in answers:
        by_rater.setdefault((answer.against, answer.rater), []).append(answer)
    raters = [{"rater": rater, **_counts(own, against)} for (against, rater), own in by_rater.items()]
    totals = {}
    for against in get_args(Against):
        if every := [own for (kind, _), own in by_rater.items() if kind == against]:
            totals[against] = {"raters": len(every), **_counts([*chain(*every)], against)}
    return {"raters": raters, "total": totals}


def finished_answers(answers: Iterable[Answer], *, against: Against) -> list[Answer]:
    """The answers of raters who have judged all images; partial results would reveal answers to their raters."""
    sessions: dict[object, list[Answer]] = {}
    for answer in answers:
        if answer.against == against:
            sessions.setdefault(answer.session, []).append(answer)
    return [answer for own in sessions.values() if len(own) == 2 * own[0].images for answer in own]


def sentence(entry: dict[str, Any]) -> str:
    """The meaning of a rater's or a total's numbers in a sentence."""
    share, significant = 100 * entry["accuracy"], entry["p"] < 0.05
    return (
        f"{entry['correct']} of {entry['done']} answers are correct ({share:.1f} %). "
        f"Guessing does at least as well with a probability of {'only ' * significant}{p_text(entry['p'])}: "
        f"{'' if significant else 'no evidence that '}{entry['against']} images can be told from real ones."
    )


def in_a_line(summary: dict[str, Any]) -> str:
    """The summary in one line, for the end of a session."""
    totals = [
        f"{total['correct']} of {total['done']} answers correct against {against} images "
        f"({100 * total['accuracy']:.1f} %, p {p_text(total['p'])})"
        for against, total in summary["total"].items()
    ]
    return "; ".join(totals) or "no answers"


def _counts(answers: list[Answer], against: Against) -> dict[str, Any]:
    confusion = {truth: dict.fromkeys(get_args(Choice), 0) for truth in ("real", against)}
    for answer in answers:
        confusion[answer.truth][answer.answer] += 1
    correct = sum(answer.correct for answer in answers)
    return {
        "against": against,
        "done": len(answers),
        "total": sum(2 * session[2] for session in {answer.session for answer in answers}),
        "confusion": confusion,
        "correct": correct,
        "accuracy": correct / len(answers),
        "p": binomial_p(correct, len(answers)),
    }
