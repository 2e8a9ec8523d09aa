"""Are a folder of renders and one of photographs swapped? Simulators fill areas with one colour; cameras have noise.

What is compared is the share of flat pixels, whose 3x3 neighbours have exactly their colour; black and white ones are
left out, because cameras clip. It was 0.16 to 0.73 (10th to 90th percentile) in folders of drawn signs, drawn scenes
and UnityEyes renders, and 0.00 to 0.01 in photographs of signs and eyes, also in JPEG files (2026-11-30). JPEG of a
low quality has flat blocks, so photographs in that format are not suspected.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median

import numpy as np

from synthreal.data.folder import image_content, image_files_of
from synthreal.data.ondisk import choose_rows
from synthreal.images.picture import any_size, read_pixels

SAMPLE = 32  # files
SIDE = 512  # px of the middle of a picture that is measured
DRAWN, PHOTOGRAPHED = 0.1, 0.02  # least and largest share of flat pixels
UNCLIPPED = 0.1  # least share of pixels that are neither black nor white
JPEG = b"\xff\xd8"


def swapped(renders: Path, photographs: Path) -> str | None:
    """What is wrong if the ``renders`` look photographed and the ``photographs`` drawn, in one line; else None."""
    drawn = _median_flat_share(photographs, jpeg=False)
    if drawn is None or drawn < DRAWN:
        return None
    photographed = _median_flat_share(renders, jpeg=True)
    if photographed is None or photographed > PHOTOGRAPHED:
        return None
    return (
        f"{photographs}: its pictures look drawn ({drawn:.0%} of their area is flat), and those of {renders} "
        f"photographed ({photographed:.0%}); swap the two, renders come first"
    )


def flat_share(pixels: np.ndarray) -> float | None:
    """The share of flat pixels of a picture ``(C, H, W)``; None if nearly all are black or white, or it is tiny."""
    _, height, width = pixels.shape
    top, left = max(0, (height - SIDE) // 2), max(0, (width - SIDE) // 2)
    part = pixels[:, top : top + SIDE, left : left + SIDE]
    if min(part.shape[1:]) < 3:
        return None
    windows = np.lib.stride_tricks.sliding_window_view(part, (3, 3), (1, 2))
    flat = (windows == part[:, 1:-1, 1:-1, None, None]).all((0, 3, 4))
    middle = part[:, 1:-1, 1:-1]
    inside = ((middle > 0) & (middle < np.iinfo(pixels.dtype).max)).any(0)
    return float(flat[inside].mean()) if inside.mean() > UNCLIPPED else None


def _median_flat_share(root: Path, *, jpeg: bool) -> float | None:
    """The median over a random choice of the readable pictures of a folder; ``jpeg``: also of JPEG files."""
    files = image_files_of(root)
    shares = []
    for row in choose_rows(len(files), SAMPLE):
        try:
            content = image_content(files[row])
            with any_size():
                share = None if content.startswith(JPEG) and not jpeg else flat_share(read_pixels(content, first=True))
        except Exception:  # decoders raise anything on broken bytes, which the data set lists
            continue
        if share is not None:
            shares.append(share)
    return median(shares) if shares else None
