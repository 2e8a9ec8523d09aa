"""The configuration: frozen, written to TOML and back, and every setting has an effect."""

from __future__ import annotations

import json
import shutil
import types
import typing
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import torch
from PIL import Image
from pydantic import BaseModel, ValidationError
from quick import configured, files, fit_toy, weights
from toy import TOY as RECIPE

from synthreal import device as device_module
from synthreal.bulk.prepare import prepare
from synthreal.config import HistoryConfig, ResolvedConfig, RunConfig
from synthreal.data.pack import Pack
from synthreal.errors import UserError
from synthreal.evaluation.evaluate import evaluate
from synthreal.hooks.catalog import Catalog
from synthreal.hooks.resolve import resolve
from synthreal.train.build import build_game
from synthreal.train.sources import open_data

pytestmark = pytest.mark.usefixtures("short_two_sample_tests")


def models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return [annotation] if issubclass(annotation, BaseModel) else []
    return [model for part in typing.get_args(annotation) for model in models(part)]


def leaves(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """The dotted path of every setting; members of a union are told apart by their names."""
    for name, field in model.model_fields.items():
        path = f"{prefix}{name}"
        nested = models(field.annotation)
        if not nested:
            yield path
        for member in nested:
            union = f"{path}.{member.model_fields['name'].default}." if len(nested) > 1 else f"{path}."
            yield from leaves(member, union)


LEAVES = sorted(leaves(RunConfig))
SGD = 'optimizer.{}={{name="sgd", learning_rate=0.05}}'.format

UNSTABLE = ("quality.every=1", "optimizer.refiner.learning_rate=0.05", "optimizer.ema=none")
AUTO = (
    "FILES",
    "image={channels=1, height=24, width=32}",
    "optimizer.refiner.learning_rate=1e-4",
    "schedule.steps=14",
    "loss.weight=auto",
)

# How the effect of each setting is shown: (settings of the base run, the change, the method of Bench that differs).
CASES: dict[str, tuple[tuple[str, ...], str, str]] = {
    "recipe": ((), "recipe=other", "refused"),
    "plugins": ((), "plugins=[]", "refused"),
    "image": (("FILES",), "image={channels=1, height=10, width=9}", "packed"),
    "data.simulated.name": ((), 'data.simulated={name="pack", options={path="PACK"}}', "trained"),
    "data.simulated.options": ((), "data.simulated.options.radius=1.0", "trained"),
    "data.simulated.count": ((), "data.simulated.count=39", "trained"),
    "data.real.name": ((), 'data.real={name="folder", options={root="CROPS"}}', "trained"),
    "data.real.options": ((), "data.real.options.radius=1.0", "trained"),
    "data.real.count": ((), "data.real.count=29", "trained"),
    "data.real_labelled.name": ((), 'data.real_labelled={name="pack", options={path="PACK"}}', "evaluated"),
    "data.real_labelled.options": ((), "data.real_labelled.options.radius=1.0", "evaluated"),
    "data.real_labelled.count": ((), "data.real_labelled.count=25", "evaluated"),
    "data.validation.name": ((), 'data.validation={name="pack", options={path="PACK"}}', "validated"),
    "data.validation.options": ((), "data.validation.options.radius=1.0", "validated"),
    "data.validation.count": ((), "data.validation.count=9", "validated"),
    "data.test.name": ((), 'data.test={name="pack", options={path="PACK"}}', "evaluated"),
    "data.test.options": ((), "data.test.options.radius=1.0", "evaluated"),
    "data.test.count": ((), "data.test.count=9", "evaluated"),
    "refiner.name": ((), "refiner=tint", "trained"),
    "refiner.options": ((), "refiner.options.blocks=2", "trained"),
    "discriminator.name": ((), "discriminator.name=global", "trained"),
    "discriminator.options": ((), "discriminator.options.layers=[{maps=4, kernel=5, stride=2}]", "trained"),
    "features.name": ((), "features=gradients", "trained"),
    "features.options": ((), 'features={name="blur", options={sigma=2.0}}', "trained"),
    "features.weight": ((), 'features={name="identity", weight=2.0}', "trained"),
    "loss.weight": ((), "loss.weight=2.0", "trained"),
    "loss.drift_px": (AUTO, "loss.drift_px=100.0", "trained"),
    "loss.initial_weight": (AUTO, "loss.initial_weight=2.0", "trained"),
    "history.size": ((), "history.size=20", "trained"),
    "history.dtype": ((), "history.dtype=float32", "trained"),
    "schedule.refiner_steps": ((), "schedule.refiner_steps=2", "trained"),
    "schedule.discriminator_steps": ((), "schedule.discriminator_steps=1", "trained"),
    "schedule.steps": ((), "schedule.steps=5", "trained"),
    "schedule.refiner_updates": ((), "schedule.refiner_updates=1", "trained"),
    "schedule.discriminator_updates": ((), "schedule.discriminator_updates=2", "trained"),
    "schedule.batch": ((), "schedule.batch=10", "trained"),
    "schedule.patch": ((), "schedule.patch=8", "trained"),
    "schedule.report_every": ((), "schedule.report_every=2", "written"),
    "schedule.save_every": ((), "schedule.save_every=3", "written"),
    "schedule.sheet_every": ((), "schedule.sheet_every=5", "written"),
    "optimizer.refiner.sgd.name": ((), SGD("refiner"), "trained"),
    "optimizer.refiner.sgd.learning_rate": ((SGD("refiner"),), "optimizer.refiner.learning_rate=0.1", "trained"),
    "optimizer.refiner.sgd.momentum": ((SGD("refiner"),), "optimizer.refiner.momentum=0.5", "trained"),
    "optimizer.refiner.adam.name": ((SGD("refiner"),), "optimizer.refiner=adam", "trained"),
    "optimizer.refiner.adam.learning_rate": ((), "optimizer.refiner.learning_rate=0.01", "trained"),
    "optimizer.refiner.adam.beta1": ((), "optimizer.refiner.beta1=0.9", "trained"),
    "optimizer.refiner.adam.beta2": ((), "optimizer.refiner.beta2=0.9", "trained"),
    "optimizer.discriminator.sgd.name": ((), SGD("discriminator"), "trained"),
    "optimizer.discriminator.sgd.learning_rate": (
        (SGD("discriminator"),),
        "optimizer.discriminator.learning_rate=0.1",
        "trained",
    ),
    "optimizer.discriminator.sgd.momentum": (
        (SGD("discriminator"),),
        "optimizer.discriminator.momentum=0.5",
        "trained",
    ),
    "optimizer.discriminator.adam.name": ((SGD("discriminator"),), "optimizer.discriminator=adam", "trained"),
    "optimizer.discriminator.adam.learning_rate": ((), "optimizer.discriminator.learning_rate=0.01", "trained"),
    "optimizer.discriminator.adam.beta1": ((), "optimizer.discriminator.beta1=0.9", "trained"),
    "optimizer.discriminator.adam.beta2": ((), "optimizer.discriminator.beta2=0.9", "trained"),
    "optimizer.ema": ((), "optimizer.ema=none", "trained"),
    "evaluation.evaluator.name": ((), "evaluation.evaluator=none", "measured"),
    "evaluation.evaluator.options": ((), "evaluation.evaluator.options.width=3", "evaluated"),
    "evaluation.images": ((), "evaluation.images=20", "evaluated"),
    "evaluation.epochs": ((), "evaluation.epochs=3", "evaluated"),
    "evaluation.batch": ((), "evaluation.batch=7", "evaluated"),
    "evaluation.learning_rate": ((), "evaluation.learning_rate=0.1", "evaluated"),
    "evaluation.calibration": ((), "evaluation.calibration=3", "calibrated"),
    "evaluation.fda.beta": ((), "evaluation.fda.beta=0.3", "compared"),
    "evaluation.histogram.blend": ((), "evaluation.histogram.blend=0.5", "compared"),
    "evaluation.pixel_distribution.transform": ((), "evaluation.pixel_distribution.transform=minmax", "compared"),
    "evaluation.pixel_distribution.blend": ((), "evaluation.pixel_distribution.blend=0.5", "compared"),
    "evaluation.augment.blur_px": ((), "evaluation.augment.blur_px=3.0", "compared"),
    "evaluation.augment.noise": ((), "evaluation.augment.noise=0.3", "compared"),
    "evaluation.augment.brightness": ((), "evaluation.augment.brightness=0.6", "compared"),
    "evaluation.augment.contrast": ((), "evaluation.augment.contrast=0.9", "compared"),
    "quality.every": ((), "quality.every=2", "monitored"),
    "quality.images": ((), "quality.images=20", "monitored"),
    "quality.keep": (UNSTABLE, "quality.keep=last", "best_step"),
    "quality.patience": (UNSTABLE, "quality.patience=1", "monitored"),
    "runtime.seed": ((), "runtime.seed=1", "trained"),
    "runtime.device": ((), "runtime.device=cuda:63", "refused"),
    "runtime.precision": ((), "runtime.precision=bfloat16", "trained"),
    "runtime.micro_batch": ((), "runtime.micro_batch=3", "trained"),
    "runtime.layout": ((), "runtime.layout=channels_first", "built"),
    "runtime.compile": ((), "runtime.compile=true", "built"),
    "runtime.autotune": ((), "runtime.autotune=false", "process"),
    "runtime.keep_memory": ((), "runtime.keep_memory=false", "process"),
    "runtime.threads": ((), "runtime.threads=2", "process"),
    "runtime.resident_gib": (("FILES",), "runtime.resident_gib=0", "opened"),
}


@pytest.fixture(scope="module")
def bench(toy, tmp_path_factory, short_two_sample_tests):
    return Bench(toy, tmp_path_factory.mktemp("leaves"))


class Bench:
    """Fits a configuration and returns one of its results; results are cached."""

    def __init__(self, toy: Catalog, folder: Path) -> None:
        self.toy, self.folder, self.known = toy, folder, {}
        (folder / "crops").mkdir()
        for i in range(20):
            pixels = np.random.default_rng(i).integers(0, 99, (24, 32)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"crops/{i}.png")
        prepare(toy, "discs", folder / "a.h5", limit=30, seed=9)
        crops = f'{{name="folder", options={{root="{folder}/crops"}}}}'
        self.words = {"PACK": f"{folder}/a.h5", "CROPS": f"{folder}/crops"}
        off = [f"{key}=none" for key in ("data.real_labelled", "data.validation", "data.test", "evaluation.evaluator")]
        self.files = (f"data.simulated={crops}", f"data.real={crops}", *off)

    def result(self, method: str, *settings: str) -> Any:
        settings = tuple(one for setting in settings for one in (self.files if setting == "FILES" else (setting,)))
        for word, path in self.words.items():
            settings = tuple(setting.replace(word, path) for setting in settings)
        if (method, settings) not in self.known:
            self.known[method, settings] = getattr(self, method)(*settings)
        return self.known[method, settings]

    def run(self, *settings: str) -> Path:
        if ("run", settings) not in self.known:
            folder = self.folder / f"run{len(self.known)}"
            fit_toy(self.toy, folder, *settings)
            self.known["run", settings] = folder
        return self.known["run", settings]

    def trained(self, *settings: str) -> Any:
        return weights(self.run(*settings))

    def written(self, *settings: str) -> Any:
        run = self.run(*settings)
        return files(run), [json.loads(line)["step"] for line in (run / "log.jsonl").read_text().splitlines()]

    def monitored(self, *settings: str) -> Any:
        lines = map(json.loads, (self.run(*settings) / "log.jsonl").read_text().splitlines())
        return [(line["step"], line["quality"]["score"]) for line in lines if "quality" in line]

    def best_step(self, *settings: str) -> Any:
        with safetensors.safe_open(self.run(*settings) / "refiner.safetensors", framework="pt") as file:
            return file.metadata()["step"]

    def evaluated(self, *settings: str) -> Any:
        result = evaluate([self.run(*settings)])
        return result.arms, result.test.sha256

    def calibrated(self, *settings: str) -> Any:
        return evaluate([self.run(*settings)]).calibration

    def compared(self, *settings: str) -> Any:
        return evaluate([self.run(*settings)], arms=["fda", "histogram", "pixel-distribution", "augment"]).arms

    def validated(self, *settings: str) -> Any:
        return evaluate([self.run(*settings)], split="validation").test.sha256

    def measured(self, *settings: str) -> Any:
        return evaluate([self.run(*settings)]).primary

    def refused(self, *settings: str) -> Any:
        try:
            evaluate([self.run(*settings)])
        except UserError as error:
            return str(error).partition(" ")[0]
        return "accepted"

    def packed(self, *settings: str) -> Any:
        return Pack(self.run(*settings) / "data/real.h5").image

    def opened(self, *settings: str) -> Any:
        config = configured(self.toy, *settings)
        folder = self.folder / "opened"
        return type(open_data(config, self.toy, "real", device=torch.device("cpu"), run_dir=folder))

    def built(self, *settings: str) -> Any:
        config = resolve(configured(self.toy, *settings), self.toy)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # warnings of the compiler
            refiner = build_game(config, self.toy, torch.device("cpu")).refiner
        maps = refiner.stem(torch.rand(2, 1, 12, 16))
        return maps.is_contiguous(memory_format=torch.channels_last), refiner._compiled_call_impl is not None

    def process(self, *settings: str) -> Any:
        folder, retained, before = self.folder / "process", [], torch.backends.cudnn.benchmark
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(device_module, "keep_freed_memory", lambda: retained.append(True))
            fit_toy(self.toy, folder, *settings)
        shutil.rmtree(folder)
        state = torch.get_num_threads(), torch.backends.cudnn.benchmark, retained
        torch.backends.cudnn.benchmark = before
        return state


def test_every_setting_has_a_case():
    assert sorted(CASES) == LEAVES


@pytest.mark.parametrize("table", sorted({leaf.rpartition(".")[0] for leaf in LEAVES}))
def test_every_setting_has_an_effect(bench, table):
    without_effect = []
    for leaf, (base, change, method) in CASES.items():
        if leaf.rpartition(".")[0] == table and bench.result(method, *base) == bench.result(method, *base, change):
            without_effect.append(leaf)
    assert without_effect == []


def test_the_base_run_succeeds_and_is_repeatable(bench, toy, tmp_path):
    assert bench.result("refused") == "accepted"
    assert bench.result("refused", "runtime.device=cuda:63") == "device"
    assert bench.result("measured") == "error_px" and bench.result("measured", "evaluation.evaluator=none") == ""
    fit_toy(toy, tmp_path / "again")
    assert bench.result("trained") == weights(tmp_path / "again")
    assert isinstance(bench.result("evaluated"), tuple) and isinstance(bench.result("validated"), str)


def test_every_setting_is_described():
    def missing(model: type[BaseModel]) -> Iterator[str]:
        for name, field in model.model_fields.items():
            if not (field.description or "").endswith("."):
                yield f"{model.__name__}.{name}"
            for nested in models(field.annotation):
                yield from missing(nested)

    assert list(missing(RunConfig)) == []


ROUND_TRIPS = [
    (),
    ("history=none", "optimizer.ema=none"),
    ("data.test=none", "evaluation.evaluator=none", "runtime.threads=none"),
    ('optimizer.refiner={name="sgd", learning_rate=0.1}',),
    ('features=["identity", "gradients", {name="blur", weight=2, options={sigma=3}}]',),
    ("image={channels=1, height=12, width=16, background=0.5}",),
]


def test_a_configuration_is_written_to_toml_and_read_back(toy):
    for settings in ROUND_TRIPS:
        config = configured(toy, *settings)
        assert ResolvedConfig.from_toml(config.to_toml()) == config
        assert "None" not in config.to_toml()
    assert RunConfig.from_toml(RECIPE.to_toml()) == RECIPE


def test_a_configuration_is_frozen(toy):
    config = configured(toy)
    for model, name in ((config, "loss"), (config.loss, "weight"), (config.data.simulated, "name")):
        with pytest.raises(ValidationError):
            setattr(model, name, None)


def test_a_bare_name_is_read_as_a_component(toy):
    config = configured(toy, "features=gradients", "optimizer.discriminator=adam", "evaluation.evaluator=pointer")
    assert [(term.name, term.weight) for term in config.features] == [("gradients", 1.0)]
    assert config.optimizer.discriminator.name == "adam"
    assert config.evaluation.evaluator.options == {"width": 6}


def test_a_later_difference_keeps_a_bare_name():
    changed = RECIPE.changed({"optimizer": {"refiner": "sgd"}}, {"optimizer": {"refiner": {"learning_rate": 0.1}}})
    assert (changed.optimizer.refiner.name, changed.optimizer.refiner.learning_rate) == ("sgd", 0.1)
    real = RECIPE.changed({"data": {"real": "folder"}}, {"data": {"real": {"options": {"root": "x"}}}}).data.real
    assert (real.name, real.options) == ("folder", {"root": "x"})


def test_a_setting_can_be_switched_off_and_on():
    off = RECIPE.changed({"history": "none"})
    assert off.history is None
    assert off.changed({"history": {"size": 100}}).history == HistoryConfig(size=100)


def test_later_differences_take_precedence_and_the_recipe_is_unchanged():
    changed = RECIPE.changed({"loss": {"weight": 2}}, {"loss": {"weight": 3}, "schedule": {"steps": 1}})
    assert (changed.loss.weight, changed.schedule.steps, changed.schedule.batch) == (3, 1, RECIPE.schedule.batch)
    assert RECIPE.loss.weight == 0.5


def test_errors_name_their_source():
    with pytest.raises(UserError, match=r"^mine\.toml: schedule\.stps: .*schedule\.steps"):
        RECIPE.changed({"schedule": {"stps": 3}}, source="mine.toml")
    with pytest.raises(UserError, match=r"^mine\.toml: shedule: .*schedule"):
        RECIPE.changed({"shedule": {"steps": 3}}, source="mine.toml")
    with pytest.raises(UserError, match=r"^mine: data: missing"):
        RunConfig.from_toml("", source="mine")


def test_the_total_is_the_sum_of_the_three_phases():
    assert RECIPE.schedule.total == 230


@pytest.mark.parametrize("name", ["domain\x1b.py", "domain\udcff.py"])
def test_a_plugin_that_cannot_be_recorded_or_shown_is_refused(name):
    with pytest.raises(UserError, match=r"plugins\.0: domain\\(x1b|udcff)\.py is not UTF-8 or has control characters"):
        RunConfig.from_tree({**RECIPE.tree(), "plugins": [name]})
