"""What the tests of the recipe of two folders share."""

from __future__ import annotations

import pytest

from synthreal.train import recipe
from synthreal.train.timing import Seconds


@pytest.fixture
def known_times(monkeypatch):
    """The seconds of training and reading are those of no machine, so that a plan does not depend on it."""
    monkeypatch.setattr(recipe, "training_seconds", lambda config, catalog: Seconds(0.1, 0.05, 0.3, 1.0, 0.0))
    monkeypatch.setattr(recipe, "reading_seconds", lambda options: 0.001)
