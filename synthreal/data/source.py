"""Opening a data set in a role: drawn, held on the device, or read from a pack as training goes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel

from synthreal.data.convert import convert_image
from synthreal.data.ondisk import OnDisk, agree, load
from synthreal.data.pack import Pack, PackOptions
from synthreal.data.resident import Resident
from synthreal.data.simulator import SimulatorSource
from synthreal.data.writer import write_pack
from synthreal.errors import UserError
from synthreal.files import writing
from synthreal.spec import DatasetSpec, ImageSpec, LabelSpec, Sample, Skipped

__all__ = ["OnDisk", "Resident", "SimulatorSource", "Source", "convert_samples", "default_budget", "open_source"]

Source = Resident | OnDisk | SimulatorSource


def open_source(
    spec: DatasetSpec,
    options: Any,
    *,
    image: ImageSpec,
    count: int | None = None,
    seed: int = 0,
    device: torch.device,
    cache: Path | None = None,
    budget_bytes: int | None = None,
) -> Source:
    """A data set ready to give batches.

    A simulator without ``count`` is :class:`SimulatorSource` (endless); with it, its first ``count`` images are drawn
    once and held. A data set of files is read once into the pack ``cache/<role>.h5``, used again as long as data set,
    options and image spec are the same (the files themselves are not read again); the built-in ``pack`` data set is
    used where it is. A pack that fits ``budget_bytes`` is held on the device, else read during training: the batches
    are the same.

    Args:
        spec: the data set; its role ``real`` drops every label whatever the source holds.
        options: its options, an instance of ``spec.options``.
        image: the images of the run; ``spec.image`` must agree or be None.
        count: take the first so many; None for all (or endless).
        seed: of a simulator.
        device: where the batches go.
        cache: folder of packs made here. None: read into memory only, which must then be large enough.
        budget_bytes: what may be held on the device; None takes :func:`default_budget`.

    Raises:
        UserError: unreadable input, images that do not suit the run, values that are not finite.
    """
    if count is not None and count < 1:
        raise UserError(f"data.{spec.role}.count is {count}; ask for at least 1 image, or 'none'")
    if spec.image is not None and not spec.image.alike(image):
        raise UserError(f"data set {spec.name!r}: its images are {spec.image}, this run uses {image}; choose another")
    budget = default_budget(device) if budget_bytes is None else budget_bytes
    if spec.render is not None:
        drawn = SimulatorSource(spec, options, seed, device, image)
        if count is None:
            return drawn
        labels = 4 * sum(int(np.prod(label.shape)) for label in spec.carried)  # float32, or less
        if count * (_image_bytes(image) + labels) > budget:
            raise UserError(
                f"data.{spec.role}: {count} images of {image} do not fit in memory ({budget >> 20} MiB may be used); "
                "lower the count, or `synthreal prepare` them and use the data set 'pack'"
            )
        return drawn.to_resident(count)
    if isinstance(options, PackOptions):
        return _from_pack(Pack(options.path), spec, image, count, device, budget)
    if cache is not None:
        return _from_pack(Pack(_cached(spec, options, image, count, cache)), spec, image, count, device, budget)
    with tempfile.TemporaryDirectory() as folder:
        pack = Pack(_cached(spec, options, image, count, Path(folder)))
        source = _from_pack(pack, spec, image, count, device, budget)
        pack.close()
        if isinstance(source, OnDisk):
            raise UserError(
                f"data.{spec.role}: {len(source)} images do not fit in memory; `synthreal prepare` a pack of them"
            )
        return source


def convert_samples(
    samples: Iterator[Sample | Skipped], image: ImageSpec, labels: tuple[LabelSpec, ...]
) -> Iterator[Sample | Skipped]:
    """Samples of a data set without an image spec of its own, made to measure; ``labels`` forbid resizing."""
    for index, sample in enumerate(samples):
        if isinstance(sample, Skipped):
            yield sample
            continue
        if labels and sample.image.shape[1:] != image.shape[1:]:
            height, width = sample.image.shape[1:]
            raise UserError(
                f"image {index} is {height}x{width}, the run uses {image}, and its label {labels[0]} forbids "
                "resizing; crop the images in the reader"
            )
        try:
            pixels = convert_image(sample.image, image)
        except UserError as error:
            raise UserError(f"image {index}: {error}") from error
        yield Sample(pixels, sample.labels)


def default_budget(device: torch.device) -> int:
    """Bytes that may be held on the device: half of what is free now."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0]) // 2
    with suppress(OSError, StopIteration):  # Linux: free pages plus what the page cache would give back
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]) * 1024 // 2
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _from_pack(
    pack: Pack, spec: DatasetSpec, image: ImageSpec, count: int | None, device: torch.device, budget: int
) -> Resident | OnDisk:
    agree(pack, image)
    labels = replace(spec, labels=pack.labels).carried
    names = tuple(label.name for label in labels)
    n = len(pack) if count is None else min(count, len(pack))
    dtypes = pack.label_dtypes
    size = sum(int(np.prod(label.shape)) * dtypes[label.name].itemsize for label in labels)
    if n * (_image_bytes(image) + size) <= budget:
        held = load(pack, device=device, count=count, names=names)
        pack.close()
        return held
    return OnDisk(pack, device=device, count=count, names=names, budget_bytes=budget)


def _cached(spec: DatasetSpec, options: BaseModel, image: ImageSpec, count: int | None, cache: Path) -> Path:
    """The pack of a data set of files, made unless the one that lies there will do."""
    path = cache / f"{spec.role}.h5"
    record = options.model_dump(mode="json")
    if path.is_file():
        with suppress(UserError), Pack(path) as old:  # damaged: made again below
            enough = old.header.limit is None or (count is not None and count <= old.header.limit)
            found = (old.name, old.role, dict(old.options), old.image, old.labels)
            if found == (spec.name, spec.role, record, image, spec.carried) and enough:
                return path
    with writing(cache):
        cache.mkdir(parents=True, exist_ok=True)
    if spec.read is None:
        raise TypeError(f"data set {spec.name!r} draws; it is not read")
    samples: Iterator[Sample | Skipped] = spec.read(options)
    if spec.image is None:
        samples = convert_samples(samples, image, spec.carried)
    write_pack(
        path,
        samples,
        image=image,
        labels=spec.labels,
        role=spec.role,
        name=spec.name,
        options=record,
        limit=count,
        overwrite=True,
    )
    return path


def _image_bytes(image: ImageSpec) -> int:
    return int(np.prod(image.shape)) * np.dtype(image.dtype).itemsize
