"""Finding the labels of renders and of test photographs, and deciding whether they are classes or numbers.

Words are classes, numbers are numbers, also if they are whole; the name of a class folder is a word. The classes are
those of the renders: a model that was trained on them knows no other.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from synthreal.data.folder import SUFFIXES, image_files_of
from synthreal.data.picture_labels import FILE, Kind, PictureLabels, Table, Value, numbers_of, values_reader
from synthreal.errors import UserError, printable

MOST_CLASSES = 1000
LONGEST_CLASSES = 1 << 14  # characters; config.toml holds them twice
SHOWN = 3


@dataclass(frozen=True)
class FoundLabels:
    """The labels of two folders.

    Attributes:
        simulated: those of the renders.
        test: those of the test photographs.
        line: what was found, for people.
        warnings: pictures without a label, and rows without a picture.
        mean: of the numbers of the renders, ``K``; empty for classes.
        deviation: their standard deviation, all positive.
    """

    simulated: PictureLabels
    test: PictureLabels
    line: str
    warnings: tuple[str, ...]
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()


@dataclass(frozen=True)
class _Side:
    """The pictures of a folder: what stands for those that have a label, and the reasons of the others."""

    root: Path
    file: Path | None
    values: dict[Path, tuple[Value, ...]]
    without: dict[Path, str]

    @property
    def warnings(self) -> list[str]:
        if not self.without:
            return []
        total = len(self.values) + len(self.without)
        shown = "; ".join(f"{path}: {reason}" for path, reason in list(self.without.items())[:SHOWN])
        return [f"{len(self.without)} of {total} pictures in {self.root} have no label and are left out: {shown}"]


def find_labels(renders: Path, test: Path, file: Path | None = None, names: tuple[str, ...] = ()) -> FoundLabels:
    """Find the labels of renders, and those of test photographs in the same convention; reads no picture.

    Args:
        renders: folder of renders.
        test: folder of labelled photographs.
        file: CSV file, as given or in ``renders``; photographs have the file of that name in ``test``, else the same.
        names: columns of the file, by default all; without a file, fields of JSON files beside the pictures. Without
            both, folders are classes.

    Raises:
        UserError: a file or column that does not exist, pictures that have no labels, words and numbers at once, a
            class of photographs that no render has, labels that are all the same.
    """
    kind: Kind = "table" if file is not None else "sidecars" if names else "folders"
    files: tuple[Path | None, Path | None] = (None, None)
    if file is not None:
        mine = file if file.exists() else renders / file
        if not mine.exists():
            raise UserError(f"{file}: no such file, nor {mine}; correct --labels")
        its = test / file.name
        files = mine, its if its.exists() else mine
        names = names or tuple(name for name in Table.read(mine).header if name != FILE)
    x = _read(renders, kind, names, files[0], "--simulated")
    y = _read(test, kind, names, files[1], "--test")
    warnings = [*x.warnings, *y.warnings]
    if files[0] is not None:
        warnings += _check_rows(x, y)
    if _are_words(x, names):
        if len(names) > 1:
            raise UserError(f"{files[0]}: {len(names)} columns of words ({_shown(names)}); choose one with --label")
        classes = _classes(x, y)
        found = _settings(x, y, kind=kind, columns=names, classes=classes)
        line = _line(f"{len(classes)} classes ({_shown(classes)})", x, y)
        return FoundLabels(*found, line=line, warnings=tuple(warnings))
    numbers, count = _numbers(x)
    mean, deviation = numbers.mean(0), numbers.std(0)
    if len(same := np.flatnonzero(deviation <= 1e-6 * np.abs(mean))):
        which = names[same[0]] if len(names) == count else f"number {same[0] + 1} of {_shown(names)}"
        raise UserError(f"{renders}: {which} is {mean[same[0]]:g} for every render; choose other labels with --label")
    _numbers(y, count)
    found = _settings(x, y, kind=kind, columns=names, values=count)
    line = _line(f"{count} number{'s' * (count > 1)} ({_shown(names)})", x, y)
    return FoundLabels(
        *found, mean=tuple(mean.tolist()), deviation=tuple(deviation.tolist()), line=line, warnings=tuple(warnings)
    )


def _read(root: Path, kind: Kind, names: tuple[str, ...], file: Path | None, option: str) -> _Side:
    values, without = {}, {}
    pictures = [path for path in image_files_of(root, remedy=f"correct {option}") if _is_read(path)]
    values_of = values_reader(root, kind, names, file)
    for picture in pictures:
        try:
            values[picture] = values_of(picture)
        except ValueError as error:
            without[picture] = str(error)
    if not values:
        path, reason = next(iter(without.items()))
        remedy = {
            "folders": f"give each class a folder ({root}/<class>/...), or labels with --labels FILE or --label NAME",
            "table": f"its column {FILE!r} is to hold paths relative to {root} or to its own folder",
            "sidecars": "correct --label, or give a CSV file with --labels",
        }[kind]
        raise UserError(f"{root}: not one of its {len(without)} pictures has a label; {path}: {reason}; {remedy}")
    return _Side(root, file, values, without)


def _is_read(path: Path) -> bool:
    return path.name.lower().endswith(SUFFIXES)


def _check_rows(x: _Side, y: _Side) -> list[str]:
    """Warnings about rows without a picture. A row that labels a render and a photograph raises ``UserError``."""
    used: dict[Path, set[str]] = {}
    for side in (x, y):
        assert side.file is not None
        table = Table.read(side.file)
        keys = {key for picture in side.values if (key := table.key(picture, side.root)) is not None}
        if twice := used.get(side.file, set()) & keys:
            raise UserError(
                f"{side.file}: the row of {min(twice)} is for a picture in {x.root} and for one in {y.root}; give "
                f"{y.root} a {side.file.name} of its own"
            )
        used.setdefault(side.file, set()).update(keys)
    warnings = []
    for file, keys in used.items():
        rows = Table.read(file).rows
        if lone := [key for key in rows if key not in keys]:
            warnings.append(f"{file}: {len(lone)} of {len(rows)} rows have no picture: {_shown(lone)}")
    return warnings


def _are_words(x: _Side, names: tuple[str, ...]) -> bool:
    """Whether the labels of the renders are words. Raises ``UserError`` for words and numbers at once."""
    columns = list(zip(*x.values.values(), strict=True))
    number = [all(value.numbers is not None for value in column) for column in columns]
    word = [all(value.word is not None for value in column) for column in columns]
    for position, name in enumerate(names):
        if not number[position] and not word[position]:
            path = next(path for path, values in x.values.items() if values[position].word is not None)
            shown = x.values[path][position].word
            raise UserError(f"{x.root}: {name} is a word for {path} ({shown}) and a number for others; make them alike")
    if all(number):
        return False
    if any(number):
        words = [name for name, is_number in zip(names, number, strict=True) if not is_number]
        raise UserError(
            f"{x.file or x.root}: words in {_shown(words)}, numbers in other columns; choose one kind with --label"
        )
    return True


def _classes(x: _Side, y: _Side) -> tuple[str, ...]:
    """The classes of the renders, sorted. Raises ``UserError`` for photographs of others, or without any."""
    classes = tuple(sorted({str(value.word) for (value,) in x.values.values()}))
    if len(classes) == 1:
        raise UserError(f"{x.root}: all labelled pictures have the class {classes[0]}; give two classes at least")
    if len(classes) > min(MOST_CLASSES, len(x.values) / 2) or sum(map(len, classes)) > LONGEST_CLASSES:
        raise UserError(
            f"{x.root}: {len(classes)} different words ({_shown(classes)}) for {len(x.values)} pictures are no "
            "classes; choose other labels with --label"
        )
    if no_word := [path for path, (value,) in y.values.items() if value.word is None]:
        raise UserError(f"{no_word[0]}: its label is a number, those in {x.root} are words; make them alike")
    if new := sorted({str(value.word) for (value,) in y.values.values()} - set(classes)):
        raise UserError(
            f"{y.root}: has the class {_shown(new)}, which {x.root} lacks (it has {_shown(classes)}); remove it, or "
            "add such renders"
        )
    return classes


def _numbers(side: _Side, count: int | None = None) -> tuple[np.ndarray, int]:
    """The labels ``(N, K)`` that have ``count`` finite numbers (None: as many as most), and how many those are."""
    found, reasons = [], []
    for path, values in side.values.items():
        try:
            found.append(numbers_of(values, count))
        except ValueError as error:  # the data set skips that picture and says why
            reasons.append(f"{path}: {error}")
    if not found:
        raise UserError(f"{side.root}: not one label of its pictures can be used; {reasons[0]}; correct them")
    ((most, _),) = Counter(map(len, found)).most_common(1)
    return np.stack([array for array in found if len(array) == most]).astype(np.float64), most


def _settings(x: _Side, y: _Side, **fields: Any) -> tuple[PictureLabels, PictureLabels]:
    """The labels of both sides. Raises ``UserError`` for names that config.toml cannot hold."""
    files = [None if side.file is None else str(side.file.absolute()) for side in (x, y)]
    for text in (*fields["columns"], *fields.get("classes", ()), *filter(None, files)):
        if printable(text) != text:
            raise UserError(f"{text}: is not UTF-8 or has control characters; rename it")
    return PictureLabels(file=files[0], **fields), PictureLabels(file=files[1], **fields)


def _line(what: str, x: _Side, y: _Side) -> str:
    return f"labels: {what}; {len(x.values):,} renders, {len(y.values):,} test photographs in {y.root}"


def _shown(names: tuple[str, ...] | list[str]) -> str:
    return ", ".join(names[:SHOWN]) + ", ..." * (len(names) > SHOWN)
