"""The images of a study: those of the run, refined, in the stored dtype."""

from __future__ import annotations

import shutil

import pytest
import torch
from small_study import IMAGE, levels

from synthreal.data.encoding import from_unit, to_unit
from synthreal.errors import UserError
from synthreal.inference.transform import Refine
from synthreal.train.contact_sheet import png
from synthreal.turing.pictures import ImagePool, choose_images


def chosen(run, **options):
    return choose_images(run, **options, device="cpu", on_refine=lambda count: None)


def rows(images):
    return {image.numpy().tobytes() for image in images}


def test_synthetic_images_are_refined_or_simulated_ones(toy_run):
    refined = chosen(toy_run, against="refined", images=5, seed=0)
    simulated = chosen(toy_run, against="simulated", images=5, seed=0)
    assert torch.equal(refined.real, simulated.real)
    assert refined.synthetic.dtype == refined.real.dtype == torch.uint8
    expected = Refine.load(toy_run, device="cpu")(to_unit(simulated.synthetic))
    assert torch.equal(from_unit(expected, "uint8"), refined.synthetic)
    assert not torch.equal(simulated.synthetic, refined.synthetic)


def test_the_control_needs_no_weights(toy_run, tmp_path):
    shutil.copytree(toy_run, tmp_path / "run")
    (tmp_path / "run/refiner.safetensors").unlink()
    assert len(chosen(tmp_path / "run", against="simulated", images=5, seed=0).synthetic) == 40
    with pytest.raises(UserError, match="missing"):
        chosen(tmp_path / "run", against="refined", images=5, seed=0)


def test_the_order_depends_on_the_seed(toy_run):
    one, other = (chosen(toy_run, against="simulated", images=5, seed=seed) for seed in (0, 1))
    assert rows(one.real) == rows(other.real)  # there are 30, all of which are taken
    assert not torch.equal(one.real, other.real)


def test_too_few_images_are_an_error_with_their_number(toy_run, tmp_path):
    with pytest.raises(UserError, match=r"data\.real has 30 images, --images 21 needs 31 .* lower --images to 20"):
        chosen(toy_run, against="refined", images=21, seed=0)
    assert len(chosen(toy_run, against="refined", images=20, seed=0).real) == 30
    shutil.copytree(toy_run, tmp_path / "run")
    config = (tmp_path / "run/config.toml").read_text()
    (tmp_path / "run/config.toml").write_text(config.replace("count = 30", "count = 10"))
    with pytest.raises(UserError, match=r"has 10 images, --images 1 needs 11 .*examples\); fit a run with more"):
        chosen(tmp_path / "run", against="refined", images=1, seed=0)


def test_png_files_match_those_of_contact_sheets():
    pictures = ImagePool(levels(0), levels(100), IMAGE)
    assert pictures.png(True, 3) == png(torch.full((1, 6, 9), 3 / 255))
    assert pictures.png(False, 3) == png(torch.full((1, 6, 9), 103 / 255))
