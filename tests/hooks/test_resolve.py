"""Resolving a configuration: options written out, the image known, data and evaluator compatible."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from quick import QUICK, TOY, configured
from toy import CENTRE, IMAGE

from synthreal.bulk.prepare import prepare
from synthreal.config.toml import parse_settings
from synthreal.data.pack import Pack, pack_dataset
from synthreal.data.writer import PackWriter
from synthreal.errors import UserError
from synthreal.hooks.catalog import Catalog
from synthreal.hooks.resolve import configure, dataset_of, resolve
from synthreal.spec import ANY, ImageSpec, LabelSpec


def pack(path, *, image=IMAGE, labels=(), role="simulated"):
    with PackWriter(path, image=image, labels=labels, role=role, name="other") as writer:
        values = {label.name: np.zeros((3, *label.shape)) for label in labels}
        writer.append(np.zeros((3, *image.shape), image.dtype), values)
    return f'{{name="pack", options={{path="{path}"}}}}'


def test_every_option_is_written_out(toy):
    config = configured(toy, "features=blur")
    assert config.plugins == (str(TOY),)
    assert config.recipe == "toy"
    assert config.image == IMAGE
    assert config.data.simulated.options == {"radius": 2.5}
    assert config.features[0].options == {"sigma": 1.0}
    assert config.discriminator.options == {"layers": [{"kind": "conv", "maps": 8, "kernel": 3, "stride": 2}]}
    assert config.evaluation.evaluator.options == {"width": 6}
    assert resolve(config, toy) == config
    json.dumps(config.tree(), default=vars)


def test_a_relative_plugin_file_is_recorded_absolutely(monkeypatch):
    monkeypatch.chdir(TOY.parent)
    assert configure(Catalog.of(["toy.py"])).plugins == (str(TOY),)


def test_the_image_comes_from_the_first_data_set_with_one(toy, tmp_path):
    folder = f'{{name="folder", options={{root="{tmp_path}"}}}}'
    off = "evaluation.evaluator=none"
    assert configured(toy, f"data.simulated={folder}", off).image == IMAGE  # of the camera
    files = (f"data.simulated={folder}", f"data.real={folder}", "data.test=none", "data.validation=none", off)
    assert configured(toy, *files, "data.real_labelled=none").image == IMAGE  # of the simulator in the recipe
    small = ImageSpec(channels=3, height=4, width=5)
    path = pack(tmp_path / "a.h5", image=small)
    bare = ("data.test=none", "data.validation=none", "data.real_labelled=none")
    assert configured(toy, f"data.simulated={path}", f"data.real={folder}", off, *bare).image == small
    assert configured(toy, *files, *bare, "image={channels=1, height=7, width=9}").image.shape == (1, 7, 9)


def test_without_any_image_it_must_be_set(tmp_path):
    body = f"""
import synthreal
from synthreal.config import DataConfig, RunConfig, SourceConfig

@synthreal.hookimpl
def synthreal_recipes():
    folder = SourceConfig(name="folder", options={{"root": {str(tmp_path)!r}}})
    return {{"plain": RunConfig(data=DataConfig(simulated=folder, real=folder))}}
