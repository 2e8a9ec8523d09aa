"""Preparing packs: a data set is read, or sampled from a simulator, and written once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from synthreal.config.toml import describe_error, from_none, merge, parse_settings
from synthreal.data.encoding import stored_array
from synthreal.data.ondisk import choose_rows
from synthreal.data.pack import PLACES, Pack, PackOptions, pack_dataset
from synthreal.data.pictures import PicturesOptions, labelled_dataset
from synthreal.data.simulator import SimulatorSource
from synthreal.data.source import read_samples
from synthreal.data.writer import PackSummary, PackWriter, write_pack
from synthreal.device import resolve_device
from synthreal.errors import UserError
from synthreal.hooks.catalog import Catalog, versions_of
from synthreal.hooks.resolve import recipe_image
from synthreal.spec import ROLES, ImageSpec, Sample, Skipped


def prepare(
    catalog: Catalog,
    dataset: str,
    out: str | Path,
    *,
    settings: Iterable[str] = (),
    role: str | None = None,
    limit: int | None = None,
    seed: int = 0,
    device: str = "auto",
    on_progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> PackSummary:
    """Write a data set of the catalog as a pack, atomically.

    A pack made from another pack has its role, images, labels, list of unreadable files, and its origin: the name and
    options of the data set, with absolute paths.

    Args:
        catalog: the catalog that contains the data set.
        dataset: name of the data set.
        out: path of the pack; must not exist.
        settings: options of the data set as ``option=value``.
        role: role of the data set; None takes the first one it is registered in, or the role of a pack.
        limit: images at most; required for a simulator. Of files a random choice, the same every time, for which all
            are read twice; of a simulator the first ones.
        seed: seed of a simulator.
        device: device of a simulator.
        on_progress: called with the number of images and with the total, None if that is unknown.

    Raises:
        UserError: an unknown data set, role or option, unreadable files, a simulator without ``limit``, a labelled
            role for a pack without labels.
    """
    if role is not None and role not in ROLES:
        raise UserError(f"--role {role}: not a role; use one of {', '.join(ROLES)}")
    spec = catalog.dataset(dataset, role)
    given: dict[str, Any] = {}
    for setting in parse_settings(settings):
        given = merge(given, from_none(setting))
    try:
        options = spec.options.model_validate(given)
    except ValidationError as error:
        raise UserError(f"{dataset}: {describe_error(error, spec.options)}") from None
    spec = labelled_dataset(spec, options)
    name, recorded = spec.name, options.model_dump(mode="json")
    if isinstance(options, PackOptions):
        found = pack_dataset(spec, options)
        if role not in (None, "simulated", "real", found.role) and not found.labels:
            raise UserError(f"--role {role}: {options.path} ({found.role}) holds no labels; use simulated or real")
        spec = found if role is None else replace(found, role=spec.role)
        with Pack(options.path) as pack:
            name, recorded = pack.name, dict(pack.options)
    elif isinstance(options, PicturesOptions) and role not in (None, "simulated", "real") and not spec.labels:
        raise UserError(f"--role {role}: {dataset} has no labels; set its option `labels`, or use simulated or real")
    image = spec.image or _domain_image(catalog)
    header: dict[str, Any] = {
        "image": image,
        "labels": spec.available_labels,
        "role": spec.role,
        "name": name,
        "options": {key: os.path.realpath(str(value)) if key in PLACES else value for key, value in recorded.items()},
        "versions": versions_of(catalog),
    }
    if spec.read is not None:
        if limit is not None and Path(out).exists():  # before all files are read
            raise UserError(f"{out}: already exists; delete it or choose another name")
        total, samples = None, read_samples(spec, options, image)
        if limit is not None:
            total = sum(isinstance(item, Sample) for item in spec.read(options))
            if total > limit:
                samples = _chosen(samples, set(choose_rows(total, limit).tolist()))
        summary = write_pack(out, samples, **header, limit=limit, progress=lambda done: on_progress(done, limit))
        return replace(summary, total=total)
    if limit is None:
        raise UserError(f"{dataset}: a simulator draws without end; give the number of images with --limit")
    simulator = SimulatorSource(spec, options, seed, resolve_device(device), image)
    with PackWriter(out, **header) as writer, torch.no_grad():
        for pixels, labels in simulator.blocks(limit):
            writer.append(stored_array(pixels), {name: values.cpu().numpy() for name, values in labels.items()})
            on_progress(writer.n, limit)
    return writer.summary()


def _chosen(samples: Iterable[Sample | Skipped], rows: set[int]) -> Iterator[Sample | Skipped]:
    """The samples ``rows``, and all unreadable files before the last one."""
    index = 0
    for item in samples:
        if not isinstance(item, Sample) or index in rows:
            yield item
        index += isinstance(item, Sample)


def _domain_image(catalog: Catalog) -> ImageSpec:
    """The image specification of the domain's recipe, or that of its simulator."""
    recipe = catalog.recipe()
    image = recipe_image(recipe, catalog)
    if image is None:
        raise UserError(
            f"recipe {recipe.recipe}: neither the recipe nor its simulator specifies the image; set `image`"
        )
    return image
