"""Warnings about the data sets of a run: unreadable, few and equal images, and test images of another origin."""

from __future__ import annotations

import os
from collections.abc import Mapping, Set
from typing import Any

import torch

from synthreal.config import ResolvedConfig
from synthreal.data.encoding import to_unit
from synthreal.data.fingerprint import digest
from synthreal.data.levels import nearly_constant
from synthreal.data.pack import PLACES, Pack, PackOptions
from synthreal.data.pictures import PICTURES
from synthreal.data.simulator import SimulatorSource
from synthreal.data.source import Source
from synthreal.hooks.catalog import Catalog
from synthreal.hooks.resolve import dataset_of
from synthreal.spec import Role
from synthreal.train.sources import first_images, random_images

FEW = 200
COMPARED_BYTES = 1 << 28  # of each set, in which equal images are searched
PART = 256  # images that are converted at once


def reading_warnings(role: Role, source: Source) -> list[str]:
    """The unreadable files, of which the cached pack lists all, and the choice of ``count`` images if it left any out.

    The first three files are named.
    """
    if isinstance(source, SimulatorSource):
        return []
    found = []
    if skipped := source.skipped:
        shown = "; ".join(f"{item.path}: {item.reason}" for item in skipped[:3]) + "; ..." * (len(skipped) > 3)
        found.append(f"data.{role}: {len(skipped)} unreadable files skipped: {shown}")
    if source.total is not None and source.total > len(source):
        found.append(f"data.{role}: {len(source):,} of {source.total:,} images, chosen at random (seed 0)")
    return found


def duplicate_warnings(simulated: Source, real: Source) -> list[str]:
    """Warnings about images that a set holds twice, and about real images that are simulated ones.

    Equal pixels are found, in 256 MiB of random images of each set. Nearly constant images, such as windows of a black
    background, are left out.
    """
    found: list[str] = []
    digests: list[set[bytes]] = []
    for role, source in (("simulated", simulated), ("real", real)):
        if not isinstance(source, SimulatorSource):
            size = first_images(source, 1).image.nbytes
            images = random_images(source, max(1, COMPARED_BYTES // size), seed=0).image
            plain = torch.cat([nearly_constant(to_unit(part)) for part in images.split(PART)])
            compared = images[~plain].cpu().numpy()
            digests.append({digest(image) for image in compared})
            repeated = len(compared) - len(digests[-1])
            if repeated and len(digests[-1]) > 1:  # if all are equal, the warnings about levels say so
                found.append(f"data.{role}: {repeated} of {len(images)} images are equal to others; remove them")
    if len(digests) == 2 and (same := len(set.intersection(*digests))):
        found.append(f"data.real: {same} images are also in data.simulated; keep them in one of the two")
    return found


def few_images_warnings(real: Source) -> list[str]:
    """A warning when there are so few real images that D can memorise them."""
    if isinstance(real, SimulatorSource) or len(real) >= FEW:
        return []
    return [f"few real images: {len(real)}; D can memorise them, give {FEW} or more"]


def origin_warnings(config: ResolvedConfig, catalog: Catalog, role: Role) -> list[str]:
    """A warning if the images of a role come from another data set than the unlabelled real ones.

    Data sets of one name are the same if their folders are; of pictures, the labelled ones always lie in a folder of
    their own. Without folders, their switches and real-valued options must be equal; whole numbers and texts choose
    images, such as people.
    """
    (name, mine), (real, its) = (_origin(config, catalog, kind) for kind in (role, "real"))
    shared = mine.keys() & its.keys()
    if places := shared & PLACES:
        apart = {key for key in places if os.path.realpath(str(mine[key])) != os.path.realpath(str(its[key]))}
    else:
        apart = {key for key in shared if isinstance(mine[key], bool | float) and mine[key] != its[key]}
    if name == real and (not apart or name == PICTURES):
        return []
    found, other = (_described(*data_set, PLACES | apart) for data_set in ((name, mine), (real, its)))
    return [
        f"data.{role} is {found}, another data set than data.real, {other}: results on the one may "
        f"not hold for the other; set data.{role} to labelled images of data.real, or none"
    ]


def _origin(config: ResolvedConfig, catalog: Catalog, role: Role) -> tuple[str, Mapping[str, Any]]:
    """The name and options of the data set of a role; of a pack, those of the data set that it was made from."""
    _, options, source = dataset_of(config, catalog, role)
    if not isinstance(options, PackOptions):
        return source.name, source.options
    with Pack(options.path) as pack:
        return pack.name, pack.options


def _described(name: str, options: Mapping[str, Any], keys: Set[str]) -> str:
    shown = ", ".join(f"{key}={value}" for key, value in options.items() if key in keys)
    return f"{name} ({shown})" if shown else name
