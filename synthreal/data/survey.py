"""A survey of a folder of pictures before a run: their number, and the sizes and modes that their headers state."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from synthreal.data.folder import image_content, image_files_of
from synthreal.data.ondisk import choose_rows
from synthreal.errors import UserError
from synthreal.images.orientation import TRANSPOSED, orientation
from synthreal.images.picture import any_size, picture_problem, read_header, read_pixels

SAMPLE = 512  # files; a data set of fewer files reads a subset of these


@dataclass(frozen=True)
class Survey:
    """What a folder holds.

    Attributes:
        root: the folder.
        total: number of image files, readable or not.
        sizes: ``(H, W)`` of the readable files in the sample, as a viewer shows them.
        grey: number of those that are grey.
        deep: number of those that have 16 bits.
        several: number of those that hold several pictures.
        turned: number of those that EXIF or a TIFF tag turns.
    """

    root: Path
    total: int
    sizes: tuple[tuple[int, int], ...]
    grey: int
    deep: int
    several: int
    turned: int

    @property
    def sampled(self) -> int:
        """The number of readable files in the sample."""
        return len(self.sizes)


def survey(root: Path, *, remedy: str) -> Survey:
    """Read the headers of a random sample of 512 image files below a folder; check that not all are of a single colour.

    Raises ``UserError`` for fewer than two readable pictures, and if every picture has a single colour, such as black.
    """
    files = image_files_of(root, remedy=remedy)
    headers, failures, plain = [], list[str](), True
    for row in choose_rows(len(files), SAMPLE):
        try:
            with any_size():
                content = image_content(files[row])
                header = read_header(content)
                turn = orientation(content)
                if plain:  # decode only until one picture is not
                    pixels = read_pixels(content, first=True)
                    plain = bool((pixels == pixels[:, :1, :1]).all())
        except Exception as error:  # decoders raise anything on broken bytes
            failures.append(f"{files[row]}: {picture_problem(error)}")
        else:
            headers.append((header, turn))
    if not headers:
        raise UserError(f"{root}: not one of its {len(files)} image files is readable; {failures[0]}")
    if len(headers) == 1:
        raise UserError(f"{root}: one picture is too few; give 2 at least, better some hundred")
    if plain:
        raise UserError(f"{root}: each of its pictures has a single colour, such as black; check how they were written")
    return Survey(
        root=root,
        total=len(files),
        sizes=tuple(
            (header.height, header.width) if turn < TRANSPOSED else (header.width, header.height)
            for header, turn in headers
        ),
        grey=sum(header.grey for header, _ in headers),
        deep=sum(header.deep for header, _ in headers),
        several=sum(header.several for header, _ in headers),
        turned=sum(turn != 1 for _, turn in headers),
    )
