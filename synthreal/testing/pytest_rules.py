"""One pytest test per rule, for the test suite of a plugin."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from synthreal.testing.check import RULES, run_rule
from synthreal.testing.domain import Domain


def domain_tests(name: str) -> Callable[[str], None]:
    """A parametrised test of every rule of :func:`check_domain`, to be assigned in a module of tests.

    In ``tests/test_rules.py``: ``test_rule = domain_tests("gaze")``. Tests of rules that cannot be tried are skipped.
    The plugin is loaded by the first test. Needs pytest.
    """
    import pytest

    @cache
    def domain() -> Domain:
        return Domain.load(name)

    @pytest.mark.parametrize("rule", RULES)
    def test_rule(rule: str) -> None:
        outcome = run_rule(domain(), rule)
        if outcome.status == "skipped":
            pytest.skip(outcome.message)
        if outcome.status == "failed":
            pytest.fail(outcome.message, pytrace=False)

    return test_rule
