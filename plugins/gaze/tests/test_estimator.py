"""The gaze estimator: the parameter count of the paper's network, loss and metrics against values by hand."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError

from synthreal import ImageSpec, UserError
from synthreal_gaze.estimator import EVALUATOR, EstimatorOptions, GazeNet, assign, loss, metrics, quantities
from synthreal_gaze.geometry import EYE, GAZE

SMALL = EstimatorOptions(widths=(4, 4, 8, 16, 16), hidden=(64,))


def _parameters(options: EstimatorOptions) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in GazeNet(options, EYE).parameters())


def test_the_papers_network_has_the_expected_parameter_count() -> None:
    convolutions = 320 + 9_248 + 18_496 + 46_160 + 138_432
    dense = (9600 * 9600 + 9600) + (9600 * 1000 + 1000) + (1000 * 3 + 3)
    assert _parameters(EstimatorOptions()) == convolutions + dense == 101_986_259


def test_widths_and_hidden_set_the_size() -> None:
    assert _parameters(EstimatorOptions(hidden=(1000,))) == 101_986_259 - (9600 * 9600 + 9600)
    assert _parameters(EstimatorOptions(hidden=())) == 212_656 + 9600 * 3 + 3
    convolutions = 40 + 148 + 296 + 1168 + 2320
    assert _parameters(SMALL) == convolutions + (16 * 5 * 10 * 64 + 64) + (64 * 3 + 3)


def test_the_papers_maps_are_unpadded() -> None:
    with torch.device("meta"):
        net, image = GazeNet(EstimatorOptions(), EYE), torch.empty(2, 1, 35, 55)
    shapes = []
    for layer in net.features:  # type: ignore[union-attr]
        image = layer(image)
        shapes.append(tuple(image.shape[1:]))
    convolved = [(32, 33, 53), (32, 31, 51), (64, 29, 49), (64, 14, 24), (80, 12, 22), (192, 10, 20), (192, 5, 10)]
    assert list(dict.fromkeys(shapes)) == [*convolved, (9600,)]


def test_other_sizes_and_channels() -> None:
    for height, width in [(35, 55), (36, 60), (19, 19), (64, 31)]:
        image = ImageSpec(channels=3, height=height, width=width)
        assert GazeNet(SMALL, image)(torch.rand(2, 3, height, width)).shape == (2, 3)


def test_too_small_images_and_layers_are_errors() -> None:
    with pytest.raises(UserError, match="at least 19x19 px, not 18x55"):
        GazeNet(SMALL, ImageSpec(channels=1, height=18, width=55))
    with pytest.raises(ValidationError):
        EstimatorOptions(hidden=(0,))
    with pytest.raises(ValidationError):
        EstimatorOptions(widths=(8, 8))  # type: ignore[arg-type]


def test_images_are_not_standardised() -> None:
    """Half the contrast changes the output, so the estimator does not hide the gap between domains."""
    torch.manual_seed(0)
    net, image = GazeNet(SMALL, EYE).eval(), torch.rand(4, 1, 35, 55)
    assert (net(image) - net(0.5 + 0.5 * (image - 0.5))).std() > 0.1 * net(image).std()
    seen: list[torch.Tensor] = []
    net.features.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))  # type: ignore[union-attr]
    net(torch.tensor([0.0, 1.0])[:, None, None, None].expand(2, 1, 35, 55))
    assert [value.unique().tolist() for value in seen[0]] == [[-1.0], [1.0]]


def test_initialisation_preserves_the_signal() -> None:
    """Torch's default would reduce it to a hundredth."""
    torch.manual_seed(0)
    net = GazeNet(EstimatorOptions(hidden=(1000,)), EYE)
    image = torch.rand(8, 1, 35, 55)
    features = net.features(2 * image - 1)  # type: ignore[operator]
    assert 0.3 < features.square().mean().sqrt() < 10
    assert net(image).abs().max() < 2


