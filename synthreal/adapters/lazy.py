"""What every adapter holds instead of a network: the folder, and the refiner once a process has needed it.

Pickled, deep-copied or forked it is the folder again, so that transforms travel to worker processes in a few bytes,
serialise by path, and keep their weights out of the parameters and the state of whatever they are part of.
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
from synthreal.data.seed import derive_seed
from synthreal.device import resolve_device
from synthreal.errors import UserError
from synthreal.inference.pretrained import read_config, weights_of
from synthreal.inference.transform import Refine
from synthreal.inference.workers import forked, in_worker, refuse_forked_cuda


class LazyRefine:
    """The refiner of a folder, loaded where and when it is first used.

    Args:
        run: run directory, or any folder with its two files.
        device: "cpu", "cuda" or "cuda:N"; "auto" is a GPU where there is one, but the CPU in worker processes;
            None is wherever the images are.

    Raises:
        UserError: the folder holds no refiner, or there is no such device.
    """

    def __init__(self, run: str | Path, device: str | torch.device | None = "auto") -> None:
        self.run = str(Path(run).absolute())  # read later, perhaps from another folder
        self.device = None if device is None else str(device)
        image = read_config(Path(run)).image
        self.channels = image.channels
        weights_of(Path(run))
        if self.device is not None and re.fullmatch(r"cuda(:\d+)?", self.device) is None:
            resolve_device(self.device)
        self._loaded: dict[tuple[int, str], Refine] = {}

    def __call__(self, images: Tensor, *, keys: Tensor, seed: int) -> Tensor:
        """Refine ``(B, C, H, W)``, float in [0, 1] or uint8; the result is where the images are.

        Noise maps are a function of ``(seed, key)`` of each image, the same as those of ``synthreal refine`` for that
        seed and index. ``keys`` is ``(B,)`` int64. A compiled pipeline calls the network uncompiled.
        """
        if torch.compiler.is_compiling():  # which decorating would import the compiler for, a second or two
            uncompiled: Callable[[Tensor, Tensor, int], Tensor] = torch.compiler.disable(self._call)
            return uncompiled(images, keys, seed)
        return self._call(images, keys, seed)

    def _call(self, images: Tensor, keys: Tensor, seed: int) -> Tensor:
        place = self._place(images)
        refine = self._refine(place)
        noise = refine.noise_of(keys.to(place), (images.shape[-2], images.shape[-1]), seed=seed)
        refined: Tensor = refine(images.to(place), noise)
        return refined.to(images.device)

    @property
    def noise_channels(self) -> int:
        """How many noise maps the refiner takes; 0 means that it has one answer to an image."""
        return self._refine(self._place(torch.empty(0))).noise_channels

    def _place(self, images: Tensor) -> torch.device:
        if self.device == "auto" and in_worker():
            return torch.device("cpu")
        if self.device is not None and not self.device.startswith("cuda"):
            return resolve_device(self.device)
        refuse_forked_cuda(images.device.type if self.device is None else self.device)
        return images.device if self.device is None else resolve_device(self.device)

    def _refine(self, place: torch.device) -> Refine:
        mine = os.getpid(), str(place)  # what a parent process loaded stays its own; the precision is the device's
        if mine not in self._loaded:
            if forked():
                torch.set_num_threads(1)  # as DataLoader does: a forked process that waits for OpenMP's threads hangs
            self._loaded[mine] = Refine.load(self.run, device=str(place))
        return self._loaded[mine]

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_loaded": {}}


def picked(p: float, keys: Tensor, seed: int) -> Tensor:
    """Which images to refine, each with probability ``p``: ``(B,)`` bool, a function of ``(seed, key)``."""
    normal = indexed_noise(keys, (1, 1, 1), derive_seed(0, "pick", seed)).flatten()
    return torch.special.ndtr(normal) < p if p < 1 else torch.ones_like(keys, dtype=torch.bool)


def fresh_seed() -> int:
    """A seed from torch's global generator, which DataLoader seeds anew for every worker and epoch."""
    return int(torch.randint(2**63 - 1, ()))


def missing(library: str, install: str, error: Exception) -> UserError:
    """What to say where a library cannot be imported; ``install`` is what pip is to install."""
    return UserError(f"{library} is not here or does not work ({error}); pip install {install}")
