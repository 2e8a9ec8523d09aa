"""Refining resident sets and packs: every image in order, labels untouched.

Noise maps are a function of (seed, index), and work is cut into index-aligned blocks of 256 images of which a last
partial one is filled up with copies of its last image: arithmetic rounds by batch size. So what becomes of an image is
a function of that image, its index and the seed alone, however many follow.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from synthreal.bulk.packs import GROUP
from synthreal.bulk.painter import Painter
from synthreal.bulk.refine import refine_bulk
from synthreal.data.encoding import from_unit, to_unit
from synthreal.data.resident import Resident
from synthreal.data.writer import PackSummary
from synthreal.errors import UserError
from synthreal.spec import StoredDtype
from synthreal.transform import Refine

BLOCK = GROUP


def refine_block(transform: Refine, stored: Tensor, dtype: StoredDtype, *, start: int, seed: int) -> Tensor:
    """Refine images ``(B, C, H, W)`` in stored dtype, B <= 256, the first of which has index ``start``."""
    painter = Painter(transform, seed=seed)
    index = torch.arange(start, start + len(stored))
    return from_unit(painter(to_unit(stored.to(painter.device)), index, full=BLOCK), dtype)


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
    **more: Any,
) -> PackSummary:
    """Refine a pack into another, atomically: :func:`refine_bulk` for a pack.

    Args:
        run: run directory.
        source: the pack of simulated images.
        target: the pack to write; must not exist.
        device: "auto", "cpu", "cuda" or "cuda:N".
        seed: of noise maps.
        on_progress: told images done and in all.
        more: what else :func:`refine_bulk` takes.

    Raises:
        UserError: not a run, not a pack, images of another number of channels, a target that exists.
    """
    if Path(source).is_dir():
        raise UserError(f"{source}: is a folder, not a pack; refine_bulk refines folders")
    done = refine_bulk(run, source, target, device=device, seed=seed, on_progress=on_progress, **more)
    return PackSummary(done.path, done.refined, ())
