"""A survey of a folder of pictures before a run: their number, and the sizes and modes that their headers state."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from synthreal.data.folder import image_content, image_files_of
from synthreal.data.ondisk import choose_rows
from synthreal.errors import UserError
from synthreal.images.orientation import TRANSPOSED, orientation
from synthreal.images.picture import any_size, picture_problem, read_info, read_pixels

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
    found, failures, plain = [], list[str](), True
    for row in choose_rows(len(files), SAMPLE):
        try:
            with any_size():
                content = image_content(files[row])
                info = read_info(content)
                turn = orientation(content)
                if plain:  # decode only until one picture is not
                    pixels = read_pixels(content, first=True)
                    plain = bool((pixels == pixels[:, :1, :1]).all())
        except Exception as error:  # decoders raise anything on broken bytes
            failures.append(f"{files[row]}: {picture_problem(error)}")
        else:
            found.append((info, turn))
    if not found:
        raise UserError(f"{root}: not one of its {len(files)} image files is readable; {failures[0]}")
    if len(found) == 1:
        only = f"one readable picture of {1 + len(failures)}" if failures else "one picture"
        first = f"; {failures[0]}" if failures else ""
        raise UserError(f"{root}: {only} is too few; give 2 at least, better some hundred{first}")
    if plain:
        raise UserError(f"{root}: each of its pictures has a single colour, such as black; check how they were written")
    return Survey(
        root=root,
        total=len(files),
        sizes=tuple(
            (info.height, info.width) if turn < TRANSPOSED else (info.width, info.height) for info, turn in found
        ),
        grey=sum(info.is_grey for info, _ in found),
        deep=sum(info.is_16_bit for info, _ in found),
        several=sum(info.has_further_pictures for info, _ in found),
        turned=sum(turn != 1 for _, turn in found),
    )
