"""The refiner as a stage of a webdataset pipeline. Does not import the library: a stage maps samples to samples."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from synthreal.adapters.images import refine_some
from synthreal.adapters.lazy import Device, LazyRefine
from synthreal.errors import UserError
from synthreal.inference.value_range import check_probability


def _reraise(error: Exception) -> bool:
    raise error


class Refine:
    """Refine one member of decoded samples, in order; other members do not change.

    ``wds.WebDataset(urls).decode("pil").compose(Refine(run))``, before samples are batched; ``"pill"`` (grey) for a
    refiner of one channel. Images are PIL images, arrays or tensors, as ``decode`` gives them. ``batch`` samples are
    read ahead, and images of one size pass through the network together. It pickles as the path of the run.

    Args:
        run: run directory, or any folder with its two files.
        image: names of the member, separated by semicolons; the first that a sample has is refined.
        p: probability with which an image is refined.
        versions: each refined image becomes one of three versions, equally likely, as in ``synthreal.Refine``.
        seed: picks, noise maps and versions are a function of ``(seed, __key__)``; None draws them in every epoch.
        batch: number of samples that are read and refined together.
        device: "cpu", "cuda" or "cuda:N"; "auto" is a GPU if there is one, but the CPU in worker processes.
        handler: as in webdataset (``wds.warn_and_continue``): called with the error of a sample that cannot be
            refined; True leaves out the sample, False ends the data set, and by default the error is raised.

    Raises:
        UserError: the folder holds no refiner, or no styles for ``versions``; when called, a sample without an image,
            an invalid image, or CUDA in a forked worker.
    """

    def __init__(
        self,
        run: str | Path,
        image: str = "png;jpg;jpeg;tif;tiff;bmp;image",
        *,
        p: float = 1.0,
        versions: bool = False,
        seed: int | None = None,
        batch: int = 32,
        device: Device = "auto",
        handler: Callable[[Exception], bool] = _reraise,
    ) -> None:
        if batch < 1:
            raise UserError(f"batch={batch}: give at least 1")
        self.names, self.p, self.seed, self.batch = image.split(";"), check_probability(p), seed, batch
        self._refine, self._handler = LazyRefine(run, device, versions=versions), handler

    def __call__(self, source: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Refine the images of all samples."""
        if isinstance(source, dict):
            raise UserError("one sample instead of all; add the refiner to the pipeline with compose, not with map")
        return self._refined(iter(source))

    def _refined(self, samples: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        while block := list(islice(samples, self.batch)):
            try:
                refined = self._block(block)
            except Exception:  # of one of them
                refined = []
                for sample in block:
                    try:
                        refined += self._block([sample])
                    except Exception as error:
                        if not self._handler(error):
                            yield from refined
                            return
            yield from refined

    def _block(self, block: list[dict[str, Any]]) -> list[dict[str, Any]]:
        members = [self._member(sample) for sample in block]
        images = [sample[member] for sample, member in zip(block, members, strict=True)]
        keys = torch.tensor([_key(sample) for sample in block])
        names = [f"sample {sample['__key__']}" for sample in block]
        refined = refine_some(self._refine, images, p=self.p, keys=keys, seed=self.seed, names=names)
        triples = zip(block, members, refined, strict=True)
        return [{**sample, member: image} for sample, member, image in triples]

    def _member(self, sample: dict[str, Any]) -> str:
        if not isinstance(sample, dict) or "__key__" not in sample:
            raise UserError("a sample is not a dictionary with a __key__; refine before to_tuple and batched")
        member = next((name for name in self.names if name in sample), None)
        if member is None:
            has = ", ".join(name for name in sample if not name.startswith("__"))
            raise UserError(f"sample {sample['__key__']}: no image among {has}; name the member with image=...")
        if isinstance(sample[member], bytes):
            decoder = "pill" if self._refine.channels == 1 else "pil"
            raise UserError(f"sample {sample['__key__']}: {member} is not decoded; put .decode({decoder!r}) before")
        return member


def _key(sample: dict[str, Any]) -> int:
    """A hash of ``__key__`` in 63 bits."""
    digest = hashlib.blake2b(str(sample["__key__"]).encode(errors="surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
