"""From plugin names to an immutable catalog of everything they offer, and from names in a configuration to specs.

Discovery is a function call. Only what is named is loaded, so a broken plugin cannot break a run that does not name it.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import pluggy
from pydantic import BaseModel, ValidationError

from synthreal.config import ComponentConfig, RunConfig
from synthreal.errors import UserError
from synthreal.hooks import builtin, hookspecs
from synthreal.settings import explain
from synthreal.spec import DatasetSpec, EvaluatorSpec, FeatureSpec, ImageSpec, NetworkSpec, Part, Role

if TYPE_CHECKING:
    from torch import nn

T = TypeVar("T")
BUILTIN = "synthreal"


@dataclass(frozen=True)
class Origin:
    """Where a plugin came from: its name, distribution and version ("sha256:..." for a file)."""

    plugin: str
    distribution: str
    version: str


@dataclass(frozen=True)
class Entry(Generic[T]):
    """A spec and who gave it."""

    spec: T
    origin: Origin


@dataclass(frozen=True)
class Catalog:
    """Everything the loaded plugins offer, by name; data sets by (name, role), networks by (part, name)."""

    origins: tuple[Origin, ...]
    datasets: Mapping[tuple[str, Role], Entry[DatasetSpec]]
    networks: Mapping[tuple[Part, str], Entry[NetworkSpec]]
    features: Mapping[str, Entry[FeatureSpec]]
    evaluators: Mapping[str, Entry[EvaluatorSpec]]
    recipes: Mapping[str, Entry[RunConfig]]

    @classmethod
    def of(cls, names: Iterable[str]) -> Catalog:
        """Load plugins by name, module or file, call every hook once, refuse clashes naming both distributions."""
        manager = plugin_manager(names)
        tables: dict[str, dict[Any, Entry[Any]]] = {
            hook: {} for hook in ("datasets", "networks", "features", "evaluators", "recipes")
        }
        origins = []
        for name, plugin in manager.list_name_plugin():
            origin = origin_of(name, plugin)
            origins.append(origin)
            for kind, table in tables.items():
                for key, spec in _offers(plugin, kind, origin):
                    if key in table:
                        raise UserError(
                            f"{kind}: {_shown(key)} is registered by both {table[key].origin.distribution} and "
                            f"{origin.distribution}; rename one or load only one of the plugins"
                        )
                    table[key] = Entry(spec, origin)
        return cls(tuple(origins), **{kind: MappingProxyType(table) for kind, table in tables.items()})

    def dataset(self, name: str, role: Role | None = None) -> DatasetSpec:
        """The data set of that name in that role; without a role, the first registered under the name."""
        if role is not None and (name, role) in self.datasets:
            return self.datasets[name, role].spec
        same = [entry.spec for (known, _), entry in self.datasets.items() if known == name]
        if not same:
            raise self._missing("data set", name, sorted({known for known, _ in self.datasets}))
        if role is not None:
            raise UserError(f"data set {name!r} has no role {role}; it has {', '.join(spec.role for spec in same)}")
        return same[0]

    def network(self, part: Part, name: str) -> NetworkSpec:
        """The refiner or discriminator of that name."""
        if (part, name) not in self.networks:
            raise self._missing(part, name, [known for kind, known in self.networks if kind == part])
        return self.networks[part, name].spec

    def feature(self, name: str) -> FeatureSpec:
        """The psi of that name."""
        if name not in self.features:
            raise self._missing("features", name, list(self.features))
        return self.features[name].spec

    def evaluator(self, name: str) -> EvaluatorSpec:
        """The evaluator of that name."""
        if name not in self.evaluators:
            raise self._missing("evaluator", name, list(self.evaluators))
        return self.evaluators[name].spec

    def recipe(self, name: str | None = None) -> RunConfig:
        """The recipe of that name; without one, the recipe named like a loaded plugin, else the first."""
        if name is None:
            ours = [key for key, entry in self.recipes.items() if key == entry.origin.plugin]
            name = next(iter(ours or self.recipes), None)
            if name is None:
                loaded = ", ".join(o.plugin for o in self.origins if o.plugin != BUILTIN) or "nothing"
                raise UserError(
                    f"no recipe: {loaded} loaded, and it offers none; name a plugin with --plugin that has one"
                )
        if name not in self.recipes:
            raise self._missing("recipe", name, list(self.recipes))
        entry = self.recipes[name]
        plugins = entry.spec.plugins or ((entry.origin.plugin,) if entry.origin.plugin != BUILTIN else ())
        return entry.spec.model_copy(update={"recipe": name, "plugins": plugins})

    def build_network(self, part: Part, component: ComponentConfig, image: ImageSpec) -> nn.Module:
        """A fresh refiner or discriminator for images of that spec."""
        spec = self.network(part, component.name)
        return spec.build(typed(component, spec.options, part), image)

    def _missing(self, kind: str, name: str, known: list[str]) -> UserError:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        return UserError(
            f"{kind} {name!r} is not registered by {', '.join(o.plugin for o in self.origins)}; {hint}"
            f"known: {', '.join(known) or 'none'}; install or name the plugin that has it"
        )


def typed(component: ComponentConfig, model: type[BaseModel], path: str) -> Any:
    """A component's options as its model. Raises ``UserError`` naming ``path.options.<field>``."""
    try:
        return model.model_validate(component.options)
    except ValidationError as error:
        raise UserError(explain(error, model, component.options, f"{path}.options")) from None


