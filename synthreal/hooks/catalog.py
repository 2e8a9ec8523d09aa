"""The catalog of everything the loaded plugins register: the names in a configuration become specs."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

import synthreal.config
from synthreal.config import ComponentConfig, RunConfig
from synthreal.config.toml import describe_error
from synthreal.errors import UserError
from synthreal.hooks.discovery import BUILTIN, Origin, available, origin_of, plugin_manager, require_trust, version_of
from synthreal.spec import DatasetSpec, EvaluatorSpec, FeatureSpec, ImageSpec, NetworkSpec, Part, Role

if TYPE_CHECKING:
    from torch import nn

T = TypeVar("T")
KINDS: Mapping[str, Any] = {
    "datasets": DatasetSpec,
    "networks": NetworkSpec,
    "features": FeatureSpec,
    "evaluators": EvaluatorSpec,
    "recipes": RunConfig,
}


@dataclass(frozen=True)
class Entry(Generic[T]):
    """A spec and the plugin that registers it."""

    spec: T
    origin: Origin


@dataclass(frozen=True)
class Catalog:
    """Everything the loaded plugins register, by name; data sets by (name, role), networks by (part, name).

    ``trust`` permits components that execute code from the files in their options.
    """

    origins: tuple[Origin, ...]
    datasets: Mapping[tuple[str, Role], Entry[DatasetSpec]]
    networks: Mapping[tuple[Part, str], Entry[NetworkSpec]]
    features: Mapping[str, Entry[FeatureSpec]]
    evaluators: Mapping[str, Entry[EvaluatorSpec]]
    recipes: Mapping[str, Entry[RunConfig]]
    trust: bool = False

    @classmethod
    def of_run(cls, config: RunConfig, source: str | Path, *, trust: bool = False) -> Catalog:
        """Load the plugins that the configuration of a run names, which a stranger may have written.

        Raises:
            UserError: as :meth:`of`; or, without ``trust``, a plugin is neither installed nor loaded already.
        """
        if not trust:
            require_trust(config.plugins, str(source))
        return cls.of(config.plugins, trust=trust)

    @classmethod
    def of(cls, names: Iterable[str], *, trust: bool = False) -> Catalog:
        """Load plugins by name, module or file, and call each of their hooks once.

        Raises:
            UserError: a plugin does not load, a hook does not return its specs, or two plugins register one name.
        """
        manager = plugin_manager(names)
        tables: dict[str, dict[Any, Entry[Any]]] = {kind: {} for kind in KINDS}
        origins = []
        for name, plugin in manager.list_name_plugin():
            origin = origin_of(name)
            origins.append(origin)
            for kind, table in tables.items():
                for key, spec in _specs(plugin, kind, origin.plugin):
                    if key in table:
                        both = f"{table[key].origin.distribution} and {origin.distribution}"
                        raise UserError(f"{kind}: {_label(key)} is registered by both {both}; rename one or load one")
                    table[key] = Entry(spec, origin)
        return cls(tuple(origins), **{kind: MappingProxyType(table) for kind, table in tables.items()}, trust=trust)

    def dataset(self, name: str, role: Role | None = None) -> DatasetSpec:
        """The data set of a name and role; without a role, the first one registered under the name."""
        roles = {known: entry for (other, known), entry in self.datasets.items() if other == name}
        if not roles:
            self._find("data set", name, {other: entry for (other, _), entry in self.datasets.items()})
        role = role or next(iter(roles))
        if role not in roles:
            raise UserError(f"data set {name!r} has no role {role}; it has {', '.join(roles)}")
        return roles[role].spec

    def network(self, part: Part, name: str) -> NetworkSpec:
        """The refiner or discriminator of a name."""
        return self._find(part, name, {known: entry for (kind, known), entry in self.networks.items() if kind == part})

    def feature(self, name: str) -> FeatureSpec:
        """The feature transform (psi) of a name."""
        return self._find("features", name, self.features)

    def evaluator(self, name: str) -> EvaluatorSpec:
        """The evaluator of a name."""
        return self._find("evaluator", name, self.evaluators)

    def recipe(self, name: str | None = None) -> RunConfig:
        """The recipe of a name; without a name, the recipe named like a loaded plugin, else the first."""
        if name is None:
            default = [key for key, entry in self.recipes.items() if key == entry.origin.plugin]
            name = next(iter(default or self.recipes), None)
        if name is None:
            loaded = ", ".join(origin.plugin for origin in self.origins[1:]) or "none"
            raise UserError(f"no recipe in the loaded plugins ({loaded}); name a plugin with --plugin that has one")
        recipe = self._find("recipe", name, self.recipes)
        origin = self.recipes[name].origin.plugin
        return recipe.model_copy(update={"recipe": name, "plugins": recipe.plugins or (origin,)})

    def build_network(self, part: Part, component: ComponentConfig, image: ImageSpec) -> nn.Module:
        """A new refiner or discriminator for images of a spec."""
        spec = self.network(part, component.name)
        return spec.build(parse_options(component, spec.options, part), image)

    def build_feature(self, component: ComponentConfig, image: ImageSpec) -> nn.Module:
        """A new feature transform (psi) for images of a spec. Raises ``UserError`` if it needs ``trust``."""
        spec = self.feature(component.name)
        if spec.executes and not self.trust:
            raise UserError(
                f"features.{component.name}: loading its file can run code from it; if you trust it, give --trust "
                "(in Python: Catalog.of(..., trust=True))"
            )
        return spec.build(parse_options(component, spec.options, f"features.{component.name}"), image)

    def _find(self, kind: str, name: str, table: Mapping[str, Entry[T]]) -> T:
        if name in table:
            return table[name].spec
        near = difflib.get_close_matches(name, table, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise UserError(
            f"{kind} {name!r} is not registered by {', '.join(origin.plugin for origin in self.origins)}; {hint}"
            f"known: {', '.join(table) or 'none'}; install or name the plugin that registers it"
        )


def parse_options(component: ComponentConfig, model: type[BaseModel], path: str) -> Any:
    """The options of a component as its pydantic model. Raises ``UserError`` naming ``path.options.<field>``."""
    try:
        return model.model_validate(component.options)
    except ValidationError as error:
        raise UserError(describe_error(error, model, f"{path}.options")) from None


def versions_of(catalog: Catalog) -> dict[str, str]:
    """The versions of synthreal, torch, numpy, kornia and the loaded plugins by distribution."""
    versions = {name: version_of(name) for name in ("torch", "numpy", "kornia")}
    return {**{origin.distribution: origin.version for origin in catalog.origins}, **versions}


def inventory() -> list[dict[str, Any]]:
    """The built-ins and every installed plugin: origin, what it registers, or the error that it raises on loading."""
    rows = []
    for name in (BUILTIN, *available()):
        registers, error = {}, None
        try:
            catalog = Catalog.of(() if name == BUILTIN else (name,))
            for kind in KINDS:
                table = getattr(catalog, kind)
                registers[kind] = [_label(key) for key, entry in table.items() if entry.origin.plugin == name]
        except Exception as raised:  # an installed plugin may raise anything; the others are listed
            error = f"does not load: {raised}"
        rows.append({**asdict(origin_of(name)), "registers": registers, "error": error})
    return rows


def _specs(plugin: Any, kind: str, name: str) -> Iterator[tuple[Any, Any]]:
    """The specs that one hook of a plugin returns, if it has it, with their keys; only their types are checked here."""
    hook = getattr(plugin, f"synthreal_{kind}", None)
    if hook is None:
        return
    where = f"plugin {name}: synthreal_{kind}()"
    expected = "a mapping of names to RunConfigs" if kind == "recipes" else f"{KINDS[kind].__name__}s"
    try:
        returned = hook()
        if isinstance(returned, BaseModel) or isinstance(returned, Mapping) != (kind == "recipes"):
            raise UserError(f"{where} returns a {type(returned).__name__}; return {expected}")
        items: list[Any] = list(returned.items() if kind == "recipes" else ((None, spec) for spec in returned))
    except ValidationError as error:
        model = getattr(synthreal.config, error.title, BaseModel)
        raise UserError(f"{where}: {describe_error(error, model, error.title)}") from error
    except TypeError as error:
        raise UserError(f"{where}: {error}; return {expected}") from error
    for key, spec in items:
        if not isinstance(spec, KINDS[kind]):
            raise UserError(f"{where} contains a {type(spec).__name__}; return {expected}")
        if isinstance(spec, DatasetSpec):
            yield (spec.name, spec.role), spec
        elif isinstance(spec, NetworkSpec):
            yield (spec.part, spec.name), spec
        else:
            yield (key if kind == "recipes" else spec.name), spec


def _label(key: Any) -> str:
    return " ".join(map(str, key)) if isinstance(key, tuple) else str(key)
