"""Reading a folder of pictures or a pack once, and collecting its contents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from synthreal.check.contents import Contents, content_findings
from synthreal.check.items import FolderItems, Item, PackItems, grey_format
from synthreal.check.sidecars import Sidecars, find_sidecars, table_findings
from synthreal.data.encoding import stored_tensor, to_unit
from synthreal.data.fingerprint import nearly_equal
from synthreal.data.levels import COUNT, Levels, measure_levels, nearly_constant
from synthreal.data.ondisk import choose_rows
from synthreal.data.source import convert_image
from synthreal.errors import UserError, printable
from synthreal.spec import ImageSpec, Role

COMPARED = 50_000  # images, a random choice, that are searched for nearly equal ones; each takes 2 KB
MODES = ("grey", "grey with alpha", "RGB", "RGBA")
DEPTHS = {"uint8": "8 bit", "uint16": "16 bit", "float16": "16-bit float"}


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The contents of a path, and what a comparison with another path needs.

    Attributes:
        contents: the contents.
        digests: names of the images by the digest of their pixels; without constant images.
        names: names of the images that ``edges`` are of.
        edges: edges ``(N, 480)`` of different images that are not constant.
        levels: the levels of 256 of them in grey, 64x64 px; None if there are none.
    """

    contents: Contents
    digests: dict[bytes, str]
    names: list[str]
    edges: np.ndarray
    levels: Levels | None


def measure(items: FolderItems | PackItems, role: Role | None, on_progress: Callable[[int, int], None]) -> Measured:
    """Read every image of a folder or a pack once.

    ``role`` is that of the set in a pair; None: the one of the pack. ``on_progress`` gets the number of images read and
    of all. ``UserError`` if none is readable.
    """
    path = items.path
    images, left_out = _Images(items.count), [*items.skipped]
    for row, item in enumerate(items):
        if isinstance(item, Item):
            images.add(row, item)
        else:
            left_out.append(item)
        on_progress(row + 1, items.count)
    if not images.means:
        first = f"{left_out[0].path}: {left_out[0].reason}"
        raise UserError(f"{path}: none of its {items.count} images is readable; {first}")
    if isinstance(items, FolderItems):
        sidecars = find_sidecars(path)
        left_out += sidecars.unreadable
        of_table = table_findings(path)
    else:
        of_table = []
        sidecars = Sidecars(count={}, lone=(), others={}, labels=items.labels.found, unreadable=())
    edges = np.stack(images.edges) if images.edges else np.zeros((0, 0), np.float32)
    like = {images.names[row]: images.names[other] for row, other in enumerate(nearly_equal(edges)) if other >= 0}
    levels = images.levels(role or items.role or "real", items.image, path)
    contents = Contents(
        path=printable(str(path)),
        role=items.role,
        images=len(images.means),
        sizes=dict(images.sizes.most_common()),
        modes=dict(images.modes.most_common()),
        depths=dict(images.depths.most_common()),
        folders=dict(sorted(images.folders.items())),
        brightness=_spread(images.means),
        contrast=_spread(images.deviations),
        constant=tuple(images.constant),
        duplicates=images.duplicates,
        near_duplicates=like,
        turned=images.turned,
        several=images.several,
        left_out={item.path: item.reason for item in left_out},
        sidecars=sidecars.count,
        lone_sidecars=sidecars.lone,
        others=sidecars.others,
        labels=sidecars.labels,
        findings=(),
    )
    findings = content_findings(contents, role) + of_table + (levels.warnings() if levels else [])
    contents = replace(contents, findings=tuple(findings))
    return Measured(contents=contents, digests=images.digests, names=images.names, edges=edges, levels=levels)


class _Images:
    """Collects the images of a path. Levels and edges are kept of a random choice, so that memory is bounded."""

    def __init__(self, count: int) -> None:
        self._measured, self._compared = (set(choose_rows(count, n).tolist()) for n in (COUNT, COMPARED))
        self._greys: list[np.ndarray] = []
        self.sizes, self.modes, self.depths, self.folders = (Counter[str]() for _ in range(4))
        self.means: list[float] = []
        self.deviations: list[float] = []
        self.constant: list[str] = []
        self.digests: dict[bytes, str] = {}
        self.duplicates: dict[str, str] = {}
        self.turned = self.several = 0
        self.names: list[str] = []
        self.edges: list[np.ndarray] = []

    def add(self, row: int, item: Item) -> None:
        """Add image ``row`` of the path."""
        channels, height, width = item.shape
        self.sizes[f"{height}x{width}"] += 1
        self.modes[MODES[channels - 1]] += 1
        self.depths[DEPTHS[item.dtype]] += 1
        self.folders[item.name.partition("/")[0] if "/" in item.name else "."] += 1
        self.turned += item.turned
        self.several += item.several
        values = to_unit(item.grey)
        self.means.append(float(values.mean()))
        self.deviations.append(float(values.std()))
        if nearly_constant(torch.from_numpy(values)[None]):
            self.constant.append(item.name)
        elif (first := self.digests.setdefault(item.digest, item.name)) != item.name:
            self.duplicates[item.name] = first
        else:
            if row in self._measured:
                self._greys.append(item.grey)
            if row in self._compared:
                self.names.append(item.name)
                self.edges.append(item.edges)

    def levels(self, role: Role, image: ImageSpec, path: Path) -> Levels | None:
        """The levels of the chosen images, at the largest depth among them; ``path`` names them in messages."""
        if not self._greys:
            return None
        depth = max((grey.dtype.name for grey in self._greys), key=list(DEPTHS).index)
        grey = grey_format(image, depth)
        stored = np.stack([convert_image(one, grey) for one in self._greys])
        return measure_levels(role, grey, stored_tensor(stored), str(path))


def _spread(values: list[float]) -> tuple[float, float, float]:
    return min(values), float(np.mean(values)), max(values)