def plugin_manager(names: Iterable[str], modules: Iterable[ModuleType] = ()) -> pluggy.PluginManager:
    """A new manager holding the built-ins and the named plugins only.

    Args:
        names: entry points of group ``synthreal``, ``package.module`` or ``path/to/domain.py``.
        modules: further plugin objects, for tests.

    Raises:
        UserError: no such plugin, one that fails to import, or one with a hook nobody knows or not marked as one.
    """
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.register(builtin, BUILTIN)
    loaded = {name: _load(name) for name in dict.fromkeys(names)}
    try:
        for name, module in loaded.items():
            _refuse_unmarked(name, module)
            if not manager.is_registered(module):
                manager.register(module, name)
        for module in modules:
            manager.register(module)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise UserError(f"plugin {error.plugin}: {error}; the hooks are {', '.join(_hook_names())}") from None
    return manager


def available() -> list[str]:
    """Names of installed plugins, by entry point."""
    return sorted({point.name for point in metadata.entry_points(group=hookspecs.PROJECT)})


def canonical(name: str) -> str:
    """How a plugin is recorded: files by absolute path, everything else by name."""
    return str(Path(name).resolve()) if name.endswith(".py") else name


def origin_of(name: str, plugin: Any) -> Origin:
    """Name, distribution and version of a loaded plugin."""
    if name.endswith(".py"):
        digest = hashlib.sha256(Path(name).read_bytes()).hexdigest()
        return Origin(name, Path(name).name, f"sha256:{digest}")
    points = [point for point in metadata.entry_points(group=hookspecs.PROJECT) if point.name == name and point.dist]
    if points and points[0].dist is not None:
        return Origin(name, points[0].dist.name, points[0].dist.version)
    distribution = BUILTIN if name == BUILTIN else getattr(plugin, "__name__", name).partition(".")[0].replace("_", "-")
    return Origin(name, distribution, version_of(distribution))


def version_of(distribution: str) -> str:
    """The installed version of a distribution, "source" when it runs from a source tree without metadata."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "source"


def _hook_names() -> list[str]:
    return [name for name in vars(hookspecs) if name.startswith("synthreal_")]


def _refuse_unmarked(name: str, module: ModuleType) -> None:
    """A function named like a hook but not marked as one would be passed over in silence."""
    for hook in _hook_names():
        function = getattr(module, hook, None)
        if function is not None and not hasattr(function, f"{hookspecs.PROJECT}_impl"):
            raise UserError(f"plugin {name}: {hook} is not marked as a hook; put @synthreal.hookimpl above it")


def _load(name: str) -> ModuleType:
    if name.endswith(".py"):
        return _load_file(Path(name))
    points = [point for point in metadata.entry_points(group=hookspecs.PROJECT) if point.name == name]
    target = points[0].value if points else name if "." in name else f"synthreal_{name}"
    try:
        if not all(part.isidentifier() for part in target.split(".")):
            raise ModuleNotFoundError(name=target)
        return importlib.import_module(target)
    except ModuleNotFoundError as error:
        if points or error.name is None or not f"{target}.".startswith(f"{error.name}."):
            raise UserError(
                f"plugin {name!r} needs the module {error.name}, which is not installed; pip install it"
            ) from error
        found = ", ".join(available()) or "none"
        raise UserError(
            f"plugin {name!r} is not installed (installed: {found}); "
            f"{'install its package' if '.' in name else f'pip install synthreal-{name}'}, or give path/to/domain.py"
        ) from None
    except (ImportError, SyntaxError) as error:
        raise UserError(f"plugin {name!r} does not import: {error}") from error


def _load_file(path: Path) -> ModuleType:
    path = path.resolve()
    if not path.is_file():
        raise UserError(f"plugin {path}: no such file; give the path of a domain's .py file")
    name = f"synthreal_file_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, ImportError | SyntaxError):
            raise UserError(f"plugin {path} does not import: {error}") from error
        raise
    return module


def _offers(plugin: Any, kind: str, origin: Origin) -> Iterable[tuple[Any, Any]]:
    hook = getattr(plugin, f"synthreal_{kind}", None)
    if hook is None or getattr(hook, f"{hookspecs.PROJECT}_impl", None) is None:
        return
    for item in hook().items() if kind == "recipes" else hook():
        if kind == "recipes":
            yield item
        elif kind == "datasets":
            yield (item.name, item.role), item
        elif kind == "networks":
            yield (item.part, item.name), item
        else:
            yield item.name, item


def _shown(key: Any) -> str:
    return " ".join(map(str, key)) if isinstance(key, tuple) else str(key)


def inventory() -> list[dict[str, Any]]:
    """Built-ins and every installed plugin: name, distribution, version, what it registers, or why it does not load."""
    rows = [_row(BUILTIN, ())]
    for name in available():
        try:
            rows.append(_row(name, (name,)))
        except Exception as error:  # whatever an installed plugin raises, the others are listed
            why = f"does not load: {error}"
            rows.append({**dataclasses.asdict(origin_of(name, None)), "registers": {}, "error": why})
    return rows


def _row(name: str, names: tuple[str, ...]) -> dict[str, Any]:
    catalog = Catalog.of(names)
    origin = next(origin for origin in catalog.origins if origin.plugin == name)
    tables = ("datasets", "networks", "features", "evaluators", "recipes")
    registers = {
        kind: [_shown(key) for key, entry in getattr(catalog, kind).items() if entry.origin == origin]
        for kind in tables
    }
    return {**dataclasses.asdict(origin), "registers": registers, "error": None}
