"""The sentence about the saved weights, from the files of a run."""

from __future__ import annotations

import json
import shutil

import pytest
from run_log import edit_log

from synthreal.errors import UserError
from synthreal.train.best import describe_best


@pytest.fixture
def run(toy_run, tmp_path):
    """A run that saved the weights of step 11, halfway to the real images."""
    run = shutil.copytree(toy_run, tmp_path / "run")
    distances = {"kid": 0.4, "sliced_wasserstein": 0.6, "spectrum": 0.0}
    (run / "quality.json").write_text(json.dumps({"simulated": distances}))
    set_quality(run, kid=0.2, sliced_wasserstein=0.3, shift_px=0.25)
    return run


def set_quality(run, **values):
    edit_log(run, lambda line: line["quality"].update(values) if line["step"] == 11 else None)


def test_the_share_of_the_distance_and_the_displacement_are_named(run):
    assert describe_best(run) == (
        "50% of the distance between simulated and real images is left after refining; "
        "content moved by 0.25 px on average"
    )
    set_quality(run, kid=0.1, shift_px=None)
    assert describe_best(run).startswith("38% ") and describe_best(run).endswith("; not measured how far content moved")


@pytest.mark.parametrize("content", [None, {}, {"simulated": {}}, {"simulated": {"kid": -1e-4, "other": 2.0}}])
def test_without_the_distances_of_simulated_images_nothing_is_claimed(run, content):
    (run / "quality.json").unlink()
    if content is not None:
        (run / "quality.json").write_text(json.dumps(content))
    assert describe_best(run).endswith("the quality of the saved weights is not recorded")


def test_weights_that_were_not_measured(run):
    edit_log(run, lambda line: line.pop("quality", None))
    assert describe_best(run).endswith("the quality of the saved weights is not recorded")


def test_a_damaged_quality_file_is_one_line(run):
    for content in (b"[]", b"\xff", b'{"simulated": []}', b'{"simulated": {"kid": null}}'):
        (run / "quality.json").write_bytes(content)
        with pytest.raises(UserError, match=r"run/quality\.json: damaged .*delete it"):
            describe_best(run)
