"""Checking the data sets of a training together: each alone, and the simulated set against the real one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from synthreal.check.contents import Contents, pairs
from synthreal.check.items import FolderItems, PackItems, open_items
from synthreal.check.measure import Measured, measure
from synthreal.data.fingerprint import nearly_equal
from synthreal.data.flatness import swapped
from synthreal.data.levels import level_warnings
from synthreal.errors import UserError
from synthreal.hooks.catalog import Catalog
from synthreal.hooks.resolve import configure
from synthreal.spec import Role

_PAIR: tuple[Role, Role] = ("simulated", "real")


@dataclass(frozen=True, kw_only=True)
class Check:
    """The contents of every path; ``between`` says what is wrong between the first, simulated, and the second, real."""

    sets: tuple[Contents, ...]
    between: tuple[str, ...]

    @property
    def findings(self) -> list[str]:
        """Everything that is wrong, one line each with the remedy."""
        return [*(finding for found in self.sets for finding in found.findings), *self.between]

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON."""
        return {"sets": [found.to_json() for found in self.sets], "between": list(self.between)}


def check_sets(
    paths: Sequence[str | Path],
    *,
    catalog: Catalog | None = None,
    on_progress: Callable[[str, int, int], None] = lambda path, done, total: None,
) -> Check:
    """Check folders of pictures and packs.

    With two or more paths, the first is the simulated set and the second the real one, and they are compared; further
    ones are checked alone.

    Args:
        paths: folders or packs, at least one.
        catalog: a domain; its default recipe says which image format and labels packs must have.
        on_progress: gets the path, and the number of its images that are read and of all.

    Raises:
        UserError: a path does not exist or holds no readable image; or, with a catalog, it is no pack.
    """
    opened = [open_items(Path(path)) for path in paths]
    roles = [*_PAIR, *[None] * len(opened)] if len(opened) > 1 else [None]
    sets = list(zip(opened, roles, strict=False))
    recipe_findings = [() if catalog is None else _recipe_findings(items, role, catalog) for items, role in sets]
    found = [measure(items, role, partial(on_progress, str(items.path))) for items, role in sets]
    contents = [
        replace(one.contents, findings=(*more, *one.contents.findings))
        for one, more in zip(found, recipe_findings, strict=True)
    ]
    between = _between(found[0], found[1]) if len(found) > 1 else []
    folders = [items.path for items in opened[:2] if isinstance(items, FolderItems)]
    if len(folders) > 1 and (problem := swapped(*folders)):
        between.append(problem)
    return Check(sets=tuple(contents), between=tuple(between))


def _recipe_findings(items: FolderItems | PackItems, role: Role | None, catalog: Catalog) -> tuple[str, ...]:
    """Why a pack does not fit the default recipe of a catalog, if it does not."""
    path = items.path
    if isinstance(items, FolderItems):
        raise UserError(f"{path}: is a folder; make a pack of it with `synthreal prepare`, or leave out --plugin")
    image = asdict(configure(catalog).image)  # an error here is the recipe's, not the pack's
    source = {"name": "pack", "options": {"path": str(path)}, "count": None}
    try:
        configure(catalog, {"image": image, "data": {role or items.role: source}})
    except UserError as error:
        return (f"{path}: does not fit the recipe: {error}",)
    return ()


def _between(simulated: Measured, real: Measured) -> list[str]:
    """What is wrong between two sets, one line each with the remedy."""
    base, other = simulated.contents, real.contents
    found = []
    if base.role not in (None, "simulated") or other.role == "simulated":
        roles = f"{base.role or 'none'} and {other.role or 'none'}"
        found.append(
            f"{base.path} and {other.path}: have the roles {roles}; give the simulated set first, then the real one"
        )
    same = {name: simulated.digests[key] for key, name in real.digests.items() if key in simulated.digests}
    alike = {}
    if len(simulated.edges) and len(real.edges):
        for name, row in zip(real.names, nearly_equal(real.edges, simulated.edges), strict=True):
            if row >= 0 and name not in same:
                alike[name] = simulated.names[row]
    for how, names in (("are equal to", same), ("hardly differ from", alike)):
        if names:
            found.append(
                f"{other.path}: {len(names)} of {other.images} images {how} images of {base.path} ({pairs(names)}); "
                "keep them in one of the two"
            )
    if simulated.levels is not None and real.levels is not None:
        own = {*base.findings, *other.findings}
        found += [warning for warning in level_warnings(simulated.levels, real.levels) if warning not in own]
    return found
