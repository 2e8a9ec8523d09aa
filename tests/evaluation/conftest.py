from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from synthreal.metrics import summary, twosample


@pytest.fixture(autouse=True, scope="module")
def short_two_sample_tests() -> Iterator[None]:
    """Five training steps instead of 300, which take most of the time of an evaluation of toy images."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(summary, "two_sample_test", partial(twosample.two_sample_test, steps=5))
        yield
