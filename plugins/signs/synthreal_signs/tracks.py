"""The split of photographs into roles: by track, never by photograph.

A track is one sign, photographed about 30 times by a car that approaches it. Photographs of a track are nearly equal,
so a model tested on a track that it has seen would look far better than it is.

Of each class's tracks, a third are for the test, a sixth for validation, and the rest, half, for training. The tracks
are ranked by a hash of their class and number. The role of a track therefore depends neither on its photographs nor on
other classes; with more or fewer tracks in a class, only tracks near the two limits change their role.

Photographs are read in an order that mixes classes and tracks, because several measurements use the first images of a
data set.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Literal

from synthreal_signs.geometry import RealRole

Key = tuple[int, int, int]  # class number of GTSRB, track and frame
Split = Literal["training", "validation", "test"]

FEWEST_TRACKS = 3  # of a class: one for each part
SPLITS: Mapping[RealRole, Split] = {  # the upper bound has the photographs that the refiner saw
    "real": "training",
    "real_labelled": "training",
    "validation": "validation",
    "test": "test",
}


def split_tracks(number: int, tracks: Collection[int]) -> dict[int, Split]:
    """The part that each track of a class belongs to.

    Args:
        number: the class, as in GTSRB.
        tracks: the numbers of its tracks; three or more.

    Returns:
        The part of each track: the nearest number to a third of them, at least one, is for the test, the nearest to a
        sixth, at least one, for validation.
    """
    ranked = sorted(set(tracks), key=lambda track: _rank(number, track))
    if len(ranked) < FEWEST_TRACKS:
        raise ValueError(f"{len(ranked)} tracks cannot be split into three parts")
    test = max(1, (2 * len(ranked) + 3) // 6)
    validation = max(1, (len(ranked) + 3) // 6)
    parts: dict[int, Split] = dict.fromkeys(ranked, "training")
    parts.update(dict.fromkeys(ranked[:test], "test"))
    parts.update(dict.fromkeys(ranked[test : test + validation], "validation"))
    return parts


def mix(photographs: Iterable[Key]) -> list[Key]:
    """Photographs in an order of which every beginning has equal numbers of each track, give or take one.

    A hash decides which photographs of a track come first, and in which order the tracks follow.
    """
    seen: Counter[tuple[int, int]] = Counter()
    turns: dict[Key, int] = {}
    for key in sorted(photographs, key=lambda key: _rank(*key)):
        turns[key] = seen[key[:2]]
        seen[key[:2]] += 1
    return sorted(turns, key=turns.__getitem__)


def _rank(*numbers: int) -> bytes:
    return hashlib.sha256("/".join(map(str, numbers)).encode()).digest()
