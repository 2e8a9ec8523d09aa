from __future__ import annotations

import numpy as np
import pytest
import torch
from gaze_fixtures import equalize_hist, to_bytes

from synthreal_gaze.geometry import gaze_to_angles
from synthreal_gaze.simulator import SimulatorOptions, render_simulator


def draw(n: int = 64, seed: int = 0, **options: float) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    batch = render_simulator(SimulatorOptions(**options), n, torch.Generator().manual_seed(seed))
    return batch.image, dict(batch.labels)


def test_the_darkest_blob_is_the_labelled_pupil():
    image, labels = draw(1024, pitch_deg=10.0, yaw_deg=20.0)
    dark = (0.10 - image[:, 0]).clamp_min(0)
    mass = dark.sum((1, 2))
    row, column = torch.arange(35.0)[:, None], torch.arange(55.0)
    found = torch.stack(((dark * column).sum((1, 2)), (dark * row).sum((1, 2))), 1) / mass.clamp_min(1e-6)[:, None]
    pupil, lids = labels["pupil"][:, 0], labels["lids"]
    clear = (pupil[:, 1] - lids[:, 4, 1] > 7) & (lids[:, 12, 1] - pupil[:, 1] > 6)
    bright = image.flatten(1).quantile(0.5, dim=1) > 0.3
    clear &= bright & (mass > 0)
    assert clear.sum() > 40
    error = (found - pupil)[clear].norm(dim=1)
    assert error.median() < 0.5
    assert (found - pupil)[clear].mean(0).abs().max() < 0.5


def test_the_sclera_is_brighter_than_the_iris():
    image, labels = draw(256, pitch_deg=5.0, yaw_deg=5.0, head_deg=0.0)
    pupil, iris = labels["pupil"][:, 0], labels["iris"]

    def sample(shift: torch.Tensor) -> torch.Tensor:
        x = (pupil[:, 0] + shift).round().long()
        return image[torch.arange(256), 0, (pupil[:, 1] + 2).round().long(), x]

    assert (sample(1.35 * iris[:, 2]) > sample(0.75 * iris[:, 2])).float().mean() > 0.9


def test_gaze_is_uniform_over_its_range():
    _, labels = draw(2048, pitch_mean_deg=-5.0, pitch_deg=20.0, yaw_deg=30.0)
    angles = gaze_to_angles(labels["gaze"]).rad2deg()
    assert angles.amax(0).tolist() == pytest.approx([15, 30], abs=0.5)
    assert angles.amin(0).tolist() == pytest.approx([-25, -30], abs=0.5)
    assert angles.std(0).tolist() == pytest.approx([20 / 3**0.5, 30 / 3**0.5], rel=0.05)


def test_head_deg_and_jitter_px_move_head_and_crop():
    free, still = draw(512)[1], draw(512, head_deg=0.0, jitter_px=0.0)[1]
    assert torch.allclose(still["head_pose"], 0.4 * gaze_to_angles(still["gaze"]), atol=1e-5)
    assert (free["head_pose"] - 0.4 * gaze_to_angles(free["gaze"])).rad2deg().abs().max() > 10

    def spread(labels: dict[str, torch.Tensor]) -> torch.Tensor:
        return ((labels["lids"][:, 0] + labels["lids"][:, 8]) / 2).std(0)

    assert (spread(free) > spread(still) + 0.5).all()


def test_equalize_spreads_the_grey_levels_and_keeps_the_labels():
    (plain, labels), (image, same) = draw(), draw(equalize=True)
    for k in range(len(image)):
        assert np.array_equal(to_bytes(image[k]), equalize_hist(to_bytes(plain[k])))
    assert (image - plain).abs().mean() > 0.1
    assert image.flatten(1).std(1).mean() == pytest.approx(12**-0.5, abs=0.01)
    assert labels.keys() == same.keys()
    assert all(torch.equal(labels[name], same[name]) for name in labels)


@pytest.mark.gpu
def test_the_simulator_renders_on_the_generators_device():
    generator = torch.Generator("cuda").manual_seed(0)
    batch = render_simulator(SimulatorOptions(), 32, generator)
    assert batch.image.is_cuda
    assert all(value.is_cuda for value in batch.labels.values())
