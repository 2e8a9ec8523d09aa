"""The tables ``GT-000NN.csv`` of GTSRB: where the sign is in each photograph of a class.

One row for each photograph, separated by semicolons, below a line with the names of the columns::

    Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId
    00000_00000.ppm;29;30;5;6;24;25;0

The region of interest (ROI) encloses the sign. It reaches from X1 to X2 and from Y1 to Y2, in px from the left and the
upper edge of the photograph: above, 5 px are free on the left (29 - 24 = 5 on the right).
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from synthreal import UserError

COLUMNS = ("Width", "Height", "Roi.X1", "Roi.Y1", "Roi.X2", "Roi.Y2", "ClassId")
REMEDY = "restore it from GTSRB, or delete the CSV files of all classes to use whole photographs"


@dataclass(frozen=True)
class Roi:
    """The sign in a photograph, in px.

    Attributes:
        size: width and height of the photograph.
        box: left, upper, right and lower edge of the sign.
    """

    size: tuple[int, int]
    box: tuple[int, int, int, int]

    @property
    def is_inside(self) -> bool:
        """Whether the sign has an area and lies in the photograph."""
        (width, height), (left, upper, right, lower) = self.size, self.box
        return 0 <= left < right <= width and 0 <= upper < lower <= height


def read_rois(path: Path, number: int) -> Mapping[str, Roi]:
    """The rows of a table by the name of the photograph, in lower case.

    Raises:
        UserError: the file cannot be read, a column is missing, a row has no numbers or names another class than
            ``number``, or two rows name one photograph.
    """
    rois: dict[str, Roi] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, delimiter=";", strict=True)
            missing = [name for name in ("Filename", *COLUMNS) if name not in (rows.fieldnames or ())]
            if missing:
                raise UserError(f"{path}: has no column {', '.join(missing)}; {REMEDY}")
            for row in rows:
                name, line = str(row["Filename"]).strip().lower(), f"{path}: line {rows.line_num}"
                try:
                    width, height, left, upper, right, lower, found = (int(row[column]) for column in COLUMNS)
                except (TypeError, ValueError):
                    raise UserError(f"{line} does not hold {len(COLUMNS)} whole numbers; {REMEDY}") from None
                if found != number:
                    raise UserError(f"{line} has ClassId {found} in the folder of class {number}; {REMEDY}")
                if name in rois:
                    raise UserError(f"{line} names {name!r} a second time; {REMEDY}")
                rois[name] = Roi((width, height), (left, upper, right, lower))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"{path}: cannot be read as CSV ({reason}); {REMEDY}") from error
    return rois
