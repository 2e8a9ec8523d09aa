"""A refiner known by its folder and loaded on first use, as all adapters hold it.

Pickled, copied or forked it is only the folder's path. Transforms therefore reach worker processes in a few bytes,
serialise by path, and keep the network out of the parameters and state of the pipeline.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from synthreal.core.noise import indexed_noise
from synthreal.core.style_bank import StyleBank
from synthreal.data.seed import derive_seed
from synthreal.device import resolve_device
from synthreal.errors import UserError
from synthreal.inference.indexed import version_by_index
from synthreal.inference.pretrained import missing_styles, read_config, read_styles, weights_of
from synthreal.inference.transform import Refine
from synthreal.inference.transform_input import check_images
from synthreal.inference.workers import forked, in_worker, refuse_forked_cuda

Device = str | torch.device


class LazyRefine:
    """The refiner of a run directory, or of any folder with its two files, loaded where and when it is first used.

    ``device`` is "cpu", "cuda" or "cuda:N"; "auto" is a GPU if there is one, but the CPU in worker processes; None is
    the device of the images. With ``versions`` each refined image becomes one of three versions, as in
    ``synthreal.Refine``. Raises ``UserError`` when the folder holds no refiner, or no styles for ``versions``, or the
    device is unknown.
    """

    def __init__(self, run: str | Path, device: Device | None = "auto", *, versions: bool = False) -> None:
        self.run = str(Path(run).absolute())  # the working directory may change before the refiner is loaded
        self.device = None if device is None else str(device)
        self.channels = read_config(Path(run)).image.channels
        self.versions = versions
        weights_of(Path(run))
        if versions and read_styles(Path(run), self.channels) is None:  # now, and not in a worker
            raise missing_styles(Path(run), "versions=True")
        if self.device is not None and re.fullmatch(r"cuda(:\d+)?", self.device) is None:
            resolve_device(self.device)
        self._loaded: dict[tuple[int, str], Refine] = {}

    def __call__(self, images: Tensor, *, keys: Tensor, seed: int) -> Tensor:
        """Refine ``(B, C, H, W)``, float in [0, 1] or uint8; the result is on the device of the images.

        Noise maps are a function of ``seed`` and the image's entry in ``keys``, ``(B,)`` int64, as in ``synthreal
        refine`` for that seed and index, and so are versions and their styles. In a compiled pipeline the network runs
        uncompiled.
        """
        if images.ndim != 4 or images.shape[1] != self.channels:
            given = f"tensor {tuple(images.shape[1:])}"
            raise UserError(f"this refiner takes images ({self.channels}, H, W), given {given}")
        call: Callable[[Tensor, Tensor, int], Tensor] = self._call
        if torch.compiler.is_compiling():  # a decorator would import the compiler, which takes a second or two
            call = torch.compiler.disable(call)
        return call(images, keys, seed)

    @property
    def noise_channels(self) -> int:
        """The number of noise maps that the refiner takes."""
        return self._load(self._device_for(torch.empty(0))).noise_channels

    def _call(self, images: Tensor, keys: Tensor, seed: int) -> Tensor:
        device = self._device_for(images)
        refine = self._load(device)
        here, size = images.to(device), (images.shape[-2], images.shape[-1])
        noise = refine.noise_of(keys.to(device, non_blocking=device.type == "cuda"), size, seed=seed)
        refined: Tensor
        if self.versions:
            check_images(here, channels=self.channels, smallest=1, scale=refine.scale)  # unit() takes any dtype
            unit, styles = refine(refine.scale.unit(here), noise), StyleBank(refine.amplitudes, refine.levels)
            styled = version_by_index(unit, keys, styles, seed=seed, blend=refine.blend)
            refined = refine.scale.restore(styled, images.dtype)
        else:
            refined = refine(here, noise)
        return refined.to(images.device)

    def _device_for(self, images: Tensor) -> torch.device:
        if self.device == "auto" and in_worker():
            return torch.device("cpu")
        if self.device is None or self.device.startswith("cuda"):
            refuse_forked_cuda(self.device or images.device)
        return images.device if self.device is None else resolve_device(self.device)

    def _load(self, device: torch.device) -> Refine:
        key = os.getpid(), str(device)  # a forked process does not use its parent's network
        if key not in self._loaded:
            if forked():
                torch.set_num_threads(1)  # like DataLoader: OpenMP's threads do not survive a fork, and it would hang
            refine = Refine.load(self.run, device=str(device), versions=self.versions)
            refine.versions = False  # chosen by keys instead of drawn; its styles are on the device
            self._loaded[key] = refine
        return self._loaded[key]

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_loaded": {}}


def pick(p: float, keys: Tensor, seed: int) -> Tensor:
    """Which images to refine, each with probability ``p``: ``(B,)`` bool, a function of ``(seed, key)``."""
    normal = indexed_noise(keys, (1, 1, 1), derive_seed(0, "pick", seed)).flatten()
    return torch.special.ndtr(normal) < p if p < 1 else torch.ones_like(keys, dtype=torch.bool)


def draw_seed() -> int:
    """A seed from torch's global generator, which DataLoader seeds for every worker and epoch."""
    return int(torch.randint(2**63 - 1, ()))


def missing_library(library: str, install: str, error: Exception) -> UserError:
    """The error for a library that cannot be imported; ``install`` is the argument of ``pip install``."""
    return UserError(f"cannot import {library} ({error}); pip install {install}")