def test_loss_is_the_mean_squared_distance() -> None:
    pred, gaze = torch.tensor([[0.0, 0.0, -1.0], [1.0, 2.0, 3.0]]), torch.tensor([[0.0, 0.0, -1.0], [0.0, 0.0, 1.0]])
    assert loss(pred, {"gaze": gaze}).item() == pytest.approx((0 + 1 + 4 + 4) / 2)
    assert loss(pred.repeat(5, 1), {"gaze": gaze.repeat(5, 1)}).item() == pytest.approx(4.5)


def test_metrics_are_degrees_and_percentages_per_image() -> None:
    angles = torch.tensor([0.0, 6.9, 7.1, 12.9, 13.1, 180.0])
    radians = angles * math.pi / 180
    gaze = torch.tensor([[0.0, 0.0, -1.0]]).repeat(6, 1)
    pred = 3.0 * torch.stack((radians.sin(), torch.zeros(6), -radians.cos()), dim=1)
    result = metrics(pred, {"gaze": gaze})
    torch.testing.assert_close(result["error_deg"], angles, atol=1e-4, rtol=0)
    assert result["within_7deg"].tolist() == [100, 100, 0, 0, 0, 0]
    assert result["within_13deg"].tolist() == [100, 100, 100, 100, 0, 0]
    assert EVALUATOR.requires == (GAZE,)
    assert EVALUATOR.primary in result and EVALUATOR.curve[0] in result


def test_it_learns_the_position_of_a_disc() -> None:
    """The gaze depends on the position of a dark disc; training beats the constant prediction by far."""
    generator = torch.Generator().manual_seed(1)
    place = torch.rand(128, 2, generator=generator) * torch.tensor([20.0, 12.0]) + torch.tensor([17.5, 11.5])
    rows, columns = torch.meshgrid(torch.arange(35.0), torch.arange(55.0), indexing="ij")
    distance = (columns - place[:, :1, None]).square() + (rows - place[:, 1:, None]).square()
    image = (1 - torch.exp(-distance / 40))[:, None]
    gaze = torch.cat(((place - torch.tensor([27.5, 17.5])) / 25, -torch.ones(128, 1)), dim=1)
    labels = {"gaze": gaze / gaze.norm(dim=1, keepdim=True)}
    torch.manual_seed(0)
    net = GazeNet(SMALL, EYE)
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    for _ in range(15):
        for part in torch.randperm(128, generator=generator).split(32):
            optimizer.zero_grad()
            loss(net(image[part]), {"gaze": labels["gaze"][part]}).backward()
            optimizer.step()
    error = metrics(net(image), labels)["error_deg"].mean()
    constant = metrics(labels["gaze"].mean(0, keepdim=True).expand(128, 3), labels)["error_deg"].mean()
    assert error < 0.25 * constant


def test_sizes_that_no_machine_holds_are_refused() -> None:
    for change in ({"widths": (32, 32, 64, 80, 2000)}, {"hidden": (0,)}, {"hidden": (20_000,)}, {"hidden": (8,) * 9}):
        with pytest.raises(ValidationError, match=r"every layer has 1 to|at most 8 items"):
            EstimatorOptions(**change)


def test_quantities_are_pitch_and_yaw_in_degrees_and_give_the_direction_back() -> None:
    pitch, yaw = torch.tensor([10.0, -30.0]), torch.tensor([-20.0, 45.0])
    gaze = assign(torch.empty(2, 3), {"pitch_deg": pitch, "yaw_deg": yaw})
    found = quantities({"gaze": 7 * gaze})
    assert found["pitch_deg"].tolist() == pytest.approx([10, -30])
    assert found["yaw_deg"].tolist() == pytest.approx([-20, 45])
    assert float(metrics(gaze, {"gaze": gaze})["error_deg"].max()) < 1e-4
    assert EVALUATOR.quantities is quantities and EVALUATOR.assign is assign
