"""The types that plugins return: frozen, and checked when they are made."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest
from pydantic import ValidationError

from synthreal.errors import UserError
from synthreal.spec import ANY, ROLES, DatasetSpec, EvaluatorSpec, ImageSpec, LabelSpec, NetworkSpec, Options, Sample


def test_invalid_image_specs_are_refused():
    for change, message in [
        ({"channels": 0}, "channels is 0; images have 1 to 4"),
        ({"channels": 5}, "channels is 5"),
        ({"height": 0}, "0x9 px; both sides"),
        ({"width": -3}, "8x-3 px"),
        ({"dtype": "uint9"}, "dtype is 'uint9'; images are uint8, uint16, float16"),
        ({"colormap": "jet"}, "colormap is 'jet'; choose viridis or none"),
        ({"background": 300.0}, r"background is 300.0; it must be a value in \[0, 1\]"),
        ({"invalid": -1.0}, "invalid is -1.0"),
    ]:
        with pytest.raises(UserError, match=message):
            ImageSpec(**{"channels": 1, "height": 8, "width": 9, **change})


def test_image_and_label_specs_as_text():
    image = ImageSpec(channels=3, height=8, width=9, dtype="uint16", meaning="crop")
    assert (image.shape, str(image)) == ((3, 8, 9), "3x8x9 uint16")
    assert image == ImageSpec(channels=3, height=8, width=9, dtype="uint16", meaning="crop")
    assert str(LabelSpec("gaze", (3,), "unit vector")) == "gaze[3] unit vector"
    with pytest.raises(FrozenInstanceError):
        image.channels = 1


def test_specs_are_alike_in_shape_and_dtype():
    image = ImageSpec(channels=1, height=8, width=9, meaning="crop")
    assert image.alike(ImageSpec(channels=1, height=8, width=9, meaning="depth", colormap="viridis"))
    for change in ({"channels": 3}, {"height": 9}, {"width": 8}, {"dtype": "float16"}):
        assert not image.alike(ImageSpec(**{"channels": 1, "height": 8, "width": 9, **change}))


def test_a_data_set_has_read_or_render_and_a_known_role():
    def function(*arguments):
        return iter(())

    for given in ({}, {"read": function, "render": function}):
        with pytest.raises(UserError, match="data set 'a': give exactly one of read"):
            DatasetSpec(name="a", role="real", image=None, **given)
    with pytest.raises(UserError, match="data set 'a': role 'fake' is not one of simulated, real"):
        DatasetSpec(name="a", role="fake", image=None, read=function)
    assert [DatasetSpec(name="a", role=role, image=None, read=function).role for role in ROLES] == list(ROLES)


def test_only_real_images_have_no_labels():
    gaze = (LabelSpec("gaze", (3,), "unit vector"),)
    specs = (DatasetSpec(name="a", role=role, image=None, labels=gaze, read=iter) for role in ROLES)
    assert {spec.role: spec.available_labels for spec in specs} == {**dict.fromkeys(ROLES, gaze), "real": ()}


def test_options_are_frozen_and_refuse_unknown_keys():
    class Mine(Options):
        size: float = 3

    with pytest.raises(ValidationError):
        Mine(sise=4)
    with pytest.raises(ValidationError):
        Mine(size=float("nan"))
    with pytest.raises(ValidationError):
        Mine().size = 4


def test_an_evaluator_without_labels_is_refused():
    with pytest.raises(UserError, match="evaluator 'e': requires is empty"):
        EvaluatorSpec(name="e", requires=(), build=None, loss=None, metrics=None, primary="error_px")


def test_quantities_without_a_way_back_are_refused():
    gaze = (LabelSpec("gaze", (3,), "unit vector"),)
    fields = {"name": "e", "requires": gaze, "build": None, "loss": None, "metrics": None, "primary": "error_px"}
    with pytest.raises(UserError, match="evaluator 'e': give both quantities and assign"):
        EvaluatorSpec(**fields, quantities=lambda labels: labels)


def test_defaults():
    gaze = (LabelSpec("gaze", (3,), "unit vector"),)
    sample = Sample(image=None)
    assert sample.labels == {}
    network = NetworkSpec(name="n", part="refiner", build=lambda options, image: None)
    assert network.options is Options
    evaluator = EvaluatorSpec(
        name="e",
        requires=gaze,
        build=None,
        loss=None,
        metrics=None,
        primary="error_px",
    )
    assert (evaluator.curve, evaluator.augment, evaluator.locate, evaluator.landmarks, evaluator.constant) == (
        None,
    ) * 5


def test_a_required_label_of_any_length_is_shown_so():
    assert str(LabelSpec("values", (ANY, 2), "px")) == "values[any, 2] px"
    assert str(LabelSpec("class", (), "index")) == "class[] index"


def test_classes_are_the_names_of_an_index():
    assert LabelSpec("class", (), "index", ["cat", "dog"]).classes == ("cat", "dog")
    for shape, classes in (((2,), ("cat", "dog")), ((), "cat")):
        with pytest.raises(UserError, match="'class': classes are names"):
            LabelSpec("class", shape, "index", classes)
