"""Evaluations of toy images."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True, scope="module")
def _short_two_sample_tests(short_two_sample_tests: None) -> None:
    """Shorten the two-sample tests of every module here."""
