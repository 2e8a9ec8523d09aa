"""The refiner as a stage of a webdataset pipeline, for loading.

A stage is any function from samples to samples, so nothing of the library is imported.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from synthreal.adapters.images import refine_images
from synthreal.adapters.lazy import LazyRefine, fresh_seed, picked
from synthreal.errors import UserError
from synthreal.inference.value_range import check_probability

Sample = dict[str, Any]


class Refine:
    """The refiner on one member of decoded samples, in order; the other members stay.

    ``wds.WebDataset(urls).decode("pil").compose(Refine(run))``, before the samples are batched; "pill", grey, for a
    refiner of one channel. Images are whatever ``decode`` gives, PIL, numpy or torch, and come back so. ``batch``
    samples are read ahead, and those of one size pass through the network together. It pickles as the path of the run.

    Args:
        run: run directory, or any folder with its two files.
        image: names of the member, the first that a sample has counts; "png" is not "mask.png".
        p: probability of each image.
        seed: picks and noise maps are a function of ``(seed, __key__)``; None draws them anew in every epoch.
        batch: images that are refined at once.
        device: "cpu", "cuda" or "cuda:N"; "auto" is a GPU where there is one, but the CPU in worker processes.

    Raises:
        UserError: the folder holds no refiner; later, a sample without an image, images it does not take, or CUDA in a
            forked worker.
    """

    def __init__(
        self,
        run: str | Path,
        image: str = "png;jpg;jpeg;tif;tiff;bmp;image",
        *,
        p: float = 1.0,
        seed: int | None = None,
        batch: int = 32,
        device: str | torch.device = "auto",
    ) -> None:
        if batch < 1:
            raise UserError(f"batch={batch}: at least one image is refined at once")
        self.names, self.p, self.seed, self.batch = image.split(";"), check_probability(p), seed, batch
        self._refine = LazyRefine(run, device)

    def __call__(self, source: Iterable[Sample]) -> Iterator[Sample]:
        """Samples as they come, their images refined."""
        if isinstance(source, dict):
            raise UserError("one sample instead of all; put the refiner into the pipeline with compose, not with map")
        return self._refined(source)

    def _refined(self, source: Iterable[Sample]) -> Iterator[Sample]:
        samples = iter(source)
        while block := list(islice(samples, self.batch)):
            if not all(isinstance(sample, dict) and "__key__" in sample for sample in block):
                raise UserError("a sample is no dictionary with a __key__; refine before to_tuple and batched")
            members = [self._member(sample) for sample in block]
            keys = torch.tensor([_key(sample) for sample in block])
            seed = fresh_seed() if self.seed is None else self.seed
            picks = picked(self.p, keys, seed)
            rows: list[int] = picks.nonzero().flatten().tolist()
            images = [block[row][members[row]] for row in rows]
            names = [f"sample {block[row]['__key__']}" for row in rows]
            painted = refine_images(self._refine, images, keys=keys[picks], seed=seed, names=names)
            refined = dict(zip(rows, painted, strict=True))
            for row, (sample, member) in enumerate(zip(block, members, strict=True)):
                yield {**sample, member: refined[row]} if row in refined else sample

    def _member(self, sample: Sample) -> str:
        found = next((name for name in self.names if name in sample), None)
        if found is None:
            has = ", ".join(name for name in sample if not name.startswith("__"))
            raise UserError(f"sample {sample['__key__']}: no image among {has}; name the member with image=...")
        if isinstance(sample[found], bytes):
            how = "pill" if self._refine.channels == 1 else "pil"
            raise UserError(f"sample {sample['__key__']}: {found} is not decoded; put .decode({how!r}) before")
        return found


def _key(sample: Sample) -> int:
    """``__key__``, the name of the sample, as 63 bits."""
    digest = hashlib.blake2b(str(sample["__key__"]).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
