"""Warnings about the data sets of a run, each where it is due and nowhere else."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from quick import QUICK, TOY, configured, fit_toy, flags, open_role
from toy import CENTRE, IMAGE

from synthreal.data.pack import Pack
from synthreal.data.resident import Resident
from synthreal.data.writer import PackWriter
from synthreal.train.data_warnings import duplicate_warnings, few_images_warnings, origin_warnings, reading_warnings


def test_unreadable_files_are_reported_once(toy, tmp_path, cli):
    crops = tmp_path / "crops"
    crops.mkdir()
    for i in range(5):
        (crops / f"broken{i}.png").write_text("not a picture")
        pixels = np.random.default_rng(i).integers(0, 256, (30, 40), dtype=np.uint8)
        Image.fromarray(pixels).save(crops / f"good{i}.png")
    settings = flags(*QUICK, f'data.real={{name="folder", options={{root="{crops}"}}}}')
    done = cli("fit", "--plugin", TOY, "--run", tmp_path / "run", *settings).ok()
    (message,) = [line for line in done.err.splitlines() if "data.real" in line]
    assert "data.real: 5 unreadable files" in message and "broken0.png" in message and "broken4.png" not in message
    lines = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    reported = [line["step"] for line in lines if any(warning.startswith("data.real") for warning in line["warnings"])]
    assert reported == [1]
    assert len(Pack(tmp_path / "run/data/real.h5").skipped) == 5


@pytest.mark.parametrize("quality", ["quality.every=250", "quality=none"])
def test_few_real_images_give_a_warning_with_and_without_quality_monitoring(toy, tmp_path, quality):
    warnings = []
    fit_toy(toy, tmp_path / "run", quality, on_report=lambda report: warnings.extend(report.warnings))
    (message,) = [warning for warning in warnings if warning.startswith("few real images")]
    assert "30" in message
    assert (
        few_images_warnings(Resident(torch.zeros(200, 1, 8, 8)))
        == []
        != few_images_warnings(Resident(torch.zeros(199, 1, 8, 8)))
    )
    assert few_images_warnings(open_role(toy, tmp_path, "real", "data.real.count=none")) == []


def test_a_count_of_files_is_a_choice_that_is_reported(toy, tmp_path):
    (tmp_path / "crops").mkdir()
    for i in range(30):
        Image.fromarray(np.full((12, 16), i, np.uint8)).save(tmp_path / f"crops/{i:02d}.png")
    folder = f'data.real={{name="folder", options={{root="{tmp_path}/crops"}}}}'
    source = open_role(toy, tmp_path / "run", "real", folder, "data.real.count=5")
    assert (source.image[:, 0, 0, 0] > 15).any()
    assert reading_warnings("real", source) == ["data.real: 5 of 30 images, chosen at random (seed 0)"]
    assert reading_warnings("real", open_role(toy, tmp_path / "run", "real", folder, "data.real.count=30")) == []


def test_the_origin_of_test_images_without_a_folder_is_their_name_and_their_real_valued_options(toy):
    def warnings(radius):
        return origin_warnings(configured(toy, f"data.test.options.radius={radius}"), toy, "test")

    assert warnings(2.5) == []
    (warning,) = warnings(3)
    assert "radius=3.0" in warning and "radius=2.5" in warning


def test_the_folders_of_test_and_real_images_are_compared_not_their_spellings(toy, tmp_path, monkeypatch):
    (tmp_path / "eyes").mkdir()
    (tmp_path / "link").symlink_to("eyes")
    Image.fromarray(np.zeros((12, 16), np.uint8)).save(tmp_path / "eyes/0.png")
    monkeypatch.chdir(tmp_path)

    def warnings(root):
        with PackWriter("test.h5", image=IMAGE, labels=(CENTRE,), role="test", name="folder",
                        options={"root": str(root)}, overwrite=True) as writer:  # fmt: skip
            writer.append(np.zeros((3, *IMAGE.shape), np.uint8), {"centre": np.zeros((3, 1, 2), np.float32)})
        real, test = (
            'data.real={name="folder", options={root="eyes"}}',
            'data.test={name="pack", options={path="test.h5"}}',
        )
        return origin_warnings(configured(toy, real, test), toy, "test")

    for root in ("eyes", "eyes/", "./eyes", "link", tmp_path / "eyes"):
        assert warnings(root) == []
    (warning,) = warnings("elsewhere")
    assert "folder (root=elsewhere)" in warning and "folder (root=eyes)" in warning


def resident(*levels):
    """Images whose left half has the levels, and whose right half is white."""
    images = torch.tensor(levels, dtype=torch.uint8)[:, None, None, None].repeat(1, 1, 12, 16)
    images[..., 8:] = 255
    return Resident(images)


def test_equal_images_in_a_set_and_in_both_give_warnings(toy, tmp_path, monkeypatch):
    assert duplicate_warnings(resident(1, 2, 3), resident(4, 5)) == []
    (warning,) = duplicate_warnings(resident(1, 2, 2, 1), resident(4, 5))
    assert warning.startswith("data.simulated: 2 of 4 images") and ";" in warning
    own, both = duplicate_warnings(resident(1, 2, 3), resident(3, 1, 1))
    assert own.startswith("data.real: 1 of 3 images") and both.startswith("data.real: 2 images are also in data.simul")
    endless = open_role(toy, tmp_path, "simulated", "data.simulated.count=none")
    assert len(duplicate_warnings(endless, resident(1, 1, 2))) == 1
    assert duplicate_warnings(endless, resident(1, 1)) == []  # the warnings about levels say that all are equal
    monkeypatch.setattr("synthreal.train.data_warnings.COMPARED_BYTES", 4 * 12 * 16)
    assert "of 4 images" in duplicate_warnings(endless, resident(*[1, 2] * 50))[0]


def test_nearly_constant_images_are_not_equal_to_others():
    """Windows of a black background are in many sets."""
    simulated, real = resident(1, 2, 3), resident(4, 5, 6)
    for black in (simulated, real):
        black.image[:2] = 0
    assert duplicate_warnings(simulated, real) == []
    assert duplicate_warnings(Resident(simulated.image[:2]), Resident(real.image[:2])) == []
    assert len(duplicate_warnings(simulated, Resident(torch.cat([real.image, simulated.image[2:]])))) == 1


def test_fit_warns_of_renders_among_the_photographs(toy, tmp_path):
    for name, seeds in (("renders", range(20)), ("photos", range(19, 40))):
        (tmp_path / name).mkdir()
        for seed in seeds:
            pixels = np.random.default_rng(seed).integers(0, 255, (12, 16), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{seed}.png")
    settings = [
        f'data.{role}={{name="folder", options={{root="{tmp_path / name}"}}}}'
        for role, name in (("simulated", "renders"), ("real", "photos"))
    ]
    warnings = []
    more = ("evaluation.evaluator=none", "quality=none")
    fit_toy(toy, tmp_path / "run", *settings, *more, on_report=lambda report: warnings.extend(report.warnings))
    (warning,) = [warning for warning in warnings if "also in" in warning]
    assert warning.startswith("data.real: 1 images")
