"""What the face promises: the inventory, checked in, so that a name comes or goes on purpose."""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path

import pytest

import synthreal

NAMES = """
AdamConfig AugmentConfig Batch Catalog ComponentConfig DataConfig DatasetSpec EvaluationConfig EvaluatorSpec
FDAConfig FeatureConfig FeatureSpec HistogramConfig HistoryConfig ImageSpec LabelSpec LossConfig NetworkSpec
OptimizerConfig Options Pack PixelDistributionConfig QualityConfig Refine Report RunConfig RuntimeConfig
SGDConfig Sample ScheduleConfig Skipped SourceConfig UserError ablate annotation_drift build_game configure
evaluate export_onnx fit hookimpl kid open_stream plugin_manager prepare random_features realism refine_bulk
report save_sheet settle sliced_wasserstein spectrum_distance steps two_sample_test
update_discriminator update_refiner write_pack
""".split()


def test_the_inventory():
    assert sorted(synthreal.__all__) == sorted(NAMES)
    assert len(set(synthreal.__all__)) == len(synthreal.__all__)


@pytest.mark.parametrize("name", NAMES)
def test_every_name_resolves_to_the_thing_of_that_name_and_says_what_it_is(name):
    thing = getattr(synthreal, name)
    home = importlib.import_module(synthreal._HOME[name])
    assert thing is getattr(home, name)
    if inspect.isclass(thing) or inspect.isfunction(thing):
        assert thing.__name__ == name
        assert thing.__module__.startswith("synthreal.")
        assert (thing.__doc__ or "").strip()


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


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match="module 'synthreal' has no attribute 'nothing'"):
        synthreal.nothing  # noqa: B018
    with pytest.raises(ImportError):
        from synthreal import Nothing  # noqa: F401


def test_star_import_brings_them_all():
    space = {}
    exec("from synthreal import *", space)
    assert set(NAMES) <= space.keys()
