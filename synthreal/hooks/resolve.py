"""Resolving a configuration: names are looked up, options written out, the image set, and the parts checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from synthreal.config import ComponentConfig, ResolvedConfig, RunConfig, SourceConfig
from synthreal.data.pack import PackOptions, pack_dataset
from synthreal.data.pictures import labelled_dataset
from synthreal.errors import UserError
from synthreal.hooks.catalog import Catalog, parse_options
from synthreal.hooks.discovery import canonical
from synthreal.spec import ANY, PARTS, ROLES, DatasetSpec, ImageSpec, Role


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
    datasets = {role: dataset_of(config, catalog, role) for role in ROLES if getattr(config.data, role) is not None}
    for role, (_, options, _) in datasets.items():
        tree["data"][role]["options"] = options.model_dump(mode="json")
    for part in PARTS:
        component = getattr(config, part)
        tree[part]["options"] = _full(component, catalog.network(part, component.name).options, part)
    for term, feature in zip(tree["features"], config.features, strict=True):
        term["options"] = _full(feature, catalog.feature(feature.name).options, f"features.{feature.name}")
    evaluator = config.evaluation.evaluator
    if evaluator is not None:
        spec = catalog.evaluator(evaluator.name)
        tree["evaluation"]["evaluator"]["options"] = _full(evaluator, spec.options, "evaluation.evaluator")
    if config.history is not None and config.history.size < config.schedule.batch // 2:
        raise UserError(
            f"history.size is {config.history.size}, less than half of schedule.batch ({config.schedule.batch}), "
            "so D would never see an image from the history; raise it, or set history=none"
        )
    found = {role: replace(pack_dataset(*dataset[:2]), role=role) for role, dataset in datasets.items()}
    image = config.image or _image(config, catalog, found.values())
    patch = config.schedule.patch
    if patch is not None and patch > min(image.height, image.width):
        raise UserError(f"schedule.patch is {patch} px, but images are {image}; lower it, or set schedule.patch=none")
    resolved = ResolvedConfig.from_tree({**tree, "image": image})
    for role, (_, options, source) in datasets.items():
        _check(resolved, catalog, found[role], options, source)
    return resolved


def dataset_of(config: RunConfig, catalog: Catalog, role: Role) -> tuple[DatasetSpec, Any, SourceConfig]:
    """The data set of a role: its spec, parsed options and source. Raises ``UserError`` if the role has none."""
    source: SourceConfig | None = getattr(config.data, role)
    if source is None:
        raise UserError(f"data.{role} is none; name a data set there")
    spec = catalog.dataset(source.name, role)
    options = parse_options(source, spec.options, f"data.{role}")
    return labelled_dataset(spec, options), options, source


def recipe_image(recipe: RunConfig, catalog: Catalog) -> ImageSpec | None:
    """The image of a recipe, or else the one of its simulator."""
    return recipe.image or catalog.dataset(recipe.data.simulated.name, "simulated").image


def _full(component: ComponentConfig, model: Any, path: str) -> Any:
    return parse_options(component, model, path).model_dump(mode="json")


def _image(config: RunConfig, catalog: Catalog, datasets: Iterable[DatasetSpec]) -> ImageSpec:
    for spec in datasets:
        if spec.image is not None:
            return spec.image
    recipe = catalog.recipes.get(config.recipe)
    image = None if recipe is None else recipe_image(recipe.spec, catalog)
    if image is None:
        raise UserError(
            "image: no data set declares an image format; set it, such as "
            '--set "image={channels=1, height=35, width=55}"'
        )
    return image


def _check(config: ResolvedConfig, catalog: Catalog, spec: DatasetSpec, options: Any, source: SourceConfig) -> None:
    role, found = spec.role, spec.image
    if found is not None and not found.alike(config.image):
        has = f"{options.path}: holds" if isinstance(options, PackOptions) else f"data.{role}: {source.name} has"
        raise UserError(f"{has} images {found}, data.{role} of this run needs {config.image}; use data of one domain")
    if role == "real" or config.evaluation.evaluator is None:
        return
    if role in ("validation", "test") and spec.render is not None and source.count is None:
        raise UserError(f"data.{role}.count is none, and {source.name} draws without end; set a count")
    evaluator = catalog.evaluator(config.evaluation.evaluator.name)
    available = {label.name: label for label in spec.available_labels}
    for label in evaluator.requires:
        other = available.get(label.name)
        if other is None:
            have = ", ".join(map(str, available.values())) or "none"
            raise UserError(
                f"data.{role}: {source.name} has no label {label}, which evaluator {evaluator.name} requires (it has "
                f"{have}); choose other data, or evaluation.evaluator=none"
            )
        fits = has_shape(label.shape, other.shape)
        if not fits or other.unit != label.unit:
            part = "unit" if fits else "shape"
            raise UserError(
                f"data.{role}: {source.name}'s label {label.name!r} has the {part} {getattr(other, part)!r}, evaluator "
                f"{evaluator.name} requires {getattr(label, part)!r}; make them equal, or set evaluation.evaluator=none"
            )


def has_shape(required: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether a label has the shape that an evaluator requires."""
    return len(shape) == len(required) and all(
        wanted in (ANY, side) for wanted, side in zip(required, shape, strict=True)
    )
