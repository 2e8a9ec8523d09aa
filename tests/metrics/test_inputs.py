"""Invalid image sets are reported in one line, and sets are split into parts of bounded memory."""

from __future__ import annotations

import pytest
import torch

from synthreal.errors import UserError
from synthreal.metrics.distances import realism
from synthreal.metrics.features import estimator_features, random_features
from synthreal.metrics.inputs import parts
from synthreal.metrics.spectrum import spectrum_distance
from synthreal.metrics.twosample import two_sample_test

MEASURES = {
    "two_sample_test": (lambda a, b: two_sample_test(a, b, seed=0), 20, 1),
    "spectrum_distance": (spectrum_distance, 1, 4),
    "realism": (lambda a, b: realism(a, b, seed=0), 2, 8),
}
SINGLE = {
    "random_features": (lambda a: random_features(a, seed=0), 8),
    "estimator_features": (lambda a: estimator_features(torch.nn.Conv2d(1, 1, 1), a), 1),
}


@pytest.mark.parametrize("name", MEASURES)
def test_sets_that_cannot_be_compared_are_an_error(name):
    measure, least, side = MEASURES[name]
    good = torch.rand(least, 1, 16, 16)
    wrong = {
        f"given .*; give at least {least} images in each set": good[: least - 1],
        "give images of one size": torch.rand(least, 2, 16, 16),
        r"torch.uint8 .*give float32 images": torch.zeros(least, 1, 16, 16).byte(),
        r"\[1, 16, 16\].*; give float32 images": torch.rand(1, 16, 16),
        r"torch.float64.*; give float32 images": good.double(),
    }
    for message, other in wrong.items():
        for pair in ((good, other), (other, good)):
            with pytest.raises(UserError, match=f"^{name}: .*{message}") as error:
                measure(*pair)
            assert "\n" not in str(error.value)
    if side > 1:
        small = torch.rand(least, 1, side - 1, 16)
        with pytest.raises(UserError, match=f"{name}: .*at least {side}x{side} px"):
            measure(small, small)


def test_empty_or_small_sets_are_an_error():
    for name in SINGLE:
        measure, side = SINGLE[name]
        with pytest.raises(UserError, match=f"{name}: .*at least 1 images"):
            measure(torch.rand(0, 1, 16, 16))
        if side > 1:
            with pytest.raises(UserError, match=f"{name}: .*at least {side}x{side} px"):
                measure(torch.rand(2, 1, 16, side - 1))


def test_parts_hold_all_images_in_order_within_the_memory_limit():
    for n, side, maps, sizes in [(5, 64, 256, [4, 1]), (3, 4096, 16, [1] * 3), (9, 8, 1, [9])]:
        images = torch.arange(float(n)).view(n, 1, 1, 1).expand(n, 1, side, side)
        cut = parts(images, maps)
        assert [len(part) for part in cut] == sizes
        assert torch.cat([part[:, 0, 0, 0] for part in cut]).tolist() == list(range(n))
