"""Worst and best: by a kept estimator, else by the detector, else by the pixels; and their pictures."""

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
from synthreal.metrics.landmark_shift import landmark_shift
from synthreal.report import drift, tiles
from synthreal.report.drift import Drifted, drifted
from synthreal.report.record import read_record

CPU = torch.device("cpu")


def found(run, told=lambda count: None):
    return drifted(read_record(run), CPU, told)


def sorted_by_drift(result):
    worst, best = result.by[list(result.worst)], result.by[list(result.best)]
    assert worst[0] == result.by.max() and best[0] == result.by.min()
    assert torch.equal(worst, worst.sort(descending=True).values) and torch.equal(best, best.sort().values)
    assert not set(result.worst) & set(result.best)


def test_by_the_kept_estimator_and_nothing_is_trained(full, monkeypatch):
    from synthreal.evaluation import cache as trained

    monkeypatch.setattr(trained, "train", lambda *arguments, **more: 1 / 0)
    told = []
    result = found(full, told.append)
    assert result.unit == "px" and result.measure.startswith("error_px between what the kept estimator")
    assert told == [40] and result.simulated.shape == result.refined.shape == (40, 1, 12, 16)
    assert len(result.worst) == len(result.best) == drift.EACH
    sorted_by_drift(result)


def test_by_the_detector_when_no_estimator_fits(full, toy):
    kept = found(full)
    for path in (full / "estimators").glob("simulated-*"):
        path.rename(path.with_name("simulated-0123.safetensors"))  # of other images, or of another version
    result = found(full)
    assert "the detector of pointer" in result.measure and result.unit == "px"
    assert torch.equal(result.by, landmark_shift(toy.evaluator("pointer").locate, result.simulated, result.refined))
    assert not torch.equal(result.by, kept.by)
    sorted_by_drift(result)
    shutil.rmtree(full / "estimators")
    assert torch.equal(found(full).by, result.by)


def test_an_estimator_whose_answer_nobody_can_read_is_passed_over(full, monkeypatch):
    monkeypatch.setattr(drift, "predicts_labels", lambda *arguments: False)
    assert "the detector of pointer" in found(full).measure


def test_by_the_pixels_when_there_is_no_detector(run, monkeypatch):
    of = Catalog.evaluator
    monkeypatch.setattr(Catalog, "evaluator", lambda catalog, name: replace(of(catalog, name), locate=None))
    result = found(run)
    assert result.measure == "the mean change of an image's pixels, |R(x) - x|" and result.unit == ""
    assert torch.allclose(result.by, (result.refined - result.simulated).abs().mean((1, 2, 3)))
    sorted_by_drift(result)


def test_a_domain_without_an_evaluator(run):
    text = (run / "config.toml").read_text()
    start, end = text.index("[evaluation.evaluator]"), text.index("[runtime]")
    (run / "config.toml").write_text(
        f"{text[:start]}{text[end:]}".replace("[evaluation]", '[evaluation]\nevaluator = "none"')
    )
    assert "pixels" in found(run).measure


def test_a_damaged_estimator_is_told(full):
    (path,) = (full / "estimators").glob("simulated-*")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UserError, match=r"not a whole safetensors file .*evaluate again"):
        found(full)


def test_of_large_images_half_as_many(run, monkeypatch):
    monkeypatch.setattr(drift, "COUNT", 20)
    assert len(found(run).by) == 20
    monkeypatch.setattr(drift, "SMALL_PX", 12 * 16 - 1)
    assert len(found(run).by) == 10


def pair(colours=1):
    """Two images, the second changed by 0.18 in its left half."""
    simulated = torch.full((2, colours, 4, 6), 0.5)
    refined = simulated.clone()
    refined[1, :, :, :3] += 0.18
    return Drifted(simulated, refined, torch.tensor([0.0, 1.234]), "deg", "", (1,), (0,))


def pixels(url):
    head, _, body = url.partition(",")
    assert head == "data:image/png;base64"
    with Image.open(BytesIO(b64decode(body))) as picture:
        return np.asarray(picture)


@pytest.mark.parametrize("colours", [1, 3])
def test_tiles_show_both_images_and_their_difference_on_one_scale(colours):
    scale = tiles.scale_of(pair(colours))
    assert scale == 0.2
    changed, same = tiles.tiles(pair(colours), (1, 0), scale=scale, colormap=None)
    assert (changed.row, changed.value, same.value) == (1, "1.23 deg", "0.00 deg")
    before, after, heat = (pixels(url) for _, url in changed.pictures)
    assert [what for what, _ in changed.pictures] == ["simulated", "refined", "difference"]
    assert before.shape == after.shape == heat.shape == (136, 204, 3)  # 34 times: 200 px at least
    assert (before == 128).all() and (after[:, :102] == 173).all() and (after[:, 102:] == 128).all()
    assert (heat[:, 102:] == tiles.HEAT[0]).all()
    assert (heat[0, 0].astype(int) > (200, 100, 90)).all()  # nine tenths up the scale
    assert (pixels(same.pictures[2][1]) == tiles.HEAT[0]).all()
    wider = tiles.tiles(pair(colours), (1,), scale=1.0, colormap=None)[0]
    assert pixels(wider.pictures[2][1])[0, 0].sum() < heat[0, 0].sum()


def test_tiles_are_in_the_colours_of_the_domain():
    grey, coloured = (tiles.tiles(pair(), (0,), scale=1.0, colormap=name)[0] for name in (None, "viridis"))
    assert grey.pictures[0] != coloured.pictures[0] and grey.pictures[2] == coloured.pictures[2]


def test_many_and_large_sheets_are_thinned_out(tmp_path):
    paths = []
    for step in range(100):
        paths.append((step, tmp_path / f"step-{step:08d}.png"))
        paths[-1][1].write_bytes(b"x" * 50)
    thinned = tiles.chosen_sheets(paths)
    assert len(thinned) == tiles.MOST and thinned[0] == paths[0] and thinned[-1] == paths[-1]
    assert thinned == sorted(set(thinned))
    for _, path in paths:
        path.write_bytes(b"x" * 300_000)
    assert len(tiles.chosen_sheets(paths)) == 10
    assert tiles.chosen_sheets(paths[:7]) == paths[:7] and tiles.chosen_sheets([]) == []