"""
    (tmp_path / "plain.py").write_text(body)
    with pytest.raises(UserError, match=r"image: no data set declares an image format; set it, such as --set"):
        configure(Catalog.of([str(tmp_path / "plain.py")]))


OTHER = ImageSpec(channels=1, height=35, width=55)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda p: f"data.simulated={pack(p, image=OTHER, labels=(CENTRE,))}",
            "photographs has images .*use data of",
        ),
        (lambda p: f"data.real={pack(p, image=OTHER)}", r"a\.h5: holds images 1x35x55.*data\.real .* needs 1x12x16"),
        (lambda p: "image={channels=3, height=12, width=16}", r"data\.simulated: discs has images .*use data of one"),
        (
            lambda p: f"data.simulated={pack(p)}",
            r"data\.simulated: pack has no label centre\[1, 2\] .*pointer requires",
        ),
        (lambda p: f"data.test={pack(p, role='real')}", r"data\.test: pack has no label centre"),
        (
            lambda p: f"data.test={pack(p, labels=(LabelSpec('centre', (2,), 'px'),))}",
            r"data\.test: pack's label 'centre' has the shape \(2,\), evaluator pointer requires \(1, 2\); make them",
        ),
        (
            lambda p: f"data.test={pack(p, labels=(LabelSpec('centre', (1, 2), 'metres'),), role='test')}",
            r"pack's label 'centre' has the unit 'metres', evaluator pointer requires 'px, x and y'; make them equal",
        ),
        (
            lambda p: "data.test.count=none",
            r"data\.test\.count is none, and photographs draws without end; set a count",
        ),
        (
            lambda p: f"data.test={pack(p, image=replace(IMAGE, dtype='float16'), labels=(CENTRE,), role='test')}",
            r"a\.h5: holds images 1x12x16 float16.*data\.test .* needs 1x12x16 uint8",
        ),
        (lambda p: "data.simulated=folder", r"data\.simulated\.options\.root: missing; set it"),
        (lambda p: "data.real=disks", r"data set 'disks' is not registered"),
        (lambda p: "data.test=discs", r"data set 'discs' has no role test"),
        (
            lambda p: "data.real.options.radus=1",
            r"data\.real\.options\.radus: no such setting; did you mean data\.real",
        ),
        (lambda p: "refiner=nope", "refiner 'nope' is not registered"),
        (lambda p: "discriminator=nope", "discriminator 'nope' is not registered"),
        (lambda p: "features=nope", "features 'nope' is not registered"),
        (lambda p: 'features={name="blur", options={sgma=1}}', r"features\.blur\.options\.sgma: .*did you mean"),
        (lambda p: "evaluation.evaluator=nope", "evaluator 'nope' is not registered"),
        (lambda p: "evaluation.evaluator.options.widht=2", r"evaluation\.evaluator\.options\.widht: no such"),
        (lambda p: "schedule.patch=13", r"schedule\.patch is 13 px, but images are 1x12x16 uint8.*patch=none"),
        (lambda p: "history.size=3", r"history\.size is 3, less than half of schedule\.batch \(8\).*history=none"),
        (
            lambda p: "discriminator.options.layers=[{maps=3, kernal=3}]",
            r"discriminator\.options\.layers\.0\.kernal: no such setting; did you mean .*kernel",
        ),
    ],
)
def test_incompatible_settings_are_refused(toy, tmp_path, make, message):
    with pytest.raises(UserError, match=message) as error:
        configured(toy, make(tmp_path / "a.h5"))
    assert "\n" not in str(error.value)


def test_a_pack_has_its_own_labels_and_real_images_none(toy, tmp_path):
    prepare(toy, "discs", tmp_path / "a.h5", limit=5)
    config = configured(toy, f'data.simulated={{name="pack", options={{path="{tmp_path}/a.h5"}}}}')
    spec, options, source = dataset_of(config, toy, "simulated")
    assert [label.name for label in pack_dataset(spec, options).available_labels] == ["centre"]
    assert source.name == "pack"
    assert dataset_of(config, toy, "real")[0].available_labels == ()


def test_the_pack_of_a_role_is_opened_once_and_closed(toy, tmp_path, monkeypatch):
    opened, closed = [], []
    open_pack, close_pack = Pack.__init__, Pack.close
    monkeypatch.setattr(Pack, "__init__", lambda pack, path: (opened.append(pack), open_pack(pack, path))[1])
    monkeypatch.setattr(Pack, "close", lambda pack: (closed.append(pack), close_pack(pack))[1])
    configured(toy, f"data.test={pack(tmp_path / 'a.h5', labels=(CENTRE,), role='test')}")
    assert len(opened) == 1 and closed == opened


def test_a_setting_overrides_the_file_and_the_file_the_recipe(toy):
    file = {"loss": {"weight": 7.0}, "schedule": {"steps": 77}}
    config = configure(toy, file, *parse_settings([*QUICK, "loss.weight=9.0"]))
    assert (config.loss.weight, config.schedule.steps, config.optimizer.ema) == (9.0, 6, 0.9)
    assert configure(toy, file).schedule.steps == 77


def test_a_required_label_may_have_any_length(toy, tmp_path):
    def resolved(required, shape):
        label = LabelSpec("centre", shape, "px, x and y")
        spec = replace(toy.evaluators["pointer"].spec, requires=(LabelSpec("centre", required, "px, x and y"),))
        entry = replace(toy.evaluators["pointer"], spec=spec)
        changed = replace(toy, evaluators={**toy.evaluators, "pointer": entry})
        path = tmp_path / f"{'x'.join(map(str, shape))}.h5"
        source = pack(path, labels=(label,)) if not path.exists() else f'{{name="pack", options={{path="{path}"}}}}'
        off = [f"data.{role}=none" for role in ("real_labelled", "validation", "test")]
        return configure(changed, *parse_settings([f"data.simulated={source}", *off]))

    for shape in ((7, 2), (1, 2)):
        assert resolved((ANY, 2), shape).evaluation.evaluator is not None
    for shape in ((7, 3), (7,), (7, 2, 1)):
        with pytest.raises(UserError, match=r"has the shape .*, evaluator pointer requires \(-1, 2\)"):
            resolved((ANY, 2), shape)
