"""A plugin's test suite gets one test per rule."""

from __future__ import annotations

import pytest
from quick import TOY

from synthreal.testing import domain_tests
from synthreal.testing.check import RULES

test_rule = domain_tests(str(TOY))  # the toy domain keeps the rules


def rules_of(test):
    (mark,) = test.pytestmark
    return list(mark.args[1])


def test_there_is_one_test_per_rule():
    assert rules_of(test_rule) == list(RULES)


def test_broken_rules_fail_and_those_that_cannot_be_tried_are_skipped(tmp_path):
    path = tmp_path / "empty.py"
    path.write_text('"""No hooks."""\n')
    test = domain_tests(str(path))
    with pytest.raises(pytest.fail.Exception, match="no recipe"):
        test("recipes")
    with pytest.raises(pytest.skip.Exception, match="no recipe"):
        test("game")
