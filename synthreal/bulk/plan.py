"""From a request to a job: the kind of data set, the refiner, and the settings for the whole job."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from synthreal.bulk.batch import fastest_batch, usual_batch
from synthreal.bulk.folders import FolderSource
from synthreal.bulk.job import ExecutionSettings, Job, JobSpec
from synthreal.bulk.packs import PackSource
from synthreal.bulk.shards import COMPRESSED, SUFFIX, ShardSource
from synthreal.config import ResolvedConfig
from synthreal.data.folder import SUFFIXES, names_below, unread_formats
from synthreal.device import configure_process, resolve_precision, set_memory_format, should_compile
from synthreal.errors import UserError
from synthreal.inference.pretrained import STYLES, WEIGHTS, missing_styles
from synthreal.inference.tiles import margin_of
from synthreal.inference.transform import Refine

TILE = 1024
Source = PackSource | FolderSource | ShardSource


@dataclass(frozen=True)
class RequestedOptions:
    """Options of a request; None stands for a suitable value, or for that of the interrupted job."""

    device: torch.device
    batch_size: int | Literal["auto"] | None = None
    precision: str | None = None
    threads: int | None = None
    tile: int | Literal["none"] | None = None
    trust: bool = False

    def fixed(self) -> dict[str, Any]:
        """The fields of :class:`ExecutionSettings` that the request determines; "auto" accepts any batch size."""
        fields: dict[str, Any] = {"device": self.device.type, "torch": torch.__version__}
        if isinstance(self.batch_size, int):
            fields["batch_size"] = self.batch_size
        if self.precision is not None:
            fields["precision"] = resolve_precision(self.precision, self.device)
        if self.threads is not None:
            fields["threads"] = self.threads
        if self.tile is not None:
            fields["tile"] = None if self.tile == "none" else self.tile
        return fields


def refuse_below_one(**numbers: int | str | None) -> None:
    """Raise ``UserError`` for a number below 1, by the name of its option."""
    for name, number in numbers.items():
        if isinstance(number, int) and number < 1:
            raise UserError(f"--{name.replace('_', '-')} {number}: give a number of at least 1")


def open_source(path: Path, limit: int | None, samples: int, origin: dict[str, Any]) -> Source:
    """The data set at ``path``. Raises ``UserError`` if there is none."""
    name = path.name.lower()
    if path.is_dir():
        names = names_below(path)  # text, because a million Path objects take a gigabyte
        pictures, shards = (any(name.lower().endswith(suffix) for name in names) for suffix in (SUFFIXES, SUFFIX))
        if pictures and shards:
            raise UserError(f"{path}: holds pictures and {SUFFIX} shards; refine them from folders of their own")
        if not (pictures or shards):
            unread = unread_formats(path / name for name in names)
            raise UserError(
                f"{path}: no picture ({', '.join(SUFFIXES)}) and no {SUFFIX} shard in it{unread}; correct it"
            )
        return (FolderSource if pictures else ShardSource)(path, names, limit, samples)
    if name.endswith(SUFFIX):
        return ShardSource(path, [path.name], limit, samples)
    if name.endswith((*SUFFIXES, *COMPRESSED)):
        wanted = "its folder" if name.endswith(SUFFIXES) else "the unpacked .tar"
        raise UserError(f"{path}: not a pack (.h5), shard (.tar) or folder; give {wanted}")
    if not path.exists():
        raise UserError(f"{path}: no such pack (.h5), shard (.tar) or folder; correct the path")
    return PackSource(path, limit, origin)


def hash_refiner(run: Path, config: ResolvedConfig, samples: int) -> str:
    """Hash of the weights of a refiner and of the settings of its network; for several samples also of the styles."""
    content = hashlib.sha256(json.dumps(config.refiner.model_dump(mode="json"), sort_keys=True).encode())
    content.update(config.runtime.layout.encode())
    names = [WEIGHTS]
    if samples > 1:
        content.update(str(config.evaluation.histogram.blend).encode())
        names.append(STYLES)
    for path in (run / name for name in names):
        if path.is_file():  # missing files are reported by plan_job()
            content.update(path.read_bytes())
    return content.hexdigest()


def hash_files(root: Path, names: list[str]) -> str:
    """Hash of the names, sizes and modification times of files."""
    content = hashlib.sha256()
    for name in names:
        try:
            status = (root / name).stat()
            state = f"{status.st_size}\0{status.st_mtime_ns}"
        except OSError:  # reported when the file is read
            state = ""
        content.update(os.fsencode(f"{name}\0{state}\n"))
    return content.hexdigest()


def load_refiner(
    run: Path,
    config: ResolvedConfig,
    requested: RequestedOptions,
    precision: str,
    threads: int,
    *,
    compiled: bool = False,
) -> Refine:
    """The refiner, in a process configured for the job."""
    # autotune would choose algorithms by their time, which differs between processes
    configure_process(config.runtime.model_copy(update={"threads": threads, "autotune": False}))
    transform = Refine.load(run, device=str(requested.device), precision=precision, trust=requested.trust)
    compiled = compiled and should_compile(True, requested.device, 0)  # another process of the job may have set it
    set_memory_format(transform.refiner, config.runtime.layout, compiled=compiled)
    return transform


def plan_job(data: Source, spec: JobSpec, run: Path, config: ResolvedConfig, requested: RequestedOptions) -> Job:
    """A new job with settings for its whole duration.

    Raises:
        UserError: several samples without the styles of real images, or tiles of a network without a receptive field.
    """
    if spec.samples > 1 and not (run / STYLES).is_file():
        raise missing_styles(run, f"--samples {spec.samples}")
    device, runtime = requested.device, config.runtime
    fields: dict[str, Any] = {
        "precision": resolve_precision(runtime.precision, device),
        "threads": runtime.threads or torch.get_num_threads(),
        "tile": TILE,
        **requested.fixed(),
    }
    transform = load_refiner(run, config, requested, fields["precision"], fields["threads"])
    sizes, tile = data.sizes(), fields["tile"]
    untiled = [size for size in sizes if tile is None or size[0] * size[1] <= tile * tile]
    if data.kind == "pack" and not untiled:
        margin_of(transform.refiner)
    if requested.batch_size == "auto":
        batch = fastest_batch(transform, untiled)
    else:
        batch = requested.batch_size or usual_batch(runtime.micro_batch, device, untiled)
    block = data.block_size(batch, max(sizes, key=lambda size: size[0] * size[1], default=(1, 1)))
    compiled = data.kind == "pack" and bool(untiled)
    fields |= {
        "batch_size": batch,
        "px": batch * max((height * width for height, width in untiled), default=1),
        "block": block,
        "compiled": compiled and should_compile(runtime.compile, device, data.count // block),
    }
    return Job(spec=spec, settings=ExecutionSettings(**fields))
