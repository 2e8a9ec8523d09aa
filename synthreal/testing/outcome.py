"""The outcome of a rule, and the exceptions by which a rule ends early."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "failed", "skipped"]


class RuleSkipped(Exception):
    """A rule cannot be tried; the message is the reason. A rule that is broken raises ``UserError`` instead."""


class Absent(RuleSkipped):
    """The files or the options of one component are missing; the message is the reason."""


@dataclass(frozen=True)
class Outcome:
    """The result of one rule.

    Attributes:
        rule: its name.
        status: ok, failed or skipped.
        message: what is wrong and what to change, why the rule was skipped, or a remark on what was tried.
    """

    rule: str
    status: Status
    message: str = ""


class DomainError(AssertionError):
    """A domain breaks rules: one line for each, with what to change."""

    def __init__(self, plugin: str, outcomes: Sequence[Outcome]) -> None:
        broken = [f"{outcome.rule}: {outcome.message}" for outcome in outcomes if outcome.status == "failed"]
        super().__init__("\n".join([f"plugin {plugin} breaks {len(broken)} of {len(outcomes)} rules", *broken]))
