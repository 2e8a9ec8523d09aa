"""The verdict: which training set to use, from errors where there are labels, else from realism and displacement."""

from __future__ import annotations

import pytest

from synthreal.evaluation.verdict import CLOSE, verdict
from synthreal.results import schema
from synthreal.results.schema import Against, Arm, Displacement, Evaluation, Metric, Quality

DIAGONAL = 100.0  # px, so that 1.5 px of displacement weigh as much as the distance of the simulator


def by_errors(errors, intervals, moved_px=0.1):
    """The verdict on errors of arms, and intervals of their differences from simulated."""
    arms = {
        arm: Arm(
            metrics={"error_px": Metric(mean=error)},
            against=Against(difference=error - errors["simulated"], interval=intervals[arm], p=0.01)
            if arm in intervals
            else None,
        )
        for arm, error in errors.items()
    }
    moved = Displacement(mean_px=moved_px, p95_px=moved_px, unmatched=0.0, control_px=2.0, n=100)
    return verdict(
        Evaluation(
            runs=("run",),
            split="test",
            test=schema.TestSet(name="mine", n=100),
            preservation=None,
            displacement=moved,
            constant={"error_px": 20.0},
            primary="error_px",
            arms=arms,
        ),
        DIAGONAL,
    )


def by_quality(**arms):
    """The verdict on the shares of the simulator's distance that are left, and displacements px."""
    quality = {
        arm.replace("_", "-"): Quality(kid=share, sliced_wasserstein=share, spectrum=share, displacement_px=moved_px)
        for arm, (share, moved_px) in {"simulated": (1.0, 0.0), **arms}.items()
    }
    return verdict(
        Evaluation(
            runs=("run",),
            split="test",
            test=None,
            preservation=None,
            constant={},
            primary="",
            arms={},
            quality=quality,
        ),
        DIAGONAL,
    )


BETTER, UNCLEAR, WORSE = (-4.0, -1.0), (-1.0, 1.0), (1.0, 4.0)


@pytest.mark.parametrize(
    ("errors", "intervals", "moved_px", "use", "arm"),
    [
        ({"refined": 7.0, "fda": 8.0}, {"refined": BETTER, "fda": BETTER}, 0.1, "refined", "refined"),
        ({"refined": 8.5, "fda": 7.0}, {"refined": BETTER, "fda": BETTER}, 0.1, "style", "fda"),
        ({"refined": 7.0 * CLOSE, "fda": 7.0}, {"refined": BETTER, "fda": BETTER}, 0.1, "refined", "refined"),
        ({"refined": 7.0, "fda": 8.0}, {"refined": UNCLEAR, "fda": BETTER}, 0.1, "style", "fda"),
        ({"refined": 9.9, "fda": 9.8}, {"refined": UNCLEAR, "fda": UNCLEAR}, 3.0, "nothing", "simulated"),
        ({"refined": 12.0, "fda": 9.8}, {"refined": WORSE, "fda": UNCLEAR}, 3.0, "drift", "simulated"),
        ({"refined": 12.0, "fda": 9.8}, {"refined": WORSE, "fda": UNCLEAR}, 0.1, "nothing", "simulated"),
        ({"refined": 12.0, "fda": 7.0}, {"refined": WORSE, "fda": BETTER}, 3.0, "style", "fda"),
        ({"mixed": 7.0, "refined": 9.0}, {"mixed": BETTER, "refined": BETTER}, 0.1, "refined", "refined"),
    ],
)
def test_labelled_images_decide_by_error_and_interval(errors, intervals, moved_px, use, arm):
    found = by_errors({"simulated": 10.0, **errors}, intervals, moved_px)
    assert (found.use, found.arm, found.labelled) == (use, arm, True)
    assert found.scores["simulated"] == 10.0 and f"{errors['refined']:.2f}" in found.sentence
    assert ("no training set is better than the simulated images with 95 %" in found.sentence) == (use == "nothing")


@pytest.mark.parametrize(
    ("arms", "use", "arm"),
    [
        ({"refined": (0.4, 0.1), "fda": (0.6, 0.1)}, "refined", "refined"),
        ({"refined": (0.6, 0.1), "fda": (0.4, 0.1)}, "style", "fda"),
        ({"refined": (0.4, 0.1), "histogram": (0.1, 0.0), "pixel_distribution": (0.1, 0.0)}, "refined", "refined"),
        ({"refined": (0.4, 1.0), "fda": (0.6, 0.1)}, "style", "fda"),  # it moves content too much
        ({"refined": (0.4, 1.0), "fda": (1.2, 0.1)}, "drift", "simulated"),
        ({"refined": (0.95, 0.0), "fda": (1.2, 0.1)}, "nothing", "simulated"),
        ({"refined": (0.4, None)}, "refined", "refined"),  # displacement cannot be measured
    ],
)
def test_without_labels_realism_and_displacement_decide(arms, use, arm):
    found = by_quality(**arms)
    assert (found.use, found.arm, found.labelled) == (use, arm, False)
    assert "40%" in found.sentence or use != "refined"


def test_there_is_no_verdict_without_a_comparison():
    assert by_errors({"simulated": 10.0}, {}) is None
    assert by_errors({"simulated": 10.0, "mixed": 5.0}, {"mixed": BETTER}) is None
    assert by_quality() is None
