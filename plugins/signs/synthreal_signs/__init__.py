"""The domain of traffic signs: data sets, as hooks."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from synthreal import DatasetSpec, hookimpl
from synthreal_signs import gtsrb
from synthreal_signs.geometry import SIGN
from synthreal_signs.tracks import SPLITS


@hookimpl
def synthreal_datasets() -> Iterator[DatasetSpec]:
    """``gtsrb`` is read from files."""
    for role in SPLITS:
        read = partial(gtsrb.read_gtsrb, role=role)
        yield DatasetSpec(
            name="gtsrb", role=role, image=SIGN, labels=gtsrb.LABELS, options=gtsrb.GTSRBOptions, read=read
        )
