"""Comparing one arm with the others: the differences of evaluate, with intervals, without training again."""

from __future__ import annotations

import pytest
from quick import fit_toy

from synthreal.errors import UserError
from synthreal.evaluation import compare_arms
from synthreal.evaluation.evaluate import evaluate


def test_an_arm_is_compared_with_every_other_one_on_cached_estimators(toy, tmp_path):
    runs = [tmp_path / "0", tmp_path / "1"]
    for seed, run in enumerate(runs):
        fit_toy(toy, run, f"runtime.seed={seed}")
    result = evaluate(runs, arms=["refined", "versions"])
    before = sorted(path.name for run in runs for path in (run / "estimators").iterdir())
    found = compare_arms(runs, "versions")
    assert sorted(path.name for run in runs for path in (run / "estimators").iterdir()) == before
    assert list(found) == ["simulated", "refined"]
    errors = {name: arm.metrics["error_px"].mean for name, arm in result.arms.items()}
    for name, against in found.items():
        assert against.difference == pytest.approx(errors["versions"] - errors[name], rel=1e-4)
        assert against.interval[0] < against.difference < against.interval[1]
    assert found["simulated"] == result.arms["versions"].against
    with pytest.raises(UserError, match="no test errors of the arm 'fda'"):
        compare_arms(runs, "fda")
