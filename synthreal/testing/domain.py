"""A plugin under test: what it registers, how its data sets are configured, and images of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch
from pydantic import ValidationError

from synthreal.config import ComponentConfig, ResolvedConfig, RunConfig
from synthreal.data.encoding import label_tensor, stored_tensor, to_unit
from synthreal.data.source import read_samples
from synthreal.data.writer import BlockValidator
from synthreal.errors import UserError
from synthreal.hooks.catalog import Catalog, Entry, parse_options
from synthreal.hooks.discovery import canonical
from synthreal.hooks.resolve import configure, has_shape
from synthreal.spec import Batch, DatasetSpec, EvaluatorSpec, FeatureSpec, ImageSpec, NetworkSpec, Sample, Skipped
from synthreal.testing.offline import offline
from synthreal.testing.outcome import Absent, RuleSkipped
from synthreal.train.plugin_fault import reporting, require

T = TypeVar("T")
Component: TypeAlias = NetworkSpec | FeatureSpec | EvaluatorSpec
READ = 8  # samples of a data set of files; the rest is not read


@dataclass(frozen=True)
class Domain:
    """The plugin ``plugin`` of a catalog; ``attempts`` are connections that loading and rules asked for."""

    catalog: Catalog
    plugin: str
    attempts: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, catalog: Catalog, name: str) -> Domain:
        """The plugin of a name, as it was given to ``Catalog.of``. Raises ``UserError`` if it is not loaded."""
        loaded = [origin.plugin for origin in catalog.origins]
        found = [plugin for plugin in loaded if name == plugin or canonical(name) == canonical(plugin)]
        if not found:
            raise UserError(f"plugin {name!r} is not in this catalog ({', '.join(loaded)}); load it with Catalog.of")
        return cls(catalog, found[0])

    @classmethod
    def load(cls, name: str) -> Domain:
        """Load a plugin by name, module or file, without the network. Raises ``UserError`` if it does not load."""
        with offline() as attempts, reporting(f"plugin {name}: loading"):
            catalog = Catalog.of([name])
        domain = cls.of(catalog, name)
        domain.attempts.extend(attempts)
        return domain

    @property
    def datasets(self) -> list[DatasetSpec]:
        """Its data sets."""
        return self._own(self.catalog.datasets)

    @property
    def networks(self) -> list[NetworkSpec]:
        """Its refiners and discriminators."""
        return self._own(self.catalog.networks)

    @property
    def features(self) -> list[FeatureSpec]:
        """Its feature transforms."""
        return self._own(self.catalog.features)

    @property
    def evaluators(self) -> list[EvaluatorSpec]:
        """Its evaluators."""
        return self._own(self.catalog.evaluators)

    @property
    def components(self) -> list[Component]:
        """Its networks, feature transforms and evaluators."""
        return [*self.networks, *self.features, *self.evaluators]

    @cached_property
    def recipes(self) -> Mapping[str, RunConfig]:
        """Its recipes by name, the default one first: the one named like the plugin, else the first registered."""
        own = {name: entry.spec for name, entry in self.catalog.recipes.items() if entry.origin.plugin == self.plugin}
        return dict(sorted(own.items(), key=lambda item: item[0] != self.plugin))

    @cached_property
    def config(self) -> ResolvedConfig:
        """The default recipe, resolved. Raises ``RuleSkipped`` if there is none or it does not resolve."""
        try:
            return configure(self.catalog, recipe=next(iter(self.recipes)))
        except (UserError, StopIteration):
            raise RuleSkipped("there is no recipe that resolves, see the rule recipes") from None

    def options(self, spec: DatasetSpec | Component) -> Any:
        """The options of a data set or component: those of the first recipe that uses it, else the defaults.

        Raises ``Absent`` if no recipe uses it and an option has no default.
        """
        for recipe in self.recipes.values():
            for path, used in _chosen(recipe, spec):
                if used is not None and used.name == spec.name:
                    return parse_options(used, spec.options, path)
        try:
            return spec.options()
        except ValidationError as error:
            missing = ", ".join(str(part["loc"][0]) for part in error.errors(include_url=False) if part["loc"])
            raise Absent(f"no recipe gives its option {missing or spec.options.__name__}") from None

    def image(self, spec: DatasetSpec) -> ImageSpec:
        """The image format of a data set; of one that adopts any, the default recipe's."""
        return self.config.image if spec.image is None else spec.image

    def render(self, spec: DatasetSpec, n: int, seed: int, device: str = "cpu") -> Batch:
        """``n`` images of a simulator. Raises ``UserError`` if it fails or returns no batch, ``Absent``."""
        options, render = self.options(spec), spec.render
        assert render is not None, "only simulators are rendered"
        with reporting(f"{shown(spec)}: render"), torch.no_grad():
            batch = render(options, n, torch.Generator(device).manual_seed(seed))
        if not (
            isinstance(batch, Batch) and isinstance(batch.image, torch.Tensor) and isinstance(batch.labels, Mapping)
        ):
            returned = f"returns a {type(batch).__name__}; return Batch(image, {{name: label}}) of tensors"
            raise UserError(f"{shown(spec)}: render {returned}")
        for name, values in batch.labels.items():
            if not isinstance(values, torch.Tensor):
                raise UserError(f"{shown(spec)}: label {name!r} is a {type(values).__name__}; return a tensor")
        return batch

    def samples(self, spec: DatasetSpec) -> list[Sample]:
        """The first samples of a data set of files, at least one.

        Raises ``Absent`` if there is none, or ``read`` reports a user's mistake before the first one, and ``UserError``
        if it fails in another way or skips all files.
        """
        options, image, where = self.options(spec), self.image(spec), f"{shown(spec)}: read"
        found: list[Any] = []
        reason = "it has no samples"
        with reporting(where, "raise UserError for a user's mistake and yield Skipped for a bad file"):
            try:
                items = read_samples(spec, options, image)
                require(isinstance(items, Iterable), f"returns a {type(items).__name__}; yield Samples")
                for item in islice(items, READ):
                    found.append(item)  # kept if a later one fails
            except UserError as error:
                reason = str(error)
                if found:
                    raise UserError(f"{where} ends after {len(found)} files: {reason}; yield Skipped instead") from None
        if not found:
            raise Absent(reason)
        for item in found:
            if not isinstance(item, Sample | Skipped):
                raise UserError(f"{where} yields a {type(item).__name__}; yield Sample or Skipped")
        samples = [item for item in found if isinstance(item, Sample)]
        if not samples:
            first = f"{found[0].path}: {found[0].reason}"
            raise UserError(f"{where} skips its first {len(found)} files ({first}); correct it, or remove them")
        if not all(isinstance(sample.labels, Mapping) for sample in samples):
            raise UserError(f"{where} gives labels that have no names; yield Sample(image, {{name: array}})")
        return samples

    def validator(self, spec: DatasetSpec) -> BlockValidator:
        """A run's checks of the samples of a data set of files."""
        return BlockValidator(shown(spec), self.image(spec), spec.available_labels)

    def labelled(self, evaluator: EvaluatorSpec, n: int) -> Batch:
        """``n`` images on the CPU with the labels of an evaluator. Raises ``RuleSkipped`` if there are none.

        They are rendered, by preference by the simulator of the default recipe, or read from files; of those, fewer may
        be given.
        """
        first = self.config.data.simulated.name, "simulated"
        reasons = []
        for spec in sorted(
            self.datasets,
            key=lambda spec: ((spec.name, spec.role) != first, spec.render is None, spec.role != "simulated"),
        ):
            if not carries(spec, evaluator):
                continue
            if not (image := self.image(spec)).alike(self.config.image):
                reasons.append(f"{shown(spec)}: its images are {image}, the default recipe's {self.config.image}")
                continue
            try:
                if spec.render is not None:
                    return self.render(spec, n, seed=0)
                batch = _batch(self.samples(spec)[:n], self.validator(spec))
                if any(len(batch.labels[label.name].unique(dim=0)) > 1 for label in evaluator.requires):
                    return batch
                reasons.append(f"{shown(spec)}: its first {len(batch.image)} images have equal labels")
            except Absent as reason:
                reasons.append(f"{shown(spec)}: {reason}")
        raise RuleSkipped("; ".join(reasons) or f"no data set has the labels of evaluator {evaluator.name!r}")

    def _own(self, table: Mapping[Any, Entry[T]]) -> list[T]:
        return [entry.spec for entry in table.values() if entry.origin.plugin == self.plugin]


