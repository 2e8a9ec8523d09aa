"""The built-in components: every option has an effect, and wrong ones are refused."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from synthreal.bulk.prepare import prepare
from synthreal.config import ComponentConfig
from synthreal.core.discriminator import Layer
from synthreal.core.refiner import refine
from synthreal.data.pack import Pack
from synthreal.errors import UserError
from synthreal.hooks import builtin, estimators
from synthreal.hooks.catalog import Catalog, parse_options
from synthreal.spec import ImageSpec, Options

CORE = Catalog.of((), trust=True)
IMAGE = ImageSpec(channels=1, height=12, width=16, background=1.0)
X = torch.rand(2, 1, 12, 16, generator=torch.Generator().manual_seed(0))
X[:, :, :3] = 1.0
RESNET = CORE.network("refiner", "resnet")


def build(kind, name, **options):
    component = ComponentConfig(name=name, options=options)
    torch.manual_seed(0)
    if kind == "evaluators":
        spec = CORE.evaluator(name)
        return spec.build(parse_options(component, spec.options, "evaluation.evaluator"), IMAGE).eval()
    if kind == "features":
        return CORE.build_feature(component, IMAGE)
    return CORE.build_network(kind, component, IMAGE)


@torch.no_grad()
def output(kind, name, **options):
    module = build(kind, name, **options)
    if kind == "refiner":
        return refine(module, X, torch.Generator().manual_seed(0))
    found = module(X)
    return found.values if kind == "evaluators" and name == "regression" else found


def layers(**change):
    first = {"kind": "conv", "maps": 4, "kernel": 3, "stride": 2, **change}
    return {"layers": [first]}


WINDOW = {"root": "ONE", "crop": [12, 16]}
NUMBERS = {"mean": [1.0], "deviation": [2.0]}

# (kind, component, option) -> (base, change)
CASES = {
    ("refiner", "resnet", "kernel"): ({}, {"kernel": 5}),
    ("refiner", "resnet", "blocks"): ({}, {"blocks": 2}),
    ("refiner", "resnet", "width"): ({}, {"width": 8}),
    ("refiner", "resnet", "padding"): ({}, {"padding": "reflect"}),
    ("refiner", "resnet", "noise_channels"): ({}, {"noise_channels": 1}),
    ("refiner", "resnet", "keep_background"): ({}, {"keep_background": True}),
    ("discriminator", "local", "layers"): (layers(), layers(maps=5)),
    ("discriminator", "global", "layers"): (layers(), layers(maps=5)),
    ("features", "blur", "sigma"): ({}, {"sigma": 2.0}),
    ("features", "gradients", "sigma"): ({}, {"sigma": 2.0}),
    ("features", "laplacian", "kernel"): ({}, {"kernel": 5}),
    ("features", "learned", "path"): ({"path": "ONE"}, {"path": "TWO"}),
    ("datasets", "folder", "root"): ({"root": "ONE"}, {"root": "TWO"}),
    ("datasets", "folder", "recursive"): ({"root": "ONE"}, {"root": "ONE", "recursive": False}),
    ("datasets", "folder", "background"): ({"root": "ONE"}, {"root": "ONE", "background": 1.0}),
    ("datasets", "pictures", "root"): (WINDOW | {"root": "ONE"}, WINDOW | {"root": "TWO"}),
    ("datasets", "pictures", "recursive"): (WINDOW, WINDOW | {"recursive": False}),
    ("datasets", "pictures", "background"): (WINDOW, WINDOW | {"background": 1.0}),
    ("datasets", "pictures", "crop"): (WINDOW, WINDOW | {"crop": [11, 16]}),
    ("datasets", "pictures", "crops"): (WINDOW, WINDOW | {"crops": 2}),
    ("datasets", "pictures", "scale"): (WINDOW, WINDOW | {"scale": 24}),
    ("datasets", "pictures", "files"): (WINDOW, WINDOW | {"files": 1}),
    ("datasets", "pictures", "labels"): (WINDOW, WINDOW | {"labels": '{kind="folders", classes=["below", "other"]}'}),
    ("evaluators", "classification", "classes"): ({"classes": 3}, {"classes": 4}),
    ("evaluators", "classification", "width"): ({"classes": 3}, {"classes": 3, "width": 4}),
    ("evaluators", "regression", "mean"): (NUMBERS, NUMBERS | {"mean": [5.0]}),
    ("evaluators", "regression", "deviation"): (NUMBERS, NUMBERS | {"deviation": [5.0]}),
    ("evaluators", "regression", "width"): (NUMBERS, NUMBERS | {"width": 4}),
    ("datasets", "pack", "path"): ({"path": "ONE"}, {"path": "TWO"}),
}


def all_options():
    specs = [(entry.spec.part, entry.spec) for entry in CORE.networks.values()]
    specs += [("features", entry.spec) for entry in CORE.features.values()]
    specs += [("datasets", entry.spec) for entry in CORE.datasets.values()]
    specs += [("evaluators", entry.spec) for entry in CORE.evaluators.values()]
    return {(kind, spec.name, option) for kind, spec in specs for option in spec.options.model_fields}


def test_every_option_has_a_case_and_a_description():
    assert set(CASES) == all_options()
    modules = {**vars(builtin), **vars(estimators)}
    models = [value for value in modules.values() if isinstance(value, type) and issubclass(value, Options)]
    assert len(models) >= 8
    for options in [*models, Layer]:
        assert all(field.description for field in options.model_fields.values())


def same(one, other):
    return one.shape == other.shape and torch.equal(one, other)


@pytest.mark.parametrize(
    ("kind", "name", "option"), [case for case in CASES if case[0] != "datasets" and case[1] != "learned"]
)
def test_every_option_of_a_network_changes_what_it_computes(kind, name, option):
    base, change = CASES[kind, name, option]
    assert not same(output(kind, name, **base), output(kind, name, **change))


@pytest.mark.parametrize("change", [{"kind": "pool", "maps": 0}, {"maps": 5}, {"kernel": 5}, {"stride": 1}])
def test_every_setting_of_a_layer_matters(change):
    assert set(Layer.model_fields) == {"kind", "maps", "kernel", "stride"}
    assert not same(output("discriminator", "local", **layers()), output("discriminator", "local", **layers(**change)))


def kept(values, images):
    """The pixels that a refiner with keep_background leaves unchanged."""
    spec = RESNET.build(RESNET.options(blocks=1, width=4, keep_background=True), values)
    return (spec(images) == images).all(dim=1)


def test_only_background_and_missing_pixels_are_kept():
    """As declared (images that were never stored) and at the level 8 bits have for it."""
    torch.manual_seed(0)
    values = ImageSpec(channels=1, height=3, width=5, background=0.5, invalid=0.0)
    images = torch.tensor([[[[128 / 255, 0.5, 0.0, 0.2, 0.505]] * 3]])
    assert kept(values, images)[0].tolist() == [[True, True, True, False, False]] * 3


def test_a_colour_is_background_only_when_every_channel_is():
    torch.manual_seed(0)
    images = torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0, 0.4]).view(1, 2, 3, 1).permute(0, 2, 1, 3)
    values = ImageSpec(channels=3, height=2, width=1, background=1.0)
    assert kept(values, images).flatten().tolist() == [True, False]


def test_a_missing_pixel_is_not_a_dark_one():
    """Depth 0 would be nearest of all; with a far value for missing depth, R need not refine it."""
    torch.manual_seed(0)
    values = ImageSpec(channels=1, height=2, width=2, dtype="uint16", background=1.0, invalid=1.0)
    images = torch.tensor([[[[1.0, 0.0], [0.3, 1.0]]]])
    assert kept(values, images)[0].tolist() == [[True, False], [False, True]]


def save(path, weight):
    module = nn.Conv2d(1, 2, 3)
    nn.init.constant_(module.weight, weight)
    batch = torch.export.Dim("batch")
    torch.export.save(torch.export.export(module.eval(), (X,), dynamic_shapes=({0: batch},)), path)


@pytest.mark.filterwarnings("ignore")  # torch.export's own
def test_learned_features_come_from_the_given_program(tmp_path):
    for name, weight in (("ONE", 1.0), ("TWO", 2.0)):
        save(tmp_path / f"{name}.pt2", weight)
    one, two = (output("features", "learned", path=str(tmp_path / f"{name}.pt2")) for name in ("ONE", "TWO"))
    assert one.shape == (2, 2, 10, 14)
    assert not same(one, two)


@pytest.mark.filterwarnings("ignore")  # torch.export's own
@pytest.mark.parametrize("case", ["channels", "batch"])
def test_a_program_for_other_images_is_refused(tmp_path, case):
    module = nn.Conv2d(3 if case == "channels" else 1, 2, 3).eval()
    example = torch.rand(2, 3 if case == "channels" else 1, 12, 16)
    shapes = ({0: torch.export.Dim("batch")},) if case == "channels" else None
    torch.export.save(torch.export.export(module, (example,), dynamic_shapes=shapes), tmp_path / "a.pt2")
    with pytest.raises(UserError, match=r"a\.pt2: does not take batches of 1x12x16.*dynamic batch") as error:
        build("features", "learned", path=str(tmp_path / "a.pt2"))
    assert "\n" not in str(error.value)


def test_every_option_of_a_data_set_matters(tmp_path, toy):
    for name, value in (("ONE", 50), ("TWO", 99)):
        (tmp_path / name / "below").mkdir(parents=True)
        for place in ("a.png", "below/b.png"):
            pixels = np.full((14, 16, 2), value, np.uint8)  # half transparent; two px higher than the run's images
            pixels[:, 8:] //= 2
            Image.fromarray(pixels).save(tmp_path / name / place)
    for (kind, name, option), cases in CASES.items():
        if kind != "datasets":
            continue
        shas = []
        for i, options in enumerate(cases):
            given = [f"{key}={value}" for key, value in options.items()]
            given = [setting.replace("ONE", f"{tmp_path}/ONE").replace("TWO", f"{tmp_path}/TWO") for setting in given]
            given = [setting.replace("False", "false") for setting in given]
            if name == "pack":
                prepare(toy, "folder", tmp_path / f"{option}{i}in.h5", settings=[given[0].replace("path", "root")])
                given = [f"path={tmp_path}/{option}{i}in.h5"]
            path = tmp_path / f"{name}-{option}-{i}.h5"
            if i == 1 and (name, option) == ("pictures", "crop"):  # its value must be that of the run's image
                with pytest.raises(UserError, match="'pictures': option crop is 11x16, but image is 12x16 px"):
                    prepare(toy, name, path, settings=given)
                shas.append("refused")
            else:
                prepare(toy, name, path, settings=given)
                shas.append(Pack(path).sha256())
        assert shas[0] != shas[1], (name, option)


def test_invalid_options_are_named():
    for kind, name, options, message in [
        ("refiner", "resnet", {"kernel": 4}, r"refiner\.options\.kernel: must be odd.*, got 4"),
        ("refiner", "resnet", {"kernel": 25, "padding": "reflect"}, r"refiner\.options\.padding: reflect needs images"),
        ("refiner", "resnet", {"padding": "mirror"}, r"refiner\.options\.padding: .*'zeros', 'replicate' or 'reflect'"),
        ("refiner", "resnet", {"noise_channels": -1}, r"refiner\.options\.noise_channels"),
        ("refiner", "resnet", {"keep_background": "maybe"}, r"refiner\.options\.keep_background"),
        (
            "discriminator",
            "local",
            layers(kernel=2),
            r"discriminator\.options\.layers\.0\.kernel: must be odd.*, got 2",
        ),
        ("discriminator", "local", layers(maps=0), r"discriminator\.options\.layers\[0\]: a conv needs maps"),
        (
            "discriminator",
            "global",
            layers(kind="pool"),
            r"layers\[0\]: a conv needs maps of 1 or more, a pool has none",
        ),
        ("discriminator", "local", {"layers": []}, r"discriminator\.options\.layers: .*at least 1"),
        ("features", "blur", {"sigma": 0}, r"blur\.options\.sigma: Input should be greater than 0, got 0"),
        ("features", "laplacian", {"kernel": 1}, r"laplacian\.options\.kernel"),
        ("features", "laplacian", {"kernel": 4}, r"laplacian\.options\.kernel: must be odd.*, got 4"),
        ("features", "learned", {"path": "/nowhere.pt2"}, r"/nowhere\.pt2: not a program of torch\.export .*; save it"),
        ("features", "learned", {}, r"learned\.options\.path: missing; set it"),
    ]:
        with pytest.raises(UserError, match=message) as error:
            build(kind, name, **options)
        assert "\n" not in str(error.value)


def test_keep_background_needs_a_background():
    with pytest.raises(UserError, match=r"keep_background: these images have no background and no invalid value"):
        RESNET.build(RESNET.options(keep_background=True), ImageSpec(channels=1, height=3, width=4))


def test_a_file_that_is_no_program_is_refused(tmp_path):
    for content in (b"", b"hello", b"PK\x03\x04"):
        (tmp_path / "a.pt2").write_bytes(content)
        with pytest.raises(UserError, match=r"a\.pt2: not a program of torch\.export") as error:
            build("features", "learned", path=str(tmp_path / "a.pt2"))
        assert "\n" not in str(error.value)


def test_the_identity_and_the_channel_mean_have_no_options():
    assert same(output("features", "identity"), X)
    with pytest.raises(UserError, match=r"identity\.options\.size: no such setting; known here: none"):
        build("features", "identity", size=3)


@pytest.mark.parametrize(
    ("kind", "name", "options", "problem"),
    [
        ("refiner", "resnet", {"kernel": 99_999}, "kernel: .*less than or equal to 255"),
        ("refiner", "resnet", {"blocks": 10**9}, "blocks: .*less than or equal to 1000"),
        ("refiner", "resnet", {"width": 10**9}, "width: .*less than or equal to 4096"),
        ("refiner", "resnet", {"noise_channels": 10**9}, "noise_channels: .*less than or equal to 64"),
        ("refiner", "resnet", {"width": 4096, "kernel": 31}, "more than 268,435,456 weights; lower blocks, width"),
        ("discriminator", "local", layers(maps=10**9), r"layers\.0\.maps: .*less than or equal to 4096"),
        ("discriminator", "local", layers(maps=4096, kernel=255), "more than 268,435,456 weights; lower maps"),
        ("discriminator", "global", layers(stride=10**9), r"layers\.0\.stride: .*less than or equal to 255"),
        ("features", "blur", {"sigma": 1e300}, "sigma: .*less than or equal to 100"),
        ("features", "gradients", {"sigma": 1e300}, "sigma: .*less than or equal to 100"),
        ("features", "laplacian", {"kernel": 10**6 + 1}, "kernel: .*less than or equal to 255"),
    ],
)
def test_networks_that_no_machine_holds_are_refused(kind, name, options, problem):
    with pytest.raises(UserError, match=problem):
        build(kind, name, **options)


def test_the_path_of_a_learned_psi_is_that_of_a_user(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UserError, match=rf"^{re.escape(str(tmp_path))}/psi\.pt2: not a program of torch\.export"):
        build("features", "learned", path="~/psi.pt2")
    with pytest.raises(UserError, match=r"learned\.options\.path: a\\udcff is not UTF-8"):
        build("features", "learned", path="a\udcff")
