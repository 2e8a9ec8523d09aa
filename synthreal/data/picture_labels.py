"""Labels of pictures, which lie where a user has them: class folders, a CSV table, or JSON files beside the pictures.

``folders``: the first folder of a picture's path below the data set's root is its class (the convention of ImageFolder
of torchvision). ``table``: rows of a CSV file with the header ``file,column,...``, separated by commas or semicolons;
``file`` is relative to the root or to the folder of the table. ``sidecars``: fields of ``7.json`` beside ``7.png``.

A label is one word, the class, or one or more numbers. In a table, numbers may also be words: which they are is for
:mod:`synthreal.data.find_labels` to decide.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from posixpath import normpath
from typing import Annotated, Any, Literal, NamedTuple, Self

import numpy as np
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from synthreal.errors import UserError, printable
from synthreal.files import read_bounded
from synthreal.spec import LabelSpec, Options, PrintableName, UserPath

FILE = "file"  # the column of a table that names the pictures
LARGEST_TABLE = 1 << 28  # bytes
Kind = Literal["folders", "table", "sidecars"]
# A setting "none" is read as None; a class or column may have that name.
Name = Annotated[PrintableName, BeforeValidator(lambda name: "none" if name is None else name)]
Picture = Path


class Value(NamedTuple):
    """What stands in a column or field: a word, numbers, or, in a table, both; None where it is not."""

    word: str | None = None
    numbers: tuple[float, ...] | None = None


ValuesOf = Callable[[Picture], tuple[Value, ...]]  # one for each column; raises ValueError if there are none


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        raise ValueError("a name stands there twice; give each once")
    return names


class PictureLabels(Options):
    """Where the labels of a data set of pictures are, and whether they are classes or numbers."""

    kind: Kind = Field(description="folders, table (a CSV file) or sidecars (JSON files beside the pictures)")
    file: UserPath | None = Field(None, description="the CSV file of a table")
    columns: Annotated[tuple[Name, ...], AfterValidator(_distinct)] = Field(
        (), description="columns of the table, or fields of the sidecars, with dots for nested ones"
    )
    classes: Annotated[tuple[Name, ...], AfterValidator(_distinct)] = Field(
        (), description="names of the classes; a label is a position among them; empty = numbers"
    )
    values: int = Field(0, ge=0, le=10_000, description="how many numbers a label has; 0 = a class")

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if (self.kind == "table") != (self.file is not None):
            raise ValueError("file is for a table alone, which needs one")
        if (self.kind == "folders") != (not self.columns):
            raise ValueError("columns are for tables and sidecars, which need one at least")
        if bool(self.classes) == bool(self.values):
            raise ValueError("give either classes or values")
        if (self.classes and len(self.columns) > 1) or (self.values and self.kind == "folders"):
            raise ValueError("a folder is a class, and a class has one column")
        return self

    @property
    def spec(self) -> LabelSpec:
        """The label: "class", an index, or "values" as they are written."""
        if self.classes:
            return LabelSpec("class", (), "index", self.classes)
        return LabelSpec("values", (self.values,), "as given")

    def reader(self, root: Path) -> Callable[[Picture], dict[str, np.ndarray]]:
        """A function that gives the label of a picture below ``root``, int64 ``()`` or float32 ``(K,)``, by name.

        The function raises ``ValueError`` for a picture without one. A table that cannot be read raises ``UserError``.
        """
        values_of = values_reader(root, self.kind, self.columns, None if self.file is None else Path(self.file))
        index = {name: number for number, name in enumerate(self.classes)}

        def label(picture: Picture) -> dict[str, np.ndarray]:
            values = values_of(picture)
            array = _class(values[0], index) if index else numbers_of(values, self.values)
            return {self.spec.name: array}

        return label


def numbers_of(values: tuple[Value, ...], count: int | None = None) -> np.ndarray:
    """The numbers of all columns, float32 ``(K,)``. Raises ``ValueError`` unless they are ``count`` finite ones."""
    found: list[float] = []
    for value in values:
        if value.numbers is None:
            raise ValueError(f"its label {value.word!r} is not a number")
        found += value.numbers
    if count is not None and len(found) != count:
        raise ValueError(f"its label has {len(found)} numbers, not {count}")
    with np.errstate(over="ignore"):
        array = np.array(found, np.float32)
    if not np.isfinite(array).all():
        raise ValueError("its label is NaN or infinite in float32")
    return array


def _class(value: Value, index: dict[str, int]) -> np.ndarray:
    if value.word not in index:
        shown = value.numbers if value.word is None else repr(value.word)
        raise ValueError(f"its label {shown} is none of the {len(index)} classes")
    return np.array(index[value.word], np.int64)


def values_reader(root: Path, kind: Kind, columns: tuple[str, ...], file: Path | None) -> ValuesOf:
    """A function that gives what stands in the columns for a picture below ``root``."""
    if kind == "folders":
        return lambda picture: (_folder(picture, root),)
    if kind == "sidecars":
        return lambda picture: _fields(picture.with_suffix(".json"), columns)
    assert file is not None, "a table has a file"
    table = Table.read(file)
    places = table.places(columns)

    def cells(picture: Picture) -> tuple[Value, ...]:
        if (key := table.key(picture, root)) is None:
            raise ValueError(f"no row in {file}")
        row = table.rows[key]
        found = tuple(_cell(row.cells[place], table.decimal) for place in places)
        if empty := [column for column, value in zip(columns, found, strict=True) if value == Value()]:
            raise ValueError(f"{file}, line {row.line}: column {empty[0]!r} is empty")
        return found

    return cells


def _folder(picture: Picture, root: Path) -> Value:
    first, *below = picture.relative_to(root).parts
    if not below:
        raise ValueError("lies in no class folder")
    return Value(word=first)


def _cell(text: str, decimal: str) -> Value:
    """A cell of a table. Python's underscores between digits are not those of a table."""
    if not text:
        return Value()
    try:
        return Value(text, (float(text.replace(decimal, ".").replace("_", "x")),))
    except ValueError:
        return Value(text)


