"""Images that moved most and least: by a cached estimator, the detector or the pixels; and the examples on the page."""

from __future__ import annotations

import shutil
from base64 import b64decode
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from synthreal.errors import UserError
from synthreal.hooks.catalog import Catalog
from synthreal.metrics.displacement import DisplacementField
from synthreal.metrics.landmark_shift import landmark_shift
from synthreal.report import drift, images
from synthreal.report.drift import RefinedImages, measure_drift
from synthreal.report.record import read_record

CPU = torch.device("cpu")


def refined_images(run, on_refine=lambda count: None):
    return measure_drift(read_record(run), CPU, on_refine)


def assert_sorted(images):
    distance = images.distance
    most, least = images.extremes()
    assert distance[most[0]] == distance.max() and distance[least[0]] == distance.min()
    assert torch.equal(distance[most], distance[most].sort(descending=True).values)
    assert torch.equal(distance[least], distance[least].sort().values)
    assert not set(most) & set(least)


def test_a_cached_estimator_is_used_and_nothing_is_trained(full, monkeypatch):
    from synthreal.evaluation import cache

    monkeypatch.setattr(cache, "train", lambda *arguments, **more: 1 / 0)
    counts = []
    images = refined_images(full, counts.append)
    assert images.unit == "px" and images.measure.startswith("error_px between the predictions of the cached estimator")
    assert counts == [40] and images.simulated.shape == images.refined.shape == (40, 1, 12, 16)
    assert [len(rows) for rows in images.extremes()] == [drift.EXAMPLES, drift.EXAMPLES]
    assert_sorted(images)


def test_the_detector_is_used_without_a_matching_estimator(full, toy):
    by_estimator = refined_images(full)
    for path in (full / "estimators").glob("simulated-*"):
        path.rename(path.with_name("simulated-0123.safetensors"))  # other images or another version
    images = refined_images(full)
    assert "the detector of pointer" in images.measure and images.unit == "px"
    assert torch.equal(
        images.distance, landmark_shift(toy.evaluator("pointer").locate, images.simulated, images.refined)
    )
    assert not torch.equal(images.distance, by_estimator.distance)
    assert_sorted(images)
    shutil.rmtree(full / "estimators")
    assert torch.equal(refined_images(full).distance, images.distance)


def test_an_estimator_that_predicts_no_labels_is_not_used(full, monkeypatch):
    monkeypatch.setattr(drift, "predicts_labels", lambda *arguments: False)
    assert "the detector of pointer" in refined_images(full).measure


def test_the_pixels_are_used_without_a_detector(run, monkeypatch):
    of = Catalog.evaluator
    monkeypatch.setattr(Catalog, "evaluator", lambda catalog, name: replace(of(catalog, name), locate=None))
    images = refined_images(run)
    assert images.measure == "the mean change of the pixels, |R(x) - x|" and images.unit == ""
    assert torch.allclose(images.distance, (images.refined - images.simulated).abs().mean((1, 2, 3)))
    assert_sorted(images)


def test_the_displacement_of_content_is_used_where_it_can_be_measured(run, monkeypatch):
    of = Catalog.evaluator
    monkeypatch.setattr(Catalog, "evaluator", lambda catalog, name: replace(of(catalog, name), locate=None))
    monkeypatch.setattr(drift, "is_measurable", lambda x: True)
    field = torch.arange(40.0)[:, None, None, None].expand(-1, 2, 1, 1)
    monkeypatch.setattr(drift, "displacement_field", lambda x, y: DisplacementField(field, field[:, 0] < 0))
    images = refined_images(run)
    assert images.measure == "the mean displacement of the content between x and R(x), px" and images.unit == "px"
    assert images.distance.tolist() == pytest.approx([2**0.5 * i for i in range(40)])
    assert_sorted(images)


def test_a_domain_without_an_evaluator(run):
    text = (run / "config.toml").read_text()
    start, end = text.index("[evaluation.evaluator]"), text.index("[runtime]")
    (run / "config.toml").write_text(
        f"{text[:start]}{text[end:]}".replace("[evaluation]", '[evaluation]\nevaluator = "none"')
    )
    assert "pixels" in refined_images(run).measure


def test_a_damaged_estimator_is_reported(full):
    (path,) = (full / "estimators").glob("simulated-*")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UserError, match=r"simulated-.*safetensors: .*evaluate again"):
        refined_images(full)


def test_the_number_of_images_is_limited(run, monkeypatch):
    monkeypatch.setattr(drift, "COUNT", 20)
    assert len(refined_images(run).distance) == 20


def pair(colours=1):
    """Two images, the second changed by 0.18 in its left half."""
    simulated = torch.full((2, colours, 4, 6), 0.5)
    refined = simulated.clone()
    refined[1, :, :, :3] += 0.18
    return RefinedImages(simulated, refined, torch.tensor([0.0, 1.234]), "deg", "")


def pixels(url):
    head, _, body = url.partition(",")
    assert head == "data:image/png;base64"
    with Image.open(BytesIO(b64decode(body))) as picture:
        return np.asarray(picture)


@pytest.mark.parametrize("colours", [1, 3])
def test_examples_show_both_images_and_their_difference(colours):
    scale = images.difference_scale(pair(colours), [1, 0])
    assert scale == 0.2
    changed, same = images.draw_examples(pair(colours), (1, 0), scale=scale, colormap=None)
    assert (changed.row, changed.value, same.value) == (1, "1.23 deg", "0.00 deg")
    before, after, heat = (pixels(url) for _, url in changed.pictures)
    assert [caption for caption, _ in changed.pictures] == ["simulated", "refined", "difference"]
    assert before.shape == after.shape == heat.shape == (136, 204, 3)  # 34 times as large
    assert (before == 128).all() and (after[:, :102] == 173).all() and (after[:, 102:] == 128).all()
    assert (heat[:, 102:].sum(-1) < 10).all()  # black: no difference
    assert (heat[0, 0].astype(int) > (200, 100, 90)).all()  # bright: 90 % of the scale
    assert (pixels(same.pictures[2][1]).sum(-1) < 10).all()
    wider = images.draw_examples(pair(colours), (1,), scale=1.0, colormap=None)[0]
    assert pixels(wider.pictures[2][1])[0, 0].sum() < heat[0, 0].sum()


def test_examples_use_the_colormap_of_the_domain():
    grey, coloured = (images.draw_examples(pair(), (0,), scale=1.0, colormap=name)[0] for name in (None, "viridis"))
    assert grey.pictures[0] != coloured.pictures[0] and grey.pictures[2] == coloured.pictures[2]


def test_many_or_large_sheets_are_thinned(tmp_path):
    sheets = [(step, tmp_path / f"step-{step:08d}.png") for step in range(100)]
    for size, count in ((50, images.MOST_SHEETS), (300_000, 10)):
        for _, path in sheets:
            path.write_bytes(b"x" * size)
        thinned = images.select_sheets(sheets)
        assert len(thinned) == count and thinned[0] == sheets[0] and thinned[-1] == sheets[-1]
        assert thinned == sorted(set(thinned))
    assert images.select_sheets(sheets[:7]) == sheets[:7] and images.select_sheets([]) == []
