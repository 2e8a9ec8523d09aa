"""The files beside pictures: those that belong to one (its *sidecars*), their labels, and all others.

A sidecar is named like its picture up to a dot: ``7.json``, ``7.xml`` and ``7.seg.png.txt`` belong to ``7.jpg``. A file
that belongs to none, but ends as the sidecars of other pictures do, has lost its picture. The numbers in ``7.json`` are
labels of ``7.jpg``. A table of labels, ``labels.csv``, has a row for every picture.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from posixpath import splitext

from synthreal.check.contents import examples
from synthreal.check.labels import LabelRange, LabelRanges, numeric_fields
from synthreal.data.folder import SUFFIXES, image_files, names_below, unread_format
from synthreal.data.picture_labels import Table
from synthreal.errors import UserError, printable
from synthreal.files import read_bounded
from synthreal.spec import Skipped

# Files that describe a whole folder, and may end as sidecars do.
_DOCUMENTS = {"annotations", "classes", "labels", "metadata", "readme"}
TABLE = "labels.csv"


@dataclass(frozen=True, kw_only=True)
class Sidecars:
    """The files of a folder that are no pictures.

    Attributes:
        count: number of sidecars by suffix.
        lone: sidecars without a picture.
        others: number of all other files by suffix.
        labels: numbers in JSON sidecars.
        unreadable: JSON sidecars that cannot be read.
    """

    count: dict[str, int]
    lone: tuple[str, ...]
    others: dict[str, int]
    labels: dict[str, LabelRange]
    unreadable: tuple[Skipped, ...]


def find_sidecars(root: Path) -> Sidecars:
    """The files below a folder that are no pictures."""
    names = names_below(root)
    pictures = {name for name in names if name.lower().endswith(SUFFIXES) or unread_format(root / name) is not None}
    stems = {splitext(name)[0] for name in pictures}
    owned: list[str] = []
    rest: list[str] = []
    for name in names:
        if name not in pictures:
            (owned if _has_picture(name, stems) else rest).append(name)
    count = Counter(map(_suffix, owned))
    lone = [name for name in rest if _suffix(name) in count and Path(name).stem.lower() not in _DOCUMENTS]
    others = Counter(_suffix(name) for name in set(rest) - set(lone))
    ranges, unreadable = LabelRanges(), []
    for name in owned:
        if _suffix(name) == ".json" and splitext(name)[0] in stems:
            try:
                fields = numeric_fields(read_bounded(root / name))
            except (OSError, ValueError) as error:
                unreadable.append(Skipped(name, f"cannot be read as JSON ({error})"))
            else:
                for field, value in fields.items():
                    ranges.add(printable(field), value[None])
    return Sidecars(
        count=dict(count.most_common()),
        lone=tuple(map(printable, lone)),
        others=dict(others.most_common()),
        labels=ranges.found,
        unreadable=tuple(unreadable),
    )


def table_findings(root: Path) -> list[str]:
    """What is wrong with a table of labels in a folder, ``labels.csv``, one line each with the remedy."""
    path = root / TABLE
    if not path.is_file():
        return []
    try:
        table = Table.read(path)
    except UserError as error:
        return [str(error)]
    shown = printable(str(path))
    keys = {picture: table.key(picture, root) for picture in image_files(root)}
    found = []
    if lone := sorted(set(table.rows) - set(keys.values())):
        found.append(
            f"{shown}: {len(lone)} of {len(table.rows)} rows have no picture ({examples(map(printable, lone))}); "
            "correct their paths or remove them"
        )
    if without := [picture.relative_to(root).as_posix() for picture, key in keys.items() if key is None]:
        found.append(
            f"{shown}: {len(without)} of {len(keys)} pictures have no row ({examples(map(printable, without))}); add "
            "rows or remove the pictures"
        )
    return found


def _has_picture(name: str, stems: set[str]) -> bool:
    start, place = name.rfind("/") + 1, len(name)
    while (place := name.rfind(".", start, place)) > start:
        if name[:place] in stems:
            return True
    return False


def _suffix(name: str) -> str:
    return printable(splitext(name)[1].lower())
