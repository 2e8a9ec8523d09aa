"""Resolving a configuration: names are looked up, options written out, the image set, and the parts checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from synthreal.config import ComponentConfig, ResolvedConfig, RunConfig, SourceConfig
from synthreal.data.pack import Pack, PackOptions
from synthreal.errors import UserError
from synthreal.hooks.catalog import Catalog, parse_options
from synthreal.hooks.discovery import canonical
from synthreal.spec import PARTS, ROLES, DatasetSpec, ImageSpec, LabelSpec, Role


def configure(
    catalog: Catalog, *differences: Mapping[str, Any], recipe: str | None = None, source: str = "--set"
) -> ResolvedConfig:
    """A recipe of the catalog (None: the default one) with differences merged into it, resolved.

    Args:
        catalog: the loaded plugins.
        differences: nested settings; later ones take precedence.
        recipe: its name.
        source: origin of the differences, for messages.

    Raises:
        UserError: an unknown recipe, setting, name or option, or parts that do not fit together.
    """
    plugins = tuple(canonical(origin.plugin) for origin in catalog.origins[1:])
    base = catalog.recipe(recipe).model_copy(update={"plugins": plugins})
    return resolve(base.changed(*differences, source=source), catalog)


def resolve(config: RunConfig, catalog: Catalog) -> ResolvedConfig:
    """Look up every name, write out every component's options, and check that the parts fit together.

    An unknown name or option, another image format, or a missing label of the evaluator raises ``UserError``.
    """
    tree = config.tree()
    for role in ROLES:
        source: SourceConfig | None = getattr(config.data, role)
        if source is not None:
            tree["data"][role]["options"] = _full(source, catalog.dataset(source.name, role).options, f"data.{role}")
    for part in PARTS:
        component = getattr(config, part)
        tree[part]["options"] = _full(component, catalog.network(part, component.name).options, part)
    for term, feature in zip(tree["features"], config.features, strict=True):
        term["options"] = _full(feature, catalog.feature(feature.name).options, f"features.{feature.name}")
    evaluator = config.evaluation.evaluator
    if evaluator is not None:
        spec = catalog.evaluator(evaluator.name)
        tree["evaluation"]["evaluator"]["options"] = _full(evaluator, spec.options, "evaluation.evaluator")
    partial = RunConfig.from_tree(tree)
    if config.history is not None and config.history.size < config.schedule.batch // 2:
        raise UserError(
            f"history.size is {config.history.size}, less than half of schedule.batch ({config.schedule.batch}), "
            "so D would never see an image from the history; raise it, or set history=none"
        )
    image = config.image or _image(partial, catalog)
    patch = config.schedule.patch
    if patch is not None and patch > min(image.height, image.width):
        raise UserError(f"schedule.patch is {patch} px, but images are {image}; lower it, or set schedule.patch=none")
    resolved = ResolvedConfig.from_tree({**partial.tree(), "image": image})
    for role in ROLES:
        _check(resolved, catalog, role)
    return resolved


def dataset_of(config: RunConfig, catalog: Catalog, role: Role) -> tuple[DatasetSpec, Any, SourceConfig]:
    """The data set of a role: its spec, parsed options and source. Raises ``UserError`` if the role has none."""
    source: SourceConfig | None = getattr(config.data, role)
    if source is None:
        raise UserError(f"data.{role} is none; name a data set there")
    spec = catalog.dataset(source.name, role)
    return spec, parse_options(source, spec.options, f"data.{role}"), source


def labels_of(spec: DatasetSpec, options: Any) -> tuple[LabelSpec, ...]:
    """The labels of a data set; a pack lists its own."""
    if isinstance(options, PackOptions):
        spec = replace(spec, labels=Pack(options.path).labels)
    return spec.carried


def _full(component: ComponentConfig, model: Any, path: str) -> Any:
    return parse_options(component, model, path).model_dump(mode="json")


def _image(config: RunConfig, catalog: Catalog) -> ImageSpec:
    for role in ROLES:
        if getattr(config.data, role) is not None:
            spec, options, _ = dataset_of(config, catalog, role)
            if (found := _image_of(spec, options)) is not None:
                return found
    recipe = catalog.recipes.get(config.recipe)
    if recipe is not None and recipe.spec.data.simulated != config.data.simulated:
        spec = catalog.dataset(recipe.spec.data.simulated.name, "simulated")
        if spec.image is not None:
            return spec.image
    raise UserError(
        'image: no data set declares an image format; set it, such as --set "image={channels=1, height=35, width=55}"'
    )


def _image_of(spec: DatasetSpec, options: Any) -> ImageSpec | None:
    return Pack(options.path).image if isinstance(options, PackOptions) else spec.image


def _check(config: ResolvedConfig, catalog: Catalog, role: Role) -> None:
    if getattr(config.data, role) is None:
        return
    spec, options, source = dataset_of(config, catalog, role)
    found = _image_of(spec, options)
    if found is not None and not found.alike(config.image):
        has = f"{options.path}: holds" if isinstance(options, PackOptions) else f"data.{role}: {source.name} has"
        raise UserError(f"{has} images {found}, data.{role} of this run needs {config.image}; use data of one domain")
    if role == "real" or config.evaluation.evaluator is None:
        return
    if role in ("validation", "test") and spec.render is not None and source.count is None:
        raise UserError(f"data.{role}.count is none, and {source.name} draws without end; set a count")
    evaluator = catalog.evaluator(config.evaluation.evaluator.name)
    carried = {label.name: label for label in labels_of(spec, options)}
    for label in evaluator.requires:
        other = carried.get(label.name)
        if other is None:
            have = ", ".join(map(str, carried.values())) or "none"
            raise UserError(
                f"data.{role}: {source.name} has no label {label}, which evaluator {evaluator.name} requires (it has "
                f"{have}); choose other data, or evaluation.evaluator=none"
            )
        if other != label:
            part = "shape" if other.shape != label.shape else "unit"
            raise UserError(
                f"data.{role}: {source.name}'s label {label.name!r} has the {part} {getattr(other, part)!r}, evaluator "
                f"{evaluator.name} requires {getattr(label, part)!r}; make them equal, or set evaluation.evaluator=none"
            )
