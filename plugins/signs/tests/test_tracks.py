"""The split by track: shares, and what it depends on."""

from __future__ import annotations

from collections import Counter

import pytest

from synthreal_signs.tracks import FEWEST_TRACKS, SPLITS, mix, split_tracks


@pytest.mark.parametrize(
    ("tracks", "test", "validation"),
    [(3, 1, 1), (4, 1, 1), (5, 2, 1), (6, 2, 1), (35, 12, 6), (50, 17, 8), (75, 25, 13)],
)
def test_a_third_of_the_tracks_is_for_the_test_and_a_sixth_for_validation(
    tracks: int, test: int, validation: int
) -> None:
    found = Counter(split_tracks(1, range(tracks)).values())
    assert found == {"test": test, "validation": validation, "training": tracks - test - validation}


def test_too_few_tracks_are_refused() -> None:
    with pytest.raises(ValueError, match="2 tracks"):
        split_tracks(1, range(FEWEST_TRACKS - 1))


def test_the_split_is_fixed() -> None:
    """Published results depend on it."""
    parts = split_tracks(1, range(12))
    assert [track for track in parts if parts[track] == "test"] == [11, 3, 0, 1]
    assert [track for track in parts if parts[track] == "validation"] == [7, 8]


def test_the_order_of_the_tracks_does_not_matter_but_the_class_does() -> None:
    assert split_tracks(1, [*range(20)]) == split_tracks(1, [*reversed(range(20))])
    assert split_tracks(1, range(20)) != split_tracks(2, range(20))


def test_most_tracks_keep_their_part_when_tracks_are_missing() -> None:
    """A newcomer with all of GTSRB and one with a part of it test on nearly the same signs."""
    whole, part = split_tracks(2, range(75)), split_tracks(2, range(0, 75, 2))
    assert sum(part[track] == whole[track] for track in part) > 0.8 * len(part)


def test_the_upper_bound_has_the_photographs_that_the_refiner_saw() -> None:
    assert SPLITS["real"] == SPLITS["real_labelled"]
    assert len({SPLITS["real"], SPLITS["validation"], SPLITS["test"]}) == 3


def test_every_beginning_is_spread_over_tracks() -> None:
    photographs = [(number, track, frame) for number in range(8) for track in range(5) for frame in range(30)]
    mixed = mix(photographs)
    assert sorted(mixed) == photographs and mixed == mix(reversed(photographs))
    for length in (40, 100, 640):
        found = Counter(key[:2] for key in mixed[:length])
        assert len(found) == 40 and max(found.values()) - min(found.values()) <= 1
    assert len({frame for _, _, frame in mixed[:40]}) > 10  # not the smallest photograph of each track
    assert len({number for number, _, _ in mixed[:20]}) > 5
