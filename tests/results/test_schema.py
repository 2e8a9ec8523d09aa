"""The models write the files as they were written before there were models: the same keys in the same order."""

from __future__ import annotations

import json
from pathlib import Path

from synthreal.results.schema import Ablation, Combination, Evaluation
from synthreal.results.tables import displacement_table

HERE = Path(__file__).parent


def test_an_evaluation_is_written_as_it_was_read():
    text = (HERE / "evaluation.json").read_text()
    evaluation = Evaluation.model_validate(json.loads(text))
    assert json.dumps(evaluation.to_json(), indent=2) + "\n" == text


def test_a_task_without_detector_or_curve_has_an_empty_table_and_no_curve():
    tree = json.loads((HERE / "evaluation.json").read_text())
    for arm in tree["arms"].values():
        del arm["curve"]
    tree["preservation"] = {}
    assert json.dumps(Evaluation.model_validate(tree).to_json()) == json.dumps(tree)


def test_files_of_earlier_versions_without_causes_of_error_are_read():
    tree = json.loads((HERE / "evaluation.json").read_text())
    assert list(tree.pop("calibration")) == list(tree["arms"]) and tree.pop("confusion") == {}
    found = Evaluation.model_validate(tree)
    assert found.calibration == found.confusion == {}


def test_an_ablation_is_written_as_before():
    text = (HERE / "ablation.json").read_text()
    tree = json.loads(text)
    rows = [
        Combination(
            settings=row["settings"],
            picture=row["picture"],
            reports=row["looks"],
            evaluation=Evaluation.model_validate(row),
        )
        for row in tree["rows"]
    ]
    ablation = Ablation(**{**tree, "rows": rows})
    assert json.dumps(ablation.to_json(), indent=2) + "\n" == text


def test_a_displacement_is_read_back():
    tree = json.loads((HERE / "evaluation.json").read_text())
    tree["displacement"] = {"mean_px": None, "p95_px": None, "unmatched": 1.0, "control_px": 2.0, "n": 3}
    evaluation = Evaluation.model_validate(tree)
    assert evaluation.to_json()["displacement"] == tree["displacement"]
    assert "100.0%" in str(displacement_table(evaluation))
