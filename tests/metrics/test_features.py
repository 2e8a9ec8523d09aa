from __future__ import annotations

import pytest
import torch
from pictures import CHANGES, collapsed, pictures
from scipy.signal import correlate2d
from torch import nn

from synthreal.errors import UserError
from synthreal.metrics.features import WIDTHS, estimator_features, random_features
from synthreal.metrics.mmd import kid


def slow(image: torch.Tensor, seed: int) -> list[float]:
    """The same weights, everything else by scipy and numpy, for one image ``(C, H, W)``."""
    generator = torch.Generator().manual_seed(seed)
    maps = [4 * channel.double().numpy() - 2 for channel in image]
    found = []
    for width in WIDTHS:
        scale = (2 / (9 * len(maps))) ** 0.5
        weight = scale * torch.randn(width, len(maps), 3, 3, generator=generator).double().numpy()
        bias = torch.randn(width, generator=generator).double().numpy() / 2
        out = [
            (sum(correlate2d(x, w, mode="same") for x, w in zip(maps, weight[i], strict=True)) + bias[i]).clip(0)
            for i in range(width)
        ]
        found += [x.mean() for x in out] + [x.std(ddof=1) for x in out]
        even = [x[: len(x) // 2 * 2, : x.shape[1] // 2 * 2] for x in out]
        maps = [(x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2]) / 4 for x in even]
    return found


def test_random_features_equal_a_slow_oracle():
    images = pictures(2, 0, (9, 12), channels=2)
    fast = random_features(images, seed=3)
    assert fast.shape == (2, 224)
    for row, image in zip(fast, images, strict=True):
        assert row.tolist() == pytest.approx(slow(image, 3), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize(("size", "channels"), [((35, 55), 1), ((8, 8), 3)])
def test_a_feature_depends_on_its_image_and_the_seed_alone(size, channels, monkeypatch):
    images = pictures(7, 0, size, channels)
    together = random_features(images, seed=0)
    monkeypatch.setattr("synthreal.metrics.inputs.PART_VALUES", 1)
    torch.testing.assert_close(random_features(images[3:5], seed=0), together[3:5])
    assert not torch.allclose(random_features(images, seed=1), together)
    assert torch.isfinite(together).all()


def test_kid_on_random_features_exceeds_chance_for_changes():
    a = random_features(pictures(200, 0), seed=0)
    null = torch.stack([kid(a, random_features(pictures(200, seed), seed=0)) for seed in range(1, 7)])
    for change in CHANGES.values():
        assert kid(a, random_features(change(pictures(200, 7)), seed=0)) > 5 * null.abs().max()


class Twice(nn.Module):
    """Registers its layers in reverse order, overwrites the last input, and has a layer that never runs."""

    def __init__(self) -> None:
        super().__init__()
        self.second, self.first, self.unused = nn.Linear(5, 3), nn.Linear(12, 5), nn.Conv2d(3, 3, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        hidden = self.first(image.flatten(1))
        answer = self.second(hidden)
        hidden.zero_()
        return answer


def test_estimator_features_are_the_input_of_the_last_layer():
    image, model = torch.rand(6, 1, 3, 4), Twice()
    torch.testing.assert_close(estimator_features(model, image), model.first(image.flatten(1)))


def test_maps_and_tokens_are_averaged():
    image = torch.rand(4, 2, 8, 8)
    convolution = nn.Sequential(nn.Conv2d(2, 5, 3), nn.ReLU(), nn.Conv2d(5, 1, 1))
    torch.testing.assert_close(estimator_features(convolution, image), convolution[:2](image).mean((2, 3)))
    tokens = nn.Sequential(nn.Flatten(2), nn.Linear(64, 7), nn.ReLU(), nn.Linear(7, 3))
    torch.testing.assert_close(estimator_features(tokens, image), tokens[:3](image).mean(1))


def test_the_model_runs_in_eval_mode_and_is_restored(monkeypatch):
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(16, 2)).train()
    image = torch.rand(9, 1, 4, 4)
    monkeypatch.setattr("synthreal.metrics.inputs.PART_VALUES", 1)
    assert torch.equal(estimator_features(model, image), image.flatten(1))
    assert model.training and model[1].training
    assert not model[2]._forward_pre_hooks


PIECES = nn.Sequential(nn.Flatten(0), nn.Unflatten(0, (-1, 2)), nn.Linear(2, 1))


def test_a_model_without_features_is_an_error():
    for model in [nn.Flatten(), PIECES]:
        with pytest.raises(UserError, match="estimator_features: the model applies no"):
            estimator_features(model, torch.rand(4, 1, 4, 4))


def test_kid_detects_collapse_to_few_images():
    a, b = pictures(400, 0), pictures(400, 1)
    features = [random_features(images, seed=0) for images in (a, b, collapsed(b))]
    assert kid(features[0], features[2]) > 3 * kid(features[0], features[1]).abs()
