"""What the answers say: who took what for what, how often rightly, and how likely that is by guessing.

The matrix is the paper's Table 1; p is the exact one-sided binomial test's. Raters who judged refined images and raters
who judged simulated ones are never added up.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, get_args

from synthreal.metrics.significance import binomial_p
from synthreal.results.format import p_text
from synthreal.turing.answers import Against, Answer, Choice

CHOICES: tuple[Choice, ...] = get_args(Choice)


def summarise(answers: Iterable[Answer]) -> dict[str, Any]:
    """The summary of a study.

    Returns:
        ``{"raters": [...], "total": {"refined": {...}, "simulated": {...}}}``. A rater's entry holds ``rater``,
        ``against``, ``done`` and ``total`` (images), ``confusion`` (truth -> choice -> number), ``correct``,
        ``accuracy`` in [0, 1] and ``p``; a total holds the same of all who judged against it, with ``raters``, their
        number, for ``rater``. Who took part in studies of several seeds or sizes has one entry for all of them.
    """
    given: dict[tuple[Against, str], list[Answer]] = {}
    for answer in answers:
        given.setdefault((answer.against, answer.rater), []).append(answer)
    totals: dict[str, Any] = {}
    for against in get_args(Against):
        found = {rater: theirs for (arm, rater), theirs in given.items() if arm == against}
        if found:
            every = [answer for theirs in found.values() for answer in theirs]
            totals[against] = {"raters": len(found), "against": against, **_counted(every, against)}
    raters = [
        {"rater": rater, "against": against, **_counted(theirs, against)} for (against, rater), theirs in given.items()
    ]
    return {"raters": raters, "total": totals}


def finished(answers: Iterable[Answer], *, against: Against) -> list[Answer]:
    """The answers to one kind of image by raters who are through: an unfinished rater's would tell them how they do."""
    sessions: dict[tuple[str, int, int], list[Answer]] = {}
    for answer in answers:
        if answer.against == against:
            sessions.setdefault((answer.rater, answer.images, answer.seed), []).append(answer)
    return [answer for (_, images, _), theirs in sessions.items() if len(theirs) == 2 * images for answer in theirs]


def sentence(entry: dict[str, Any]) -> str:
    """What a rater's or a total's numbers mean, in plain words."""
    kind, share = entry["against"], 100 * entry["accuracy"]
    told = f"{entry['correct']} of {entry['done']} answers were right ({share:.1f} %)."
    if entry["p"] < 0.05:
        return (
            f"{told} Guessing does as well or better with a probability of only {p_text(entry['p'])}: "
            f"{kind} images can be told from real ones."
        )
    return (
        f"{told} Guessing does as well or better with a probability of {p_text(entry['p'])}: "
        f"no evidence that {kind} images can be told from real ones."
    )


def in_a_line(summary: dict[str, Any]) -> str:
    """The summary in one line, for the end of a session."""
    told = [
        f"{total['correct']} of {total['done']} answers right against {against} images "
        f"({100 * total['accuracy']:.1f} %, p {p_text(total['p'])})"
        for against, total in summary["total"].items()
    ]
    return "; ".join(told) or "no answers"


def _counted(answers: list[Answer], against: Against) -> dict[str, Any]:
    confusion = {truth: dict.fromkeys(CHOICES, 0) for truth in ("real", against)}
    for answer in answers:
        confusion[answer.truth][answer.answer] += 1
    correct = sum(answer.right for answer in answers)
    sessions = {(answer.rater, answer.images, answer.seed) for answer in answers}
    return {
        "done": len(answers),
        "total": sum(2 * images for _, images, _ in sessions),
        "confusion": confusion,
        "correct": correct,
        "accuracy": correct / len(answers),
        "p": binomial_p(correct, len(answers)),
    }
