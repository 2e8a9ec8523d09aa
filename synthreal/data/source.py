"""Opening a data set in a role: as a simulator, held on the device or read during training; converting its images."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel
from torch.nn.functional import interpolate

from synthreal.data.encoding import composite, first_bad, from_unit, image_bytes, stored_array, to_unit
from synthreal.data.folder import FolderOptions
from synthreal.data.ondisk import OnDisk, choose_rows, load
from synthreal.data.pack import Pack, PackOptions
from synthreal.data.pictures import PicturesOptions
from synthreal.data.resident import Resident
from synthreal.data.simulator import SimulatorSource
from synthreal.data.writer import write_pack
from synthreal.errors import UserError
from synthreal.files import refuse_link, write_errors
from synthreal.spec import STORED_DTYPES, DatasetSpec, ImageSpec, LabelSpec, Sample, Skipped

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
Source = Resident | OnDisk | SimulatorSource


def open_source(
    spec: DatasetSpec,
    options: Any,
    *,
    image: ImageSpec,
    count: int | None = None,
    seed: int = 0,
    device: torch.device,
    cache: Path,
    budget_bytes: int | None = None,
) -> Source:
    """A data set ready to give batches.

    A simulator without ``count`` is a :class:`SimulatorSource` (endless); with it, its first ``count`` images are
    rendered once and held. A data set of files is read once, whole, into the pack ``cache/<role>.h5``, which is
    used again while data set, options and image spec are the same (the files are not read again); the built-in data
    set ``pack`` is used in place. Of a pack, ``count`` images are chosen at random, the same in every run. A pack
    that fits ``budget_bytes`` (None: :func:`default_budget`) is held on the device, a larger one is read during
    training; the batches are the same.
    Unreadable input, images that differ from ``image`` in shape or dtype and non-finite values raise ``UserError``.
    """
    budget = default_budget(device) if budget_bytes is None else budget_bytes
    if spec.render is not None:
        simulator = SimulatorSource(spec, options, seed, device, image)
        if count is None:
            return simulator
        label_bytes = 8 * sum(int(np.prod(label.shape)) for label in spec.available_labels)  # at most, per number
        if count * (image_bytes(image) + label_bytes) > budget:
            raise UserError(
                f"data.{spec.role}: {count} images of {image} do not fit in memory ({budget >> 20} MiB may be used); "
                "lower the count, or `synthreal prepare` them and use the data set 'pack'"
            )
        return simulator.to_resident(count)
    is_pack = isinstance(options, PackOptions)
    pack = Pack(options.path if is_pack else _cached_pack(spec, options, image, cache))
    if not pack.image.alike(image):
        raise UserError(
            f"{pack.path}: holds images {pack.image} ({pack.image.meaning or pack.name}), this run uses {image} "
            f"({image.meaning or 'its own'}); give a pack of this domain"
        )
    names = tuple(label.name for label in replace(spec, labels=pack.labels).available_labels)
    rows = choose_rows(len(pack), count)
    if (image_bytes(image) + pack.label_bytes(names)) * len(rows) > budget:
        return OnDisk(pack, device=device, rows=rows, names=names, budget_bytes=budget)
    with pack:
        return load(pack, device=device, rows=rows, names=names)


def read_samples(spec: DatasetSpec, options: Any, image: ImageSpec) -> Iterator[Sample | Skipped]:
    """The samples of a data set of files, converted to ``image`` if its spec has none."""
    assert spec.read is not None, "a data set has read or render"
    if isinstance(options, PicturesOptions):
        _refuse_windows(options, image, spec.name)
    samples = spec.read(options)
    if spec.image is not None:
        return samples
    background = options.background if isinstance(options, FolderOptions) else 0.0
    return _converted(samples, image, spec.available_labels, background)


def _refuse_windows(options: PicturesOptions, image: ImageSpec, name: str) -> None:
    """Raise ``UserError`` if windows would have to be resized, which distorts them, or given an alpha channel."""
    height, width = options.crop
    if (height, width) != (image.height, image.width):
        raise UserError(
            f"data set {name!r}: option crop is {height}x{width}, but image is {image.height}x{image.width} px; "
            "make them equal"
        )
    if image.channels in (2, 4):
        raise UserError(
            f"data set {name!r}: its windows have no alpha, but image has {image.channels} channels; use 1 or 3, or "
            "the data set 'folder'"
        )


def _converted(
    samples: Iterator[Sample | Skipped], image: ImageSpec, labels: tuple[LabelSpec, ...], background: float
) -> Iterator[Sample | Skipped]:
    """Samples converted to ``image``; :func:`synthreal.data.writer.write_pack` refuses anything else among them.

    With ``labels`` they are not resized: a keypoint, mask or angle may not be true in another size or aspect ratio.
    """
    for index, sample in enumerate(samples):
        if not isinstance(sample, Sample):
            yield sample
            continue
        given = np.asarray(sample.image)
        if labels and given.ndim == 3 and given.shape[1:] != image.shape[1:]:
            height, width = given.shape[1:]
            raise UserError(
                f"image {index} is {height}x{width}, the run uses {image}, and its label {labels[0]} forbids "
                "resizing; crop the images in the reader"
            )
        try:
            pixels = convert_image(given, image, background)
        except UserError as error:
            raise UserError(f"image {index}: {error}") from error
        yield Sample(pixels, sample.labels)


def convert_image(image: np.ndarray, spec: ImageSpec, background: float = 0.0) -> np.ndarray:
    """Convert an image ``(C, H, W)`` of any size, 1 to 4 channels, uint8, uint16 or float16, to one of ``spec``.

    Channels: for grey and RGB, pixels with alpha are composited on the grey ``background`` in [0, 1], so that colours
    hidden under transparent pixels do not count; colour becomes grey by the Rec. 601 luma, and grey is repeated. Size:
    antialiased bilinear interpolation without regard to the aspect ratio; nearest neighbour when the spec has a
    background or an invalid value, because blending depth across an edge invents surfaces. Depth: scaled by the maxima
    of the dtypes. An image that already has the shape and dtype of ``spec`` is returned unchanged. Channels that cannot
    be mapped (2 or 4 need files with as many), other dtypes and pixels outside [0, 1] raise ``UserError``.
    """
    if image.ndim != 3 or not 1 <= image.shape[0] <= 4:
        raise UserError(f"an image of shape {image.shape} is not (C, H, W) with 1 to 4 channels; correct the reader")
    if str(image.dtype) not in STORED_DTYPES:  # its name would not tell the byte order
        raise UserError(f"an image is {image.dtype}, not {', '.join(STORED_DTYPES)}; correct the reader")
    if image.shape == spec.shape and image.dtype == np.dtype(spec.dtype):
        return image
    if first_bad(image[None], unit=True) is not None:
        raise UserError("an image has a pixel that is NaN, infinite or outside [0, 1]; remove or repair it")
    pixels = _channels(torch.from_numpy(to_unit(image)), spec.channels, background)
    if pixels.shape[1:] != (size := (spec.height, spec.width)):
        blend = spec.background is None and spec.invalid is None
        pixels = interpolate(pixels[None], size, mode="bilinear" if blend else "nearest-exact", antialias=blend)[0]
    return stored_array(from_unit(pixels, spec.dtype))


def _channels(pixels: torch.Tensor, channels: int, background: float) -> torch.Tensor:
    given = len(pixels)
    if given == channels:
        return pixels
    colour = composite(pixels, background) if given in (2, 4) else pixels
    if channels == 1:
        return (colour * torch.tensor(_LUMA)[:, None, None]).sum(0, keepdim=True) if len(colour) == 3 else colour
    if channels == 3:
        return colour.expand(3, -1, -1) if len(colour) == 1 else colour
    raise UserError(f"an image of {given} channels cannot become one of {channels}; give files with {channels}")


def default_budget(device: torch.device) -> int:
    """The bytes that may be used on the device: half of its free memory."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0]) // 2
    with suppress(OSError, StopIteration):  # Linux: free pages plus reclaimable page cache
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]) * 1024 // 2
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def is_cached(path: Path, spec: DatasetSpec, options: BaseModel, image: ImageSpec) -> bool:
    """Whether a file is the whole pack of a data set of files; a damaged one is not."""
    if path.is_file():
        with suppress(UserError), Pack(path) as pack:
            content = (pack.name, pack.role, dict(pack.options), pack.image, pack.labels, pack.header.limit)
            record = options.model_dump(mode="json")
            return content == (spec.name, spec.role, record, image, spec.available_labels, None)
    return False


def _cached_pack(spec: DatasetSpec, options: BaseModel, image: ImageSpec, cache: Path) -> Path:
    """The pack of a whole data set of files; written unless the cache holds one of the same content."""
    path = cache / f"{spec.role}.h5"
    if is_cached(path, spec, options, image):
        return path
    refuse_link(cache)
    with write_errors(cache):
        cache.mkdir(parents=True, exist_ok=True)
    write_pack(
        path,
        read_samples(spec, options, image),
        image=image,
        labels=spec.available_labels,
        role=spec.role,
        name=spec.name,
        options=options.model_dump(mode="json"),
        overwrite=True,
    )
    return path
