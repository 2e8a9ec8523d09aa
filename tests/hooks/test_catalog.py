"""The catalog: which plugin registers what, and the errors of hooks and unknown names."""

from __future__ import annotations

import re
from dataclasses import FrozenInstanceError

import pytest
from quick import TOY
from toy import TOY as RECIPE

from synthreal.config import ComponentConfig
from synthreal.errors import UserError
from synthreal.hooks.catalog import Catalog


def test_the_built_ins_are_registered_by_the_same_hooks():
    catalog = Catalog.of(())
    assert [origin.plugin for origin in catalog.origins] == ["synthreal"]
    assert {key for key in catalog.networks} == {
        ("refiner", "resnet"),
        ("discriminator", "local"),
        ("discriminator", "global"),
    }
    assert set(catalog.features) == {"identity", "gradients", "channel-mean", "blur", "laplacian", "learned"}
    assert {name for name, _ in catalog.datasets} == {"folder", "pictures", "pack"}
    assert set(catalog.evaluators) == {"classification", "regression"}
    assert catalog.recipes == {}


def test_a_file_is_a_plugin_and_all_five_hooks_are_called(toy):
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
    assert Catalog.of([str(TOY)]) is not toy


def test_a_clash_names_both_distributions(tmp_path):
    other = tmp_path / "domain.py"
    other.write_text(
        "from synthreal import *\n"
        "@hookimpl\ndef synthreal_features():\n    yield FeatureSpec(name='halves', build=None)\n"
    )
    with pytest.raises(UserError, match=r"features: halves is registered by both toy\.py and domain\.py; rename one"):
        Catalog.of([str(TOY), str(other)])


def test_a_missing_name_lists_the_known_ones(toy):
    for call, message in [
        (
            lambda c: c.dataset("disks"),
            r"data set 'disks' is not registered by synthreal, .*toy\.py; did you mean 'discs'",
        ),
        (lambda c: c.dataset("discs", "test"), "data set 'discs' has no role test; it has simulated"),
        (lambda c: c.network("refiner", "local"), "refiner 'local' is not registered .* known: resnet, tint"),
        (lambda c: c.network("discriminator", "lokal"), "did you mean 'local'"),
        (lambda c: c.feature("blurr"), "features 'blurr' .*did you mean 'blur'.*install or name the plugin"),
        (lambda c: c.evaluator("gaze"), "evaluator 'gaze' .*known: classification, regression, pointer"),
        (lambda c: c.recipe("gaze"), "recipe 'gaze' .*known: toy"),
    ]:
        with pytest.raises(UserError, match=message):
            call(toy)


def test_the_recipe_named_like_the_plugin_is_its_default_else_the_first(tmp_path, monkeypatch):
    body = TOY.read_text().replace('return {"toy": TOY}', 'return {"first": TOY, "byname": TOY}')
    (tmp_path / "synthreal_byname.py").write_text(body)
    monkeypatch.syspath_prepend(tmp_path)
    assert Catalog.of(["byname"]).recipe().recipe == "byname"
    file = tmp_path / "file.py"
    file.write_text(body)
    assert Catalog.of([str(file)]).recipe().recipe == "first"
    assert Catalog.of([str(file)]).recipe("byname").plugins == (str(file),)
    with pytest.raises(UserError, match="no recipe in the loaded plugins"):
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


HEAD = """
import synthreal
from synthreal import *
from synthreal.config import *
from pydantic import BaseModel

IMAGE = ImageSpec(channels=1, height=4, width=4)
ANGLE = LabelSpec("angle", (1,), "rad")

def draw(options, n, generator):
    return None

def data(**change):
    return DatasetSpec(**{"name": "a", "role": "simulated", "image": IMAGE, "render": draw, **change})

def judge(**change):
    return EvaluatorSpec(**{"name": "e", "requires": (ANGLE,), "build": draw, "loss": draw, "metrics": draw,
                            "primary": "x", **change})
"""

CASES = {
    "datasets: return 'renders'": "synthreal_datasets() contains a str; return DatasetSpecs",
    "datasets: return ['renders']": "synthreal_datasets() contains a str; return DatasetSpecs",
    "datasets: return [ANGLE]": "contains a LabelSpec; return DatasetSpecs",
    "datasets: return None": "synthreal_datasets(): .*NoneType.*; return DatasetSpecs",
    "datasets: return data()": "return DatasetSpecs",
    "datasets: return [data(labels=ANGLE)]": "data set 'a': labels is LabelSpec(.*give a tuple of LabelSpecs",
    "datasets: return [data(image='needle')]": "data set 'a': image is 'needle'; give an ImageSpec",
    "datasets: return [data(options={})]": "data set 'a': options is {}; give a subclass of synthreal.Options",
    "datasets: return [data(render='draw')]": "data set 'a': read and render are functions, not 'draw'",
    "datasets: return [data(labels=(LabelSpec('b', 1, 'rad'),))]": "LabelSpec 'b': shape is 1; write it as (1,)",
    "evaluators: return [judge(requires=ANGLE)]": "evaluator 'e': requires is .*give a tuple of LabelSpecs",
    "evaluators: return [judge(options=3)]": "evaluator 'e': options is 3",
    "networks: return [NetworkSpec(name='n', part='generator', build=draw)]": "part 'generator' is not one of",
    "networks: return [NetworkSpec(name='n', part='refiner', build=draw, options=3)]": "network 'n': options is 3",
    "features: return [FeatureSpec(name='f', build=draw, options=3)]": "psi 'f': options is 3",
    "recipes: return []": "synthreal_recipes() returns a list; return a mapping of names to RunConfigs",
    "recipes: return {'r': {}}": "synthreal_recipes() contains a dict; return a mapping of names to RunConfigs",
    "recipes: return RunConfig(data=DataConfig(simulated='a', real='a'))": "return a mapping of names to RunConfigs",
    "recipes: return {'r': EvaluationConfig(image=40)}": "EvaluationConfig.image: no such setting; did you .*images",
}


def test_a_hook_that_returns_the_wrong_thing_is_named(tmp_path):
    for number, (case, expected) in enumerate(CASES.items()):
        kind, body = case.split(": ", 1)
        path = tmp_path / f"domain{number}.py"
        path.write_text(f"{HEAD}\n@synthreal.hookimpl\ndef synthreal_{kind}():\n    {body}\n")
        with pytest.raises(UserError) as error:
            Catalog.of([str(path)])
        assert "\n" not in str(error.value)
        assert re.search(".*".join(map(re.escape, expected.split(".*"))), str(error.value)), (case, str(error.value))


def test_lists_are_accepted_for_tuples(tmp_path):
    path = tmp_path / "domain.py"
    body = "return [data(labels=[LabelSpec('b', [2, 3], 'rad')])]"
    path.write_text(f"{HEAD}\n@synthreal.hookimpl\ndef synthreal_datasets():\n    {body}\n")
    (label,) = Catalog.of([str(path)]).dataset("a", "simulated").labels
    assert label.shape == (2, 3)
