"""The tables of an evaluation hold its numbers, and notes that explain them."""

from __future__ import annotations

import pytest

from synthreal.results.schema import Ablation, Evaluation
from synthreal.results.tables import (
    ablation_table,
    arms_table,
    calibration_table,
    confusion_table,
    displacement_table,
    evaluation_tables,
    preservation_table,
    quality_table,
)

AGAINST = {"difference": -1.0, "interval": [-1.5, -0.5], "p": 1e-9}
PRESERVATION = {
    "shift_px": {"mean": 0.18, "std": 0.321}, "detector_error_px": 0.37, "control_px": 1.98, "change": 0.103, "n": 3000,
}  # fmt: skip
DISPLACEMENT = {"mean_px": 0.314, "p95_px": 0.8, "unmatched": 0.25, "control_px": 1.98, "n": 100}
QUALITY = {
    "simulated": {"kid": 0.4, "two_sample": {"accuracy": 1.0, "correct": 500, "total": 500, "p": 3.1e-151}},
    "refined": {"kid": -0.0312, "kid_estimator": 0.25, "drift": {"error_px": 1.5, "within_1px": 40.0}},
    "real": {},
}


def evaluation(std=None, **changes):
    seeds = [{"refiner_seed": 0, "estimator_seed": seed, "value": 4.0} for seed in range(1 if std is None else 3)]
    arms = {
        "simulated": {"within_1px": {"mean": 20.0}, "error_px": {"mean": 4.0, "std": std, "seeds": seeds}},
        "refined": {"within_1px": {"mean": 30.0}, "error_px": {"mean": 3.0, "std": std}, "against_simulated": AGAINST},
    }
    tree = {
        "runs": ["run"], "split": "test", "test": {"name": "photographs", "n": 1500}, "preservation": PRESERVATION,
        "constant": {"within_1px": 1.0, "error_px": 3.5}, "primary": "error_px", "arms": arms,
    }  # fmt: skip
    return Evaluation.model_validate({**tree, **changes})


def test_the_arms_with_the_primary_metric_first():
    table = arms_table(evaluation(std=0.25))
    assert "1,500 real images (photographs, test)" in table.title
    assert table.columns == ("trained on", "error_px", "within_1px", "against simulated", "p")
    assert table.rows == (
        ("simulated", "4.00 ± 0.25", "20.00", "", ""),
        ("refined", "3.00 ± 0.25", "30.00", "-25 % (-38 to -12)", "1.0e-09"),
        ("constant", "3.50", "1.00", "", ""),
    )
    assert table.notes[-1].endswith("a constant answer is better: simulated.")


def test_arms_that_are_better_than_a_constant_answer_are_not_called_useless():
    table = arms_table(evaluation(constant={"within_1px": 1.0, "error_px": 9.0}))
    assert not any("Useless" in note for note in table.notes)


@pytest.mark.parametrize(("std", "several"), [(None, False), (0.25, True)])
def test_the_note_explains_the_interval_and_p(std, several):
    text = " ".join(arms_table(evaluation(std)).notes)
    assert "mean difference in error_px" in text and "the two can disagree" in text
    assert ("over images and trainings" in text) == ("over 3 trainings" in text) == several


def test_offset_and_scatter_with_the_error_after_calibration_once_for_each_arm():
    pitch = {"offset": [-2.0], "slope": [0.5], "scatter": [3.0]}
    joints = {"offset": [3.0, -5.0], "slope": [0.5, None], "scatter": [0.0, 2.0]}
    still = {"offset": [0.0], "slope": [None], "scatter": [1.0]}
    found = {
        "simulated": {"quantities": {"pitch_deg": pitch, "x_px": joints}, "images": 9, "error": 2.0, "std": 0.5},
        "refined": {"quantities": {"pitch_deg": still}, "images": 9, "error": 3.0},
    }
    table = calibration_table(evaluation(calibration=found))
    assert table.columns == ("trained on", "quantity", "offset", "slope", "scatter", "error_px", "with 9 labelled")
    assert table.rows == (
        ("simulated", "pitch_deg", "-2.00", "0.50", "3.00", "4.00", "2.00 ± 0.50 (-50 %)"),
        ("simulated", "x_px", "4.12", "0.50", "1.41", "", ""),
        ("refined", "pitch_deg", "+0.00", "-", "1.00", "3.00", "3.00 (+0 %)"),
    )
    assert "root mean squares" in table.notes[0] and table in evaluation_tables(evaluation(calibration=found))
    alone = {arm: {"quantities": {"pitch_deg": pitch}} for arm in ("simulated", "refined")}
    table = calibration_table(evaluation(calibration=alone))
    assert table.columns[-1] == "error_px" and "root mean squares" not in table.notes[0]
    assert calibration_table(evaluation()) is None


