"""Each sensor error changes the right pixels by the right amount."""

from __future__ import annotations

import torch

from synthreal_hands import sensor
from synthreal_hands.camera import window_px
from synthreal_hands.cube import FX

N, SIDE = 8, 60


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def each(value: float) -> torch.Tensor:
    return torch.full((N, 1, 1), value)


def bar(near: float = 700.0, far: float = torch.inf) -> torch.Tensor:
    """A vertical bar of columns 25 to 34 before something far, ``(8, 60, 60)``."""
    depth = torch.full((N, SIDE, SIDE), float(far))
    depth[:, :, 25:35] = near
    return depth


def plane(depth: float) -> torch.Tensor:
    return torch.full((N, SIDE, SIDE), depth)


def test_disparity_is_the_structured_light_formula_and_zero_at_infinity():
    depth = torch.tensor([[[800.0, torch.inf]]])
    torch.testing.assert_close(sensor.disparity(depth, torch.tensor(75.0)), torch.tensor([[[FX * 75 / 800, 0.0]]]))


def test_displaced_edges_contain_no_new_depth():
    found = sensor.displace_edges(bar(), each(1.5), each(1.0), 3, generator())
    assert set(found.unique().tolist()) == {700.0, torch.inf}
    changed = (found != bar()).float().mean(dim=(0, 1))
    assert changed[23:27].mean() > 0.15  # at the edge
    assert changed[29:31].mean() < 0.01 and changed[:15].mean() == 0  # not inside and not far away
    assert torch.equal(sensor.displace_edges(bar(), each(0.0), each(1.0), 3, generator()), bar())


def test_displacements_are_px_of_the_frame_in_blocks_of_a_window():
    fine, coarse = (sensor.displace_edges(bar(), each(2.0), each(pitch), 1, generator()) for pitch in (1.0, 4.0))
    assert ((coarse != bar()).float().mean()) < 0.6 * (fine != bar()).float().mean()
    field = sensor.block_noise(plane(1.0), 3, generator())
    assert (field.diff(dim=-1) == 0).float().mean() > 0.6
    assert abs(float(field.std()) - 1) < 0.1
    assert (sensor.block_noise(plane(1.0), 1, generator()).diff(dim=-1) == 0).float().mean() < 0.01
    assert [window_px(side) for side in (64, 224)] == [1, 3]


def test_smoothing_reduces_noise_and_preserves_jumps():
    grain = plane(700.0) + torch.randn(N, SIDE, SIDE, generator=generator())
    assert sensor.smooth(grain, each(1.0))[:, 2:-2, 2:-2].std() < 0.5
    assert torch.equal(sensor.smooth(grain, each(0.0)), grain)
    torch.testing.assert_close(sensor.smooth(bar(700, 760), each(1.0)), bar(700, 760))
    assert torch.equal(torch.isfinite(sensor.smooth(bar(), each(1.0))), torch.isfinite(bar()))


def test_shadows_are_on_the_left_and_as_wide_as_the_difference_of_disparities():
    depth, baseline = bar(600.0, 1000.0), 75.0
    dark = sensor.shadow_mask(depth, each(baseline), each(1.0))
    width = FX * baseline * (1 / 600 - 1 / 1000)
    columns = dark[0].float().mean(0)
    assert abs(float(columns[:25].sum()) - min(25, width)) <= 1.5
    assert columns[25:].sum() == 0
    assert not sensor.shadow_mask(plane(800.0), each(baseline), each(1.0)).any()
    half = sensor.shadow_mask(depth, each(baseline / 4), each(1.0))[0].float().mean(0)
    assert abs(float(half.sum()) - width / 4) <= 1.5


def oracle_shadow(depth: torch.Tensor, baseline: float) -> torch.Tensor:
    """A pixel is hidden if the projector sees some pixel to its right further left."""
    seen = torch.arange(depth.shape[-1]) - FX * baseline / depth
    dark = torch.zeros_like(depth, dtype=torch.bool)
    for column in range(depth.shape[-1]):
        later = seen[..., column:]
        dark[..., column] = (seen[..., column, None] > later + 0.5).any(-1)
    return dark


def test_shadows_against_an_oracle():
    depth = 600 + 400 * torch.rand(N, SIDE, SIDE, generator=generator())
    assert torch.equal(sensor.shadow_mask(depth, each(75.0), each(1.0)), oracle_shadow(depth, 75.0))


def test_edges_are_both_sides_of_a_jump():
    assert sensor.edge_mask(bar())[0, 0].nonzero().flatten().tolist() == [24, 25, 34, 35]
    assert not sensor.edge_mask(plane(700.0)).any()
    assert not sensor.edge_mask(bar(700, 705)).any()


def test_mixed_pixels_are_beside_jumps_and_between_both_sides():
    found = sensor.mix_edges(bar(700, 800), each(0.5), generator())
    changed = found != bar(700, 800)
    assert changed[..., [25, 34]].float().mean() > 0.3
    assert not changed[..., 26:34].any() and not changed[..., :24].any()
    assert (found[changed] > 700).all() and (found[changed] < 800).all()
    silhouette = sensor.mix_edges(bar(), each(0.5), generator())
    assert torch.equal(torch.isfinite(silhouette), torch.isfinite(bar()))
    assert torch.equal(sensor.mix_edges(bar(), each(0.0), generator()), bar())


def test_noise_and_quantisation_grow_with_the_square_of_depth():
    def spread(depth: float) -> float:
        return float(sensor.add_noise(plane(depth), each(0.2), each(1e-4), each(75.0), generator()).std())

    assert abs(spread(1200) / spread(600) - 4) < 0.5
    steps = [
        sensor.add_noise(
            torch.linspace(d, d + 40, SIDE).expand(N, SIDE, SIDE), each(0.0), each(0.5), each(75.0), generator()
        )
        for d in (600.0, 1200.0)
    ]
    gaps = [float(levels.unique().diff().median()) for levels in steps]
    assert abs(gaps[1] / gaps[0] - 4) < 0.6
    expected = 620**2 / (FX * 75) * 0.5
    assert abs(gaps[0] / expected - 1) < 0.1


def test_noise_preserves_missing_pixels():
    found = sensor.add_noise(bar(), each(0.3), each(0.125), each(75.0), generator())
    assert torch.equal(torch.isfinite(found), torch.isfinite(bar()))


def test_holes_and_lost_edge_pixels_have_their_shares():
    holes = ~torch.isfinite(sensor.drop_pixels(plane(700.0), each(0.1), each(0.0), generator()))
    assert abs(float(holes.float().mean()) - 0.1) < 0.03
    neighbours = (holes[..., 1:] & holes[..., :-1]).float().sum() / holes.float().sum()
    assert neighbours > 0.6
    lost = ~torch.isfinite(sensor.drop_pixels(bar(), each(0.0), each(0.4), generator())) & torch.isfinite(bar())
    assert abs(float(lost[..., [25, 34]].float().mean()) - 0.4) < 0.05
    assert not lost[..., 26:34].any()
    assert torch.equal(sensor.drop_pixels(bar(), each(0.0), each(0.0), generator()), bar())
