"""Rules of what a plugin registers: its specs, and its recipes."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import BaseModel

from synthreal.config import RunConfig
from synthreal.data.pack import PackOptions
from synthreal.errors import UserError
from synthreal.hooks.resolve import configure, dataset_of
from synthreal.spec import ROLES, DatasetSpec, EvaluatorSpec, ImageSpec, LabelSpec
from synthreal.testing.domain import Component, Domain, carries, shown
from synthreal.testing.outcome import RuleSkipped

NAME = re.compile(r"[A-Za-z0-9][\w.-]*")
CHARACTERS = "letters, digits, '_', '-' and '.'"


def specs(domain: Domain) -> None:
    """Names can be typed on a command line, meanings, units and options are described, and specs fit together."""
    if not (domain.datasets or domain.components):
        raise UserError(f"plugin {domain.plugin} registers nothing; implement a hook such as synthreal_datasets")
    registered: tuple[DatasetSpec | Component, ...] = (*domain.datasets, *domain.components)
    for spec in registered:
        if not NAME.fullmatch(spec.name):
            raise UserError(f"{type(spec).__name__} {spec.name!r} has a name that is hard to type; use {CHARACTERS}")
        _check_options(spec.options, f"{type(spec).__name__} {spec.name!r}")
    for dataset in domain.datasets:
        _check_image(dataset.image, shown(dataset))
        _check_labels(dataset.labels, shown(dataset))
    for evaluator in domain.evaluators:
        _check_evaluator(evaluator, domain.datasets)


def recipes(domain: Domain) -> str:
    """There is a recipe, and every recipe of the plugin resolves; those of absent packs are not tried."""
    if not domain.recipes:
        raise UserError(
            f"plugin {domain.plugin} has no recipe, so `synthreal fit` cannot start; return one from synthreal_recipes"
        )
    resolved, absent = [], []
    for name, recipe in domain.recipes.items():
        try:
            if (pack := _absent_pack(domain, recipe)) is not None:
                absent.append(f"{name} was not tried: {pack}: no such pack")
                continue
            configure(domain.catalog, recipe=name)
        except UserError as error:
            raise UserError(f"recipe {name!r}: {error}") from None
        resolved.append(name)
    if not resolved:
        raise RuleSkipped("; ".join(absent))
    return "; ".join([", ".join(resolved), *absent])


def _absent_pack(domain: Domain, recipe: RunConfig) -> str | None:
    """The first pack of a recipe that is no file."""
    for role in ROLES:
        if getattr(recipe.data, role) is not None:
            _, options, _ = dataset_of(recipe, domain.catalog, role)
            if isinstance(options, PackOptions) and not Path(options.path).is_file():
                return options.path
    return None


def _check_options(model: type[BaseModel], where: str) -> None:
    for name, field in model.model_fields.items():
        if not field.description:
            raise UserError(
                f"{where}: option {name} of {model.__name__} has no description; give Field(description=...)"
            )


def _check_image(image: ImageSpec | None, where: str) -> None:
    if image is None:
        return
    if not image.meaning:
        raise UserError(f"{where}: ImageSpec.meaning is empty; say in a phrase what its pixels are")
    if image.colormap is not None and image.channels != 1:
        raise UserError(f"{where}: ImageSpec.colormap is for one channel, not {image.channels}; drop it")


def _check_labels(labels: tuple[LabelSpec, ...], where: str) -> None:
    names = [label.name for label in labels]
    for label in labels:
        if not NAME.fullmatch(label.name) or names.count(label.name) > 1:
            raise UserError(f"{where}: label {label.name!r} needs a name of its own; use {CHARACTERS}")
        if not label.unit:
            raise UserError(f"{where}: label {label.name!r} has no unit; say what its numbers are, with axes and signs")
        if not all(isinstance(side, int) and side > 0 for side in label.shape):
            raise UserError(f"{where}: label {label.name!r} has the shape {label.shape}; give lengths of 1 or more")


def _check_evaluator(evaluator: EvaluatorSpec, datasets: list[DatasetSpec]) -> None:
    where = f"evaluator {evaluator.name!r}"
    if datasets and not any(carries(dataset, evaluator) for dataset in datasets):
        labels = ", ".join(map(str, evaluator.requires))
        raise UserError(f"{where}: no data set has its labels {labels}; make name, shape and unit equal")
    if evaluator.curve is not None and list(evaluator.curve[1]) != sorted({*evaluator.curve[1]}):
        raise UserError(f"{where}: the thresholds of its curve do not ascend; sort them")
    if evaluator.landmarks is None:
        return
    if evaluator.locate is None:
        raise UserError(f"{where}: landmarks is {evaluator.landmarks!r}, but there is no detector; give locate")
    shapes = {label.shape for dataset in datasets for label in dataset.labels if label.name == evaluator.landmarks}
    if datasets and not any(len(shape) == 2 and shape[1] == 2 for shape in shapes):
        raise UserError(f"{where}: landmarks {evaluator.landmarks!r} is no label (K, 2) px of a data set; name one")
