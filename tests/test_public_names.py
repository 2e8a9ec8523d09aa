"""The public names of every package. To change this list is to change the interface."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

import synthreal

REFERENCE = Path(__file__).resolve().parent.parent / "docs/reference"
NAMES = {
    "synthreal": """
        Batch Catalog DatasetSpec EvaluatorSpec FeatureSpec ImageSpec LabelSpec NetworkSpec Options Refine Sample
        Skipped UserError configure evaluate fit hookimpl prepare refine_bulk steps
    """,
    "synthreal.check": "Check Contents check_sets",
    "synthreal.config": """
        AdamConfig AugmentConfig ComponentConfig DataConfig EvaluationConfig FDAConfig FeatureConfig HistogramConfig
        HistoryConfig LossConfig OptimizerConfig PixelDistributionConfig QualityConfig ResolvedConfig RunConfig
        RuntimeConfig SGDConfig ScheduleConfig SourceConfig
    """,
    "synthreal.core": "update_discriminator update_refiner",
    "synthreal.data": "Pack Resident read_matlab write_pack",
    "synthreal.device": "ProcessSettings configure_process",
    "synthreal.evaluation": "Task ablate compare_arms label_free_verdict match_labels read_evaluations train",
    "synthreal.hooks": "plugin_manager",
    "synthreal.metrics": """
        DisplacementField annotation_drift displacement_field kid random_features realism sliced_wasserstein
        spectrum_distance two_sample_test
    """,
    "synthreal.report": "write_report",
    "synthreal.testing": "DomainError Outcome check_domain domain_tests",
    "synthreal.train": "Report build_game open_stream save_sheet",
}


@pytest.mark.parametrize("package", NAMES)
def test_the_inventory(package):
    module, names = importlib.import_module(package), NAMES[package].split()
    assert sorted(module.__all__) == sorted(names)
    for name in names:
        thing = getattr(module, name)
        assert type(thing).__module__.startswith("pluggy") or thing.__name__ == name
        assert thing.__module__.startswith(("synthreal.", "pluggy.")) and (thing.__doc__ or "").strip(), name


def test_the_top_level_is_small_and_every_name_has_its_home():
    assert len(synthreal.__all__) <= 20
    for name, home in synthreal._HOME.items():
        assert getattr(synthreal, name) is getattr(importlib.import_module(home), name)


def test_type_checkers_see_the_same_names_from_the_same_homes():
    tree = ast.parse(Path(synthreal.__file__).read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    seen = {}
    for node in block.body:
        assert isinstance(node, ast.ImportFrom)
        for alias in node.names:
            assert alias.asname == alias.name, "an explicit re-export"
            seen[alias.name] = node.module
    assert seen == synthreal._HOME


def test_every_name_is_in_the_reference():
    pages = "\n".join(path.read_text(encoding="utf-8") for path in REFERENCE.glob("*.md"))
    shown = [line.removeprefix("::: ") for line in pages.splitlines() if line.startswith("::: ")]
    public = {f"{package}.{name}" for package, names in NAMES.items() for name in names.split()}
    assert len(shown) == len(set(shown))
    assert {name for name in shown if not name.startswith("synthreal.adapters.")} == public


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match="module 'synthreal' has no attribute 'nothing'"):
        synthreal.nothing  # noqa: B018
    with pytest.raises(ImportError):
        exec("from synthreal import nothing")


def test_star_import_brings_them_all():
    space = {}
    exec("from synthreal import *", space)
    assert set(synthreal.__all__) <= space.keys()
