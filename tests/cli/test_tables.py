"""The tables of an evaluation in the terminal."""

from __future__ import annotations

import io

from rich.console import Console

from synthreal.cli.tables import evaluation_text, plugins_table
from synthreal.results.schema import Evaluation

QUALITY = {
    "kid": 0.123, "kid_estimator": 0.2, "sliced_wasserstein": 0.3, "spectrum": 12.3, "drift": {"error_px": 1.25},
    "two_sample": {"accuracy": 0.954, "correct": 477, "total": 500, "p": 1e-110},
}  # fmt: skip


def test_an_evaluation_fits_80_columns():
    metrics = {"error_px": {"mean": 12.34, "std": 1.25}, "within_5px": {"mean": 47.5, "std": 1.25}}
    against = {"difference": -3.1, "interval": [-4, -2], "p": 1e-110}
    tree = {
        "runs": ["run"],
        "split": "validation",
        "test": {"name": "photographs", "n": 15},
        "primary": "error_px",
        "arms": {"simulated": metrics, "pixel-distribution": {**metrics, "against_simulated": against}},
        "constant": {"error_px": 20, "within_5px": 1},
        "preservation": {},
        "warnings": ["[3] unreadable"],
        "quality": {"pixel-distribution": QUALITY},
    }
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(evaluation_text(Evaluation.model_validate(tree)))
    lines = console.export_text().splitlines()
    arm, quality = (line.split() for line in lines if "pixel-distribution" in line)
    assert " ".join(arm[1:]) == "12.34 ± 1.25 47.50 ± 1.25 -25 % (-32 to -16) 1.0e-110"
    assert " ".join(quality[1:]) == "0.123 0.200 0.300 12.300 95.4 % 1.0e-110 1.25"
    assert lines[0].strip() == "warning: [3] unreadable"


def test_brackets_in_the_error_of_a_plugin_are_shown():
    error = "does not load: pip install 'eyes[web]' [/nowhere]"
    row = {"plugin": "eyes", "distribution": "eyes", "version": "1", "registers": {}, "error": error}
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(plugins_table([row]))
    assert error in console.export_text()