def _chosen(recipe: RunConfig, spec: DatasetSpec | Component) -> list[tuple[str, ComponentConfig | None]]:
    """What a recipe chooses in the places where a spec may be named, by their settings."""
    if isinstance(spec, DatasetSpec):
        return [(f"data.{spec.role}", getattr(recipe.data, spec.role))]
    if isinstance(spec, NetworkSpec):
        return [(spec.part, getattr(recipe, spec.part))]
    if isinstance(spec, FeatureSpec):
        return [(f"features.{term.name}", term) for term in recipe.features]
    return [("evaluation.evaluator", recipe.evaluation.evaluator)]


def shown(spec: DatasetSpec) -> str:
    """A data set in messages."""
    return f"data set {spec.name!r} ({spec.role})"


def carries(spec: DatasetSpec, evaluator: EvaluatorSpec) -> bool:
    """Whether the images of a data set have the labels that an evaluator requires."""
    labels = {label.name: label for label in spec.available_labels}
    return all(
        label.name in labels
        and labels[label.name].unit == label.unit
        and has_shape(label.shape, labels[label.name].shape)
        for label in evaluator.requires
    )


def _batch(samples: list[Sample], validator: BlockValidator) -> Batch:
    """Stored samples as a run gets them: checked, images in [0, 1], labels in the dtypes of a device."""
    for index, sample in enumerate(samples):
        validator.check_images(np.asarray(sample.image)[None], index)
        validator.check_labels({name: np.asarray(values)[None] for name, values in sample.labels.items()}, 1, index)
    image = to_unit(stored_tensor(np.stack([sample.image for sample in samples])))
    names = samples[0].labels
    return Batch(image, {name: label_tensor(np.stack([sample.labels[name] for sample in samples])) for name in names})
