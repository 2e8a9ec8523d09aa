"""The estimator of speed limits: loss and metrics against values by hand, augmentation, and that it learns."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from synthreal import Batch, ImageSpec, UserError
from synthreal_signs.estimator import EVALUATOR, EstimatorOptions, SignNet, augment, loss, metrics, standardise
from synthreal_signs.geometry import CLASS, SIGN
from synthreal_signs.simulator import SimulatorOptions, render_simulator


def _parameters(**options: float) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in SignNet(EstimatorOptions(**options), SIGN).parameters())


def test_options_set_the_size_and_the_default_is_small() -> None:
    assert _parameters() < 200_000
    assert _parameters(width=8) < 0.5 * _parameters()
    assert _parameters(hidden=16) < _parameters()
    image = torch.rand(64, *SIGN.shape)
    torch.manual_seed(0)
    for dropout, differs in ((0.0, False), (0.5, True)):
        net = SignNet(EstimatorOptions(dropout=dropout), SIGN).train()
        assert torch.equal(net(image), net(image)) is not differs


def test_other_sizes_and_channels() -> None:
    for channels, height, width in [(1, 32, 32), (3, 48, 40), (3, 16, 16)]:
        net = SignNet(EstimatorOptions(width=4), ImageSpec(channels=channels, height=height, width=width))
        assert net(torch.rand(2, channels, height, width)).shape == (2, 8)


def test_too_small_images_and_layers_are_errors() -> None:
    with pytest.raises(UserError, match="at least 16x16 px, not 15x32"):
        SignNet(EstimatorOptions(), ImageSpec(channels=3, height=15, width=32))
    for change in ({"width": 0}, {"hidden": 0}, {"dropout": 1.0}):
        with pytest.raises(ValidationError):
            EstimatorOptions(**change)


def test_brightness_contrast_and_colour_do_not_matter() -> None:
    torch.manual_seed(0)
    net, image = SignNet(EstimatorOptions(width=4), SIGN).eval(), torch.rand(4, *SIGN.shape)
    torch.testing.assert_close(net(0.3 + 0.2 * image), net(image), atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(net(image[:, [2, 0, 1]]), net(image), atol=1e-3, rtol=1e-3)
    standard = standardise(image).flatten(1)
    torch.testing.assert_close(standard.mean(1), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(standard.square().mean(1), torch.ones(4), atol=1e-4, rtol=0)
    assert (standardise(torch.full((1, *SIGN.shape), 0.7)).abs() < 1e-2).all()


def test_loss_is_the_cross_entropy() -> None:
    logits = torch.zeros(2, 8)
    labels = {"class": torch.tensor([0, 3])}
    assert loss(logits, labels).item() == pytest.approx(torch.log(torch.tensor(8.0)).item())
    logits[[0, 1], [0, 3]] = 20.0
    assert loss(logits, labels).item() < 1e-3


def test_metrics_are_percentages_and_differences_of_limits() -> None:
    found, true = (
        torch.tensor([0, 1, 6, 7]),
        torch.tensor([0, 5, 0, 6]),
    )  # 20 for 20, 30 for 80, 100 for 20, 120 for 100
    pred = torch.nn.functional.one_hot(found, 8).float()
    result = metrics(pred, {"class": true})
    assert result["error_percent"].tolist() == [0, 100, 100, 100]
    assert result["error_kmh"].tolist() == [0, 50, 80, 20]
    assert EVALUATOR.requires == (CLASS,)
    assert EVALUATOR.primary in result and EVALUATOR.curve is not None and EVALUATOR.curve[0] in result


def test_the_constant_answer_is_the_most_frequent_class() -> None:
    labels = {"class": torch.tensor([2, 5, 5, 7])}
    constant = EVALUATOR.constant(labels)
    assert constant.shape == (1, 8)
    assert metrics(constant.expand(4, -1), labels)["error_percent"].mean() == 50


def test_the_answer_is_the_label_for_which_a_prediction_is_exact() -> None:
    pred = torch.rand(5, 8, generator=torch.Generator().manual_seed(0))
    answer = EVALUATOR.answer(pred, {"class": torch.zeros(5, dtype=torch.int64)})
    assert answer["class"].dtype == torch.int64
    assert (metrics(pred, answer)["error_percent"] == 0).all()


def test_augmentation_moves_signs_a_little_and_keeps_the_class_only() -> None:
    signs = render_simulator(SimulatorOptions(), 64, torch.Generator().manual_seed(0))
    moved = augment(signs, torch.Generator().manual_seed(1))
    assert moved.image.shape == signs.image.shape
    assert set(moved.labels) == {"class"} and torch.equal(moved.labels["class"], signs.labels["class"])
    assert 0 <= moved.image.min() and moved.image.max() <= 1
    assert 0.01 < (moved.image - signs.image).abs().mean() < 0.2
    assert torch.equal(moved.image, augment(signs, torch.Generator().manual_seed(1)).image)


def test_augmentation_keeps_shapes_in_images_that_are_not_square() -> None:
    """A disc in a wide image stays a disc of nearly its area."""
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(64.0), indexing="ij")
    disc = ((x - 31.5).square() + (y - 15.5).square() < 64).float().expand(200, 1, -1, -1)
    image = augment(Batch(disc, {"class": torch.zeros(200)}), torch.Generator().manual_seed(0)).image[:, 0]
    mass = image.sum((1, 2))
    mx, my = (image * x).sum((1, 2)) / mass, (image * y).sum((1, 2)) / mass
    wide = (image * (x - mx[:, None, None]).square()).sum((1, 2))
    high = (image * (y - my[:, None, None]).square()).sum((1, 2))
    torch.testing.assert_close(wide / high, torch.ones(200), atol=0.1, rtol=0)


def test_it_learns_eight_signs_by_heart() -> None:
    signs = render_simulator(SimulatorOptions(), 64, torch.Generator().manual_seed(0))
    rows = torch.stack([(signs.labels["class"] == k).nonzero()[0, 0] for k in range(8)])
    image, labels = signs.image[rows], {"class": signs.labels["class"][rows]}
    torch.manual_seed(0)
    net = SignNet(EstimatorOptions(width=8, dropout=0.0), SIGN)
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(40):
        optimizer.zero_grad()
        loss(net(image), labels).backward()
        optimizer.step()
    assert metrics(net(image), labels)["error_percent"].sum() == 0
