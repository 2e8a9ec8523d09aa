"""The hand estimator: grid of the heat maps, sub-pixel peaks, depth, metrics, augmentation."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from synthreal import Batch, UserError
from synthreal_hands.cube import CUBE_MM, Crop, hand_image, project, unproject
from synthreal_hands.estimator import EVALUATOR, answer, assign, augment, decode_joints, loss, metrics, quantities
from synthreal_hands.hourglass import Grid, HandNet, HourglassOptions, peak

SMALL = HourglassOptions(features=8, stacks=1, maps=32)


def crops(n: int, side: int) -> Crop:
    centre = torch.tensor([[310.0, 250.0, 800.0]]).expand(n, 3)
    return Crop(centre, torch.full((n,), CUBE_MM / 2), torch.full((n,), float(side)))


def labelled(n: int, side: int, seed: int = 0) -> dict[str, Tensor]:
    """Random joints, away from the border of the crop."""
    generator = torch.Generator().manual_seed(seed)
    joints = torch.rand(n, 14, 3, generator=generator) * torch.tensor([0.7 * side, 0.7 * side, 200.0])
    joints = joints + torch.tensor([0.15 * side, 0.15 * side, -100.0])
    crop = crops(n, side)
    return {"joints": joints, "xyz": unproject(crop.to_frame(joints)), "crop": crop.label()}


def perfect(labels: dict[str, Tensor], maps: int, stacks: int = 1) -> Tensor:
    """The maps of a perfect network: the log of the target, and the true depth everywhere."""
    crop = Crop.of(labels["crop"])
    place = Grid.over(crop.side[:, None, None], maps).to_cells(labels["joints"][..., :2])
    cells = torch.arange(maps)
    x, y = (-0.5 * (cells - place[..., i, None]).square() for i in (0, 1))
    heat = y[..., :, None] + x[..., None, :]
    depth = (labels["joints"][..., 2] / crop.half[:, None])[..., None, None].expand_as(heat)
    return torch.cat([heat, depth], dim=1)[:, None].repeat(1, stacks, 1, 1, 1)


def test_heat_maps_cover_the_image_and_a_margin_of_background():
    for side, maps, stride, margin in [
        (224, 64, 4, 16),
        (64, 32, 2, 0),
        (64, 64, 1, 0),
        (96, 32, 4, 16),
        (256, 64, 4, 0),
    ]:
        grid = Grid.of(side, maps)
        assert (grid.stride, grid.margin) == (stride, margin)
        net = HandNet(HourglassOptions(features=4, stacks=2, maps=maps), hand_image(side))
        assert net(torch.rand(2, 1, side, side)).shape == (2, 2, 28, maps, maps)


def test_the_receptive_field_of_a_cell_is_where_the_grid_says():
    for side, maps in [(224, 64), (64, 32), (96, 32)]:
        torch.manual_seed(0)
        net = HandNet(HourglassOptions(features=32, stacks=1, maps=maps), hand_image(side)).eval()
        stem_maps: list[Tensor] = []
        net.stem.register_forward_hook(lambda module, inputs, output, maps=stem_maps: maps.append(output))
        axis = torch.arange(float(side))
        for x, y in ((0.31 * side, 0.64 * side), (0.7 * side, 0.4 * side)):
            image = torch.rand(1, 1, side, side, requires_grad=True)
            net(image)
            column, row = Grid.of(side, maps).to_cells(torch.tensor([x, y])).round().long().tolist()
            stem_maps[-1][0, :, row, column].abs().sum().backward()
            weight = image.grad[0, 0].abs()
            found = torch.stack([weight.sum(0) @ axis, weight.sum(1) @ axis]) / weight.sum()
            assert (found - torch.tensor([x, y])).abs().max() < Grid.of(side, maps).stride


def test_incompatible_sizes_are_errors():
    for side, maps in [(1024, 64), (63, 32)]:
        with pytest.raises(UserError, match=f"maps: {maps} for images of {side} px"):
            Grid.of(side, maps)
        with pytest.raises(ValidationError, match="power of two"):
            HourglassOptions(maps=24)
    for change in ({"features": 4096}, {"stacks": 1000}, {"maps": 1 << 20}):  # no machine holds these
        with pytest.raises(ValidationError, match="less than or equal to"):
            HourglassOptions(**change)


def test_every_option_changes_the_size_of_the_network():
    def parameters(**change: int) -> int:
        options = HourglassOptions(**{"features": 8, "stacks": 1, "maps": 32, **change})
        return sum(p.numel() for p in HandNet(options, hand_image(64)).parameters())

    assert len({parameters(), parameters(features=16), parameters(stacks=2), parameters(maps=64)}) == 4


def test_the_papers_estimator_has_two_stacks_and_64_maps_for_14_joints():
    with torch.device("meta"):
        net = HandNet(HourglassOptions(), hand_image(224))
        assert net(torch.empty(1, 1, 224, 224)).shape == (1, 2, 28, 64, 64)


def test_peaks_have_sub_cell_precision():
    labels = labelled(20, 64)
    place, weights = peak(perfect(labels, 32)[:, 0, :14])
    expected = Grid.of(64, 32).to_cells(labels["joints"][..., :2])
    assert (place - expected).abs().max() < 0.06
    assert (place - expected.round()).abs().mean() > 0.2  # whole cells would not do
    torch.testing.assert_close(weights.sum((2, 3)), torch.ones(20, 14))


def test_perfect_maps_have_no_error():
    for side, maps in [(64, 32), (224, 64)]:
        labels = labelled(6, side)
        found = metrics(perfect(labels, maps, stacks=2), labels)
        assert found["error_px"].shape == found["error_mm"].shape == found["pck_5px"].shape == (6, 14)
        assert found["error_px"].max() < 0.5
        assert found["error_mm"].max() < 0.8
        assert (found["pck_5px"] == 100).all()


def test_errors_are_px_of_a_224_px_crop_for_any_image_size():
    for side in [64, 224]:
        labels = labelled(3, side)
        off = labels["joints"] + torch.tensor([4.9 * side / 224, 0, 0])
        found = metrics(off, labels)
        torch.testing.assert_close(found["error_px"], torch.full((3, 14), 4.9), rtol=1e-3, atol=1e-3)
        assert (found["pck_5px"] == 100).all()
        further = metrics(labels["joints"] + torch.tensor([0, 5.1 * side / 224, 0]), labels)
        assert (further["pck_5px"] == 0).all()


def test_mm_are_distances_in_space_after_back_projection():
    labels = labelled(3, 64)
    behind = metrics(labels["joints"] + torch.tensor([0, 0, 10.0]), labels)["error_mm"]
    assert (behind >= 9.99).all() and (behind < 11).all()  # the ray leans a little
    aside = metrics(labels["joints"] + torch.tensor([64 / CUBE_MM * 10, 0, 0]), labels)["error_mm"]
    assert ((aside / 10) * 800 / (labels["joints"][..., 2] + 800)).sub(1).abs().max() < 1e-3


def test_grids_of_numbers_and_tensors_are_equal():
    for maps in [8, 32, 64]:
        for side in range(2, 8 * maps + 1, 2):
            over = Grid.over(torch.tensor(float(side)), maps)
            assert (Grid.of(side, maps).stride, Grid.of(side, maps).margin) == (int(over.stride), float(over.margin))


def test_answer_gives_labels_without_error():
    labels = labelled(5, 64)
    maps = torch.randn(5, 2, 28, 32, 32, generator=torch.Generator().manual_seed(0))
    read = answer(maps, labels)
    assert {name: values.shape for name, values in read.items()} == {"joints": (5, 14, 3), "xyz": (5, 14, 3)}
    found = metrics(maps, {**labels, **read})
    assert (found["error_px"] == 0).all() and (found["error_mm"] == 0).all() and (found["pck_5px"] == 100).all()
    assert EVALUATOR.answer is answer


def test_joints_are_read_from_quantities_again():
    labels = labelled(3, 64)
    maps = perfect(labels, 32)
    values = quantities(answer(maps, labels))
    assert {name: tuple(value.shape) for name, value in values.items()} == dict.fromkeys(
        ("x_px", "y_px", "behind_mm"), (3, 14)
    )
    before, after = metrics(maps, labels), metrics(assign(maps, values), labels)
    for name in before:
        torch.testing.assert_close(after[name], before[name])
    moved = assign(maps, {**values, "x_px": values["x_px"] + 2})
    assert float(metrics(moved, labels)["error_px"].mean()) == pytest.approx(2 * 224 / 64, rel=0.05)


def test_the_constant_prediction_is_a_set_of_joints():
    labels = labelled(5, 64)
    mean = labels["joints"].mean(0, keepdim=True)
    assert decode_joints(mean, Crop.of(labels["crop"])) is mean
    assert metrics(mean, labels)["error_px"].shape == (5, 14)


def test_the_loss_is_minimal_for_the_truth_and_sums_over_stacks():
    labels = labelled(4, 64)
    truth = perfect(labels, 32, stacks=2)
    wrong_place, wrong_depth, one_wrong = truth.clone(), truth.clone(), truth.clone()
    wrong_place[:, :, :14] = truth[:, :, :14].roll(3, dims=-1)
    wrong_depth[:, :, 14:] += 0.3
    one_wrong[:, 0, :14] = truth[:, 0, :14].roll(3, dims=-1)
    best = loss(truth, labels)
    assert best < loss(one_wrong, labels) < loss(wrong_place, labels)
    assert best < loss(wrong_depth, labels)
    torch.testing.assert_close(loss(truth[:, :1], labels) * 2, best)


def test_joints_outside_the_map_have_a_finite_loss():
    labels = labelled(2, 64)
    labels["joints"][:, 0, :2] = torch.tensor([-50.0, 400.0])
    maps = torch.zeros(2, 1, 28, 32, 32, requires_grad=True)
    loss(maps, labels).backward()
    assert torch.isfinite(maps.grad).all()


def dotted(labels: dict[str, Tensor], side: int) -> Tensor:
    """One image for each joint: a bright 3x3 square on background at the nearest pixel."""
    place = labels["joints"][..., :2].round().long()
    image = torch.ones(*place.shape[:2], side, side)
    for n in range(place.shape[0]):
        for j in range(place.shape[1]):
            x, y = place[n, j].tolist()
            image[n, j, y - 1 : y + 2, x - 1 : x + 2] = 0.2
    return image


def test_augmentation_moves_joints_with_the_image():
    side, n = 64, 12
    labels = labelled(n, side)
    labels["joints"][..., :2] = labels["joints"][..., :2].round()
    image = dotted(labels, side)
    moved = 0
    for joint in range(14):
        generator = torch.Generator().manual_seed(3)
        batch = augment(Batch(image[:, joint, None], labels), generator)
        ink = 1 - batch.image[:, 0]
        axis = torch.arange(side).float()
        total = ink.sum((1, 2)).clamp_min(1e-6)
        found = torch.stack([(ink.sum(1) * axis).sum(-1) / total, (ink.sum(2) * axis).sum(-1) / total], dim=-1)
        expected = batch.labels["joints"][:, joint, :2]
        inside = ((expected > 2) & (expected < side - 3)).all(-1)
        assert (found - expected)[inside].norm(dim=-1).max() < 0.8
        moved += int(((expected - labels["joints"][:, joint, :2]).norm(dim=-1) > 2)[inside].sum())
    assert moved > 100


def test_augmentation_does_not_blend_depth_and_drops_invalid_labels():
    labels = labelled(8, 64)
    levels = torch.tensor([0.2, 0.5, 0.7, 1.0])
    image = levels[torch.randint(4, (8, 1, 64, 64), generator=torch.Generator().manual_seed(0))]
    batch = augment(Batch(image, labels), torch.Generator().manual_seed(1))
    assert torch.isclose(batch.image[..., None], levels, atol=1e-6).any(-1).all()
    assert set(batch.labels) == {"joints", "crop"}
    torch.testing.assert_close(batch.labels["joints"][..., 2], labels["joints"][..., 2])
    assert torch.equal(batch.labels["crop"], labels["crop"])
    assert not torch.equal(batch.image, augment(Batch(image, labels), torch.Generator().manual_seed(2)).image)


def test_rotation_stays_within_twenty_degrees():
    n = 400
    joints = torch.full((n, 14, 3), 31.5)
    joints[:, 1, 0] += 20
    labels = {**labelled(n, 64), "joints": joints}
    moved = augment(Batch(torch.ones(n, 1, 64, 64), labels), torch.Generator().manual_seed(0)).labels["joints"]
    arm = moved[:, 1, :2] - moved[:, 0, :2]
    angle = torch.rad2deg(torch.atan2(arm[:, 1], arm[:, 0]))
    assert -20 <= angle.min() < -17 and 17 < angle.max() <= 20
    scale = arm.norm(dim=-1) / 20
    assert 0.9 <= scale.min() < 0.92 and 1.08 < scale.max() <= 1.1001


def test_images_that_are_not_square_are_errors():
    from dataclasses import replace

    with pytest.raises(UserError, match="64x48 px; it needs square crops"):
        HandNet(SMALL, replace(hand_image(64), width=48))


def test_projection_of_labels_is_consistent():
    labels = labelled(4, 64)
    back = Crop.of(labels["crop"]).from_frame(project(labels["xyz"]))
    torch.testing.assert_close(back, labels["joints"], rtol=1e-3, atol=1e-2)
