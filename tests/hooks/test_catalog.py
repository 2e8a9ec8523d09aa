"""An immutable catalog: who gave what, and what is told about a name that is not there."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest
from quick import TOY
from toy import TOY as RECIPE

from synthreal.config import ComponentConfig
from synthreal.errors import UserError
from synthreal.hooks.catalog import Catalog


def test_the_core_enters_by_the_public_door():
    catalog = Catalog.of(())
    assert [origin.plugin for origin in catalog.origins] == ["synthreal"]
    assert {key for key in catalog.networks} == {
        ("refiner", "resnet"),
        ("discriminator", "local"),
        ("discriminator", "global"),
    }
    assert set(catalog.features) == {"identity", "gradients", "channel-mean", "blur", "laplacian", "learned"}
    assert {name for name, _ in catalog.datasets} == {"folder", "pack"}
    assert (catalog.evaluators, catalog.recipes) == ({}, {})


def test_a_file_is_a_plugin_and_all_five_hooks_are_heard(toy):
    assert toy.dataset("discs").role == "simulated"
    assert toy.dataset("photographs").role == "real"
    assert toy.dataset("photographs", "test").labels[0].name == "centre"
    assert toy.network("refiner", "tint").part == "refiner"
    assert toy.feature("halves").name == "halves"
    assert toy.evaluator("pointer").primary == "error_px"
    assert toy.recipe("toy").schedule == RECIPE.schedule
    origin = toy.datasets["discs", "simulated"].origin
    assert (origin.plugin, origin.distribution) == (str(TOY), "toy.py")
    assert origin.version.startswith("sha256:") and len(origin.version) == 71


def test_a_catalog_is_frozen(toy):
    with pytest.raises(FrozenInstanceError):
        toy.features = {}
    with pytest.raises(TypeError):
        toy.features["mine"] = None
    assert Catalog.of([str(TOY)]) is not toy  # made anew each call


def test_a_clash_names_both_distributions(tmp_path):
    other = tmp_path / "domain.py"
    other.write_text(
        "from synthreal import *\n"
        "@hookimpl\ndef synthreal_features():\n    yield FeatureSpec(name='halves', build=None)\n"
    )
    with pytest.raises(UserError, match=r"features: halves is registered by both toy\.py and domain\.py; rename one"):
        Catalog.of([str(TOY), str(other)])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda c: c.dataset("disks"),
            r"data set 'disks' is not registered by synthreal, .*toy\.py; did you mean 'discs'",
        ),
        (lambda c: c.dataset("discs", "test"), "data set 'discs' has no role test; it has simulated"),
        (lambda c: c.network("refiner", "local"), "refiner 'local' is not registered .* known: resnet, tint"),
        (lambda c: c.network("discriminator", "lokal"), "did you mean 'local'"),
        (lambda c: c.feature("blurr"), "features 'blurr' .*did you mean 'blur'.*install or name the plugin"),
        (lambda c: c.evaluator("gaze"), "evaluator 'gaze' .*known: pointer"),
        (lambda c: c.recipe("gaze"), "recipe 'gaze' .*known: toy"),
    ],
)
def test_a_missing_name_lists_what_there_is(toy, call, message):
    with pytest.raises(UserError, match=message) as error:
        call(toy)
    assert "\n" not in str(error.value)


def test_the_recipe_named_like_the_plugin_is_its_default_else_the_first(tmp_path, monkeypatch):
    body = TOY.read_text().replace('return {"toy": TOY}', 'return {"first": TOY, "byname": TOY}')
    (tmp_path / "synthreal_byname.py").write_text(body)
    monkeypatch.syspath_prepend(tmp_path)
    assert Catalog.of(["byname"]).recipe().recipe == "byname"
    file = tmp_path / "file.py"
    file.write_text(body)
    assert Catalog.of([str(file)]).recipe().recipe == "first"
    assert Catalog.of([str(file)]).recipe("byname").plugins == (str(file),)
    with pytest.raises(UserError, match="no recipe: nothing loaded"):
        Catalog.of([]).recipe()


def test_options_are_checked_where_a_network_is_built(toy):
    with pytest.raises(
        UserError, match=r"refiner\.options\.widht: no such setting; did you mean refiner\.options\.width"
    ):
        toy.build_network("refiner", ComponentConfig(name="resnet", options={"widht": 3}), RECIPE.image)
    with pytest.raises(UserError, match=r"refiner\.options\.blocks: Input should be greater than or equal to 1, got 0"):
        toy.build_network("refiner", ComponentConfig(name="resnet", options={"blocks": 0}), RECIPE.image)
    with pytest.raises(UserError, match=r"refiner\.options\.size: no such setting; known here: none"):
        toy.build_network("refiner", ComponentConfig(name="tint", options={"size": 0}), RECIPE.image)