def test_quality_without_labels():
    table = quality_table(evaluation(quality=QUALITY))
    assert table.columns == ("images", "KID", "KID est", "C2ST", "p", "drift")
    assert table.rows == (
        ("simulated", "0.400", "-", "100.0 %", "3.1e-151", "-"),
        ("refined", "-0.031", "0.250", "-", "-", "1.50"),
        ("real", "-", "-", "-", "-", "-"),
    )
    assert "50 % is chance" in table.notes[0] and "error_px" in table.notes[0]
    for nothing in ({}, {"refined": {}}):
        assert quality_table(evaluation(quality=nothing)) is None


def test_label_preservation():
    table = preservation_table(evaluation())
    assert [value for _, value in table.rows] == ["0.18 ± 0.32 px", "0.37 px", "1.98 px", "0.103", "3,000"]
    assert table.notes == ()
    undetected = preservation_table(evaluation(preservation={**PRESERVATION, "detector_error_px": None}))
    assert len(undetected.rows) == 4
    misread = preservation_table(evaluation(preservation={**PRESERVATION, "control_px": 1.2}))
    assert "do not trust" in misread.notes[0]


def test_displacement_of_content():
    table = displacement_table(evaluation(displacement=DISPLACEMENT))
    assert [value for _, value in table.rows] == ["0.31 px", "0.80 px", "25.0%", "1.98 px", "100"]
    assert table.notes == () and displacement_table(evaluation()) is None
    for control_px, trusted in ((1.81, True), (2.19, True), (1.79, False), (2.21, False)):
        notes = displacement_table(evaluation(displacement={**DISPLACEMENT, "control_px": control_px})).notes
        assert ["do not trust" in note for note in notes] == ([] if trusted else [True])
    assert preservation_table(evaluation(preservation={})) is None


def test_tables_without_content_are_left_out():
    found = evaluation_tables(evaluation(quality=QUALITY))
    assert [table.columns[0] for table in found] == ["trained on", "images", "measure"]
    assert [table.columns[0] for table in evaluation_tables(evaluation(preservation={}))] == ["trained on"]


def test_an_ablation_has_a_row_for_every_combination():
    rows = [
        {"settings": {"loss.weight": weight}, "picture": "", "reports": [None, None], "evaluation": found}
        for weight, found in (("1", evaluation()), ("2", evaluation(preservation={})))
    ]
    table = ablation_table(
        Ablation(recipe="toy", over=(), seeds=2, split="test", primary="error_px", rule=None, rows=rows)
    )
    assert table.title.startswith("toy, 2 runs each")
    assert table.columns == ("loss.weight", "simulated", "refined", "difference", "p", "shift, px", "change")
    assert table.rows == (
        ("1", "4.00", "3.00", "-25 % (-38 to -12)", "1.0e-09", "0.18", "0.103"),
        ("2", "4.00", "3.00", "-25 % (-38 to -12)", "1.0e-09", "-", "-"),
    )


def test_errors_by_class_with_the_most_frequent_wrong_answer():
    """A column for each arm, because there are more classes than arms."""
    counts = {"simulated": ((6, 1, 3), (0, 10, 0), (0, 0, 0)), "refined": ((5, 5, 0), (0, 8, 0), (0, 0, 0))}
    table = confusion_table(evaluation(confusion={arm: {"counts": found} for arm, found in counts.items()}))
    assert table.columns == ("class", "simulated", "refined")
    assert table.rows == (("0", "40 (2)", "50 (1)"), ("1", "0", "0"), ("2", "-", "-"))
    assert confusion_table(evaluation()) is None


def test_the_errors_by_class_show_the_names_of_classes_that_have_one():
    counts = {"simulated": {"counts": ((3, 0, 2), (0, 4, 0), (1, 0, 0))}}
    table = confusion_table(evaluation(confusion=counts, classes=("stop", "yield")))
    assert table.rows == (("stop", "40 (2)"), ("yield", "0"), ("2", "100 (stop)"))