def _fields(file: Path, columns: tuple[str, ...]) -> tuple[Value, ...]:
    try:
        tree = json.loads(read_bounded(file))
    except (OSError, ValueError, RecursionError) as error:
        missing = isinstance(error, FileNotFoundError)
        raise ValueError(f"no {file.name} beside it" if missing else f"{file.name} is not JSON ({error})") from None
    return tuple(_field(tree, column, file.name) for column in columns)


def _field(tree: Any, field: str, file: str) -> Value:
    for part in field.split("."):
        if not isinstance(tree, dict) or part not in tree:
            raise ValueError(f"{file} has no field {field!r}")
        tree = tree[part]
    if isinstance(tree, str) and tree.strip():
        return Value(word=tree.strip())
    try:
        array = np.asarray(tree)
    except ValueError:  # lists of unequal lengths
        array = np.asarray(None)
    if array.dtype.kind not in "iuf" or not array.size:
        raise ValueError(f"{file}: field {field!r} holds neither numbers nor a word")
    return Value(numbers=tuple(array.ravel().tolist()))


class Row(NamedTuple):
    """A row of a table: its line in the file, and its cells in the order of the header."""

    line: int
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A CSV file.

    Attributes:
        path: the file.
        header: names of the columns.
        rows: by the path in ``file``.
        decimal: the decimal separator: a comma where semicolons separate the columns, or a point.
    """

    path: Path
    header: tuple[str, ...]
    rows: dict[str, Row]
    decimal: str

    @classmethod
    def read(cls, path: Path) -> Table:
        """Read a table. Raises ``UserError`` for a file without header or rows, or with rows that contradict it."""
        try:
            text = read_bounded(path, LARGEST_TABLE).decode("utf-8-sig")
        except UnicodeDecodeError:
            raise UserError(f"{path}: is not UTF-8; save it as CSV in UTF-8") from None
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: cannot be read ({error}); correct --labels") from None
        first = text.partition("\n")[0]
        delimiter = ";" if first.count(";") > first.count(",") else ","
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        rows: dict[str, Row] = {}
        header: tuple[str, ...] = ()
        try:
            for line in reader:
                cells = tuple(cell.strip() for cell in line)
                if not any(cells):
                    continue
                if not header:
                    header = _header(path, cells)
                else:
                    _add(path, rows, header, Row(reader.line_num, cells))
        except csv.Error as error:
            raise UserError(f"{path}, line {reader.line_num}: not CSV ({error}); correct that line") from None
        if not rows:
            raise UserError(f"{path}: no row; give a CSV file with the header file,column,... and a row per picture")
        return cls(path, header, rows, "," if delimiter == ";" else ".")

    def places(self, columns: tuple[str, ...]) -> list[int]:
        """The positions of columns. Raises ``UserError`` for one that the table lacks."""
        if unknown := [column for column in columns if column not in self.header]:
            known = ", ".join(name for name in self.header if name != FILE)
            raise UserError(f"{self.path}: no column {unknown[0]!r}; choose of {known} with --label")
        return [self.header.index(column) for column in columns]

    def key(self, picture: Picture, root: Path) -> str | None:
        """The path under which a row names a picture; None if no row does."""
        path, folder = picture.absolute(), self.path.absolute().parent
        names = (picture.relative_to(root).as_posix(), os.path.relpath(path, folder), normpath(path.as_posix()))
        return next((name for name in names if name in self.rows), None)


def _header(path: Path, cells: tuple[str, ...]) -> tuple[str, ...]:
    if FILE not in cells:
        shown = ", ".join(cells[:4])
        raise UserError(f"{path}: no column {FILE!r} in its first line ({shown}); name the column of the pictures so")
    if len(set(cells)) < len(cells) or "" in cells:
        raise UserError(f"{path}: two columns have one name, or one has none; give each column a name of its own")
    if len(cells) == 1:
        raise UserError(f"{path}: only the column {FILE!r}; add columns with labels")
    return cells


def _add(path: Path, rows: dict[str, Row], header: tuple[str, ...], row: Row) -> None:
    where = f"{path}, line {row.line}"
    if len(row.cells) != len(header):
        raise UserError(f"{where}: {len(row.cells)} cells under a header of {len(header)}; correct that line")
    file = row.cells[header.index(FILE)]
    if not file:
        raise UserError(f"{where}: no {FILE}; name the picture, or remove the line")
    key = normpath(file.replace("\\", "/"))
    known = rows.setdefault(key, row)
    others = [[cell for name, cell in zip(header, one.cells, strict=True) if name != FILE] for one in (known, row)]
    if others[0] != others[1]:
        raise UserError(f"{where}: {printable(file)} has other labels in line {known.line}; remove one of the two")
