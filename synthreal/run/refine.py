"""Bulk refinement: every image of a pack or of a resident set, in order, labels untouched.

Noise maps are a function of (seed, index), and work is cut into index-aligned blocks of 256 images of which a last
partial one is filled up with copies of its last image: arithmetic rounds by batch size. So what becomes of an image is
a function of that image, its index and the seed alone, however many follow.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from synthreal.core.machine import arrange, compiles, settle
from synthreal.core.noise import indexed_noise
from synthreal.data.encoding import from_unit, stored_array, stored_tensor, to_unit
from synthreal.data.ondisk import refuse_bad
from synthreal.data.pack import Pack
from synthreal.data.resident import Resident
from synthreal.data.seed import derive_seed
from synthreal.data.writer import PackSummary, PackWriter
from synthreal.errors import UserError
from synthreal.spec import StoredDtype
from synthreal.transform import Refine, read_config

BLOCK = 256


def refine_block(transform: Refine, stored: Tensor, dtype: StoredDtype, *, start: int, seed: int) -> Tensor:
    """Refine images ``(B, C, H, W)`` in stored dtype, B <= 256, the first of which has index ``start``."""
    device = next(transform.parameters()).device
    filler = stored[-1:].expand(BLOCK - len(stored), *stored.shape[1:])
    image = to_unit(torch.cat([stored, filler]).to(device))
    noise = None
    if channels := getattr(transform.refiner, "noise_channels", 0):
        index = torch.arange(start, start + BLOCK, device=device)
        noise = indexed_noise(index, (channels, *image.shape[-2:]), derive_seed(0, "refine", seed))
    return from_unit(transform(image, noise)[: len(stored)], dtype)


def refine_resident(transform: Refine, images: Resident, dtype: StoredDtype, *, seed: int = 0) -> Resident:
    """The refined images with the labels of the simulated ones."""
    refined = torch.empty_like(images.image)
    for start in range(0, len(images), BLOCK):
        rows = slice(start, start + BLOCK)
        refined[rows] = refine_block(transform, images.image[rows], dtype, start=start, seed=seed)
    return Resident(refined, images.labels)


def refine_pack(
    run: str | Path,
    source: str | Path,
    target: str | Path,
    *,
    device: str = "auto",
    seed: int = 0,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> PackSummary:
    """Refine a pack into another, atomically.

    Args:
        run: run directory.
        source: the pack of simulated images.
        target: the pack to write; must not exist.
        device: "auto", "cpu", "cuda" or "cuda:N".
        seed: of noise maps.
        on_progress: told images done and in all.

    Raises:
        UserError: not a run, not a pack, images of another number of channels, a target that exists.
    """
    config = read_config(Path(run))
    settle(config.runtime)
    transform = Refine.load(run, device=device)
    with Pack(source) as pack:
        if pack.image.channels != transform.channels:
            raise UserError(
                f"{source}: holds images {pack.image}, the refiner of {run} takes {transform.channels} channels; "
                "use a pack of its domain"
            )
        compiled = compiles(config.runtime.compile, next(transform.parameters()).device, len(pack) // BLOCK)
        arrange(transform.refiner, config.runtime.layout, compiled=compiled)
        options = {"refined_from": str(source), "refiner": str(run), "recipe": config.recipe, "seed": seed}
        with PackWriter(
            target, image=pack.image, labels=pack.labels, role=pack.role, name=f"{pack.name} refined", options=options
        ) as writer:
            for start in range(0, len(pack), BLOCK):
                rows = slice(start, min(start + BLOCK, len(pack)))
                image, labels = pack.read(rows)
                refuse_bad(pack, np.arange(rows.start, rows.stop), image, labels)
                refined = refine_block(transform, stored_tensor(image), pack.image.dtype, start=start, seed=seed)
                writer.append(stored_array(refined), labels)
                on_progress(writer.n, len(pack))
    return writer.summary()
