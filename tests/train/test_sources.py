"""Data sets of a run by role: dependence on the seed, caching, and real images without labels."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from quick import QUICK, TOY, configured, fit_toy, flags
from toy import CENTRE, IMAGE

from synthreal.data.levels import level_warnings
from synthreal.data.ondisk import OnDisk
from synthreal.data.pack import Pack
from synthreal.data.resident import Resident
from synthreal.data.simulator import SimulatorSource
from synthreal.data.writer import PackWriter
from synthreal.errors import UserError
from synthreal.hooks.catalog import Catalog
from synthreal.hooks.resolve import configure
from synthreal.train.sources import (
    duplicate_warnings,
    few_images_warnings,
    first_images,
    open_data,
    origin_warnings,
    random_images,
    reading_warnings,
    source_levels,
)

CPU = torch.device("cpu")


def open_role(toy, folder, role, *settings):
    return open_data(configured(toy, *settings), toy, role, device=CPU, run_dir=folder)


def test_a_data_set_with_a_count_is_the_same_for_every_seed_and_an_endless_one_is_not(toy, tmp_path):
    seeds = [open_role(toy, tmp_path, "simulated", f"runtime.seed={seed}") for seed in (0, 1)]
    assert seeds[0].sha256() == seeds[1].sha256()
    endless = [open_role(toy, tmp_path, "simulated", "data.simulated.count=none", f"runtime.seed={s}") for s in (0, 1)]
    assert not torch.equal(endless[0].draw(0, 8).image, endless[1].draw(0, 8).image)


def test_roles_of_one_data_set_have_different_images(toy, tmp_path):
    shas = {open_role(toy, tmp_path, role, f"data.{role}.count=14").sha256()
            for role in ("real_labelled", "validation", "test")}  # fmt: skip
    assert len(shas) == 3
    assert open_role(toy, tmp_path, "real").labels == {}
    assert set(open_role(toy, tmp_path, "test").labels) == {"centre"}


def test_files_are_read_once_and_cached_in_the_run(toy, tmp_path):
    crops = tmp_path / "crops"
    crops.mkdir()
    for i in range(5):
        Image.fromarray(np.full((30, 40), 40 * i, np.uint8)).save(crops / f"{i}.png")
    settings = (f'data.real={{name="folder", options={{root="{crops}"}}}}',)
    first = open_role(toy, tmp_path / "run", "real", *settings)
    assert (tmp_path / "run/data/real.h5").is_file()
    assert first.image.shape == (5, 1, 12, 16)
    written = (tmp_path / "run/data/real.h5").stat().st_mtime_ns
    again = open_role(toy, tmp_path / "run", "real", *settings)
    assert torch.equal(first.image, again.image)
    assert (tmp_path / "run/data/real.h5").stat().st_mtime_ns == written


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


def test_the_first_images_of_every_kind_of_source(toy, tmp_path, cli):
    cli("prepare", "discs", tmp_path / "a.h5", "--plugin", configured(toy).plugins[0], "--limit", 20).ok()
    pixels, labels = Pack(tmp_path / "a.h5").read(slice(None))
    pack = f'data.simulated={{name="pack", options={{path="{tmp_path / "a.h5"}"}}}}'
    kinds = {
        SimulatorSource: open_role(toy, tmp_path, "simulated", "data.simulated.count=none"),
        Resident: open_role(toy, tmp_path, "simulated", pack),
        OnDisk: open_role(toy, tmp_path, "simulated", pack, "runtime.resident_gib=0"),
    }
    for kind, source in kinds.items():
        assert isinstance(source, kind)
        taken = first_images(source, 7)
        np.testing.assert_array_equal(taken.image.numpy(), pixels[:7])
        np.testing.assert_array_equal(taken.labels["centre"].numpy(), labels["centre"][:7])
        if kind is not SimulatorSource:
            assert len(first_images(source, 99)) == 20


def test_random_images_are_drawn_from_the_whole_source_and_have_no_labels(toy, tmp_path, cli):
    cli("prepare", "discs", tmp_path / "a.h5", "--plugin", configured(toy).plugins[0], "--limit", 20).ok()
    pack = f'data.simulated={{name="pack", options={{path="{tmp_path / "a.h5"}"}}}}'
    resident = open_role(toy, tmp_path, "simulated", pack)
    sampled = random_images(resident, 7, seed=0)
    assert isinstance(resident, Resident) and sampled.labels == {}
    rows = [int((resident.image == image).all((1, 2, 3)).nonzero()[0]) for image in sampled.image]
    assert len(set(rows)) == 7 and max(rows) > 7 and rows != sorted(rows)
    left = open_role(toy, tmp_path, "simulated", pack, "runtime.resident_gib=0")
    assert isinstance(left, OnDisk) and torch.equal(random_images(left, 7, seed=0).image, sampled.image)
    assert not torch.equal(random_images(resident, 7, seed=1).image, sampled.image)
    assert len(random_images(resident, 99, seed=0)) == 20
    drawn = open_role(toy, tmp_path, "simulated", "data.simulated.count=none")
    assert torch.equal(random_images(drawn, 7, seed=0).image, first_images(drawn, 7).image)


def test_a_role_without_a_data_set_is_refused(toy, tmp_path):
    with pytest.raises(UserError, match=r"data\.test is none"):
        open_role(toy, tmp_path, "test", "data.test=none")


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


@pytest.mark.parametrize("plugin", ["gaze", "hands"])
def test_the_demo_domains_give_no_warning_about_their_levels(plugin, tmp_path):
    catalog = Catalog.of([plugin])
    config = configure(catalog, {"data": {role: {"count": 64} for role in ("simulated", "real", "test")}})
    levels = {
        role: source_levels(config, role, open_data(config, catalog, role, device=CPU, run_dir=tmp_path))
        for role in ("simulated", "real", "test")
    }
    assert level_warnings(levels["simulated"], levels["real"]) == levels["test"].warnings() == []


def test_depth_in_raw_millimetres_warns_before_the_first_step(tmp_path, cli):
    """Hands at 700 mm, 0 where nothing was measured: in the domain, everything is at the near face of the cube."""
    (tmp_path / "depth").mkdir()
    rng = np.random.default_rng(0)
    for i in range(4):
        pixels = np.where(rng.random((64, 64)) < 0.4, rng.integers(640, 760, (64, 64)), 0)
        Image.fromarray(pixels.astype(np.uint16)).save(tmp_path / f"depth/{i}.png")
    short = ("schedule.refiner_steps=0", "schedule.discriminator_steps=0", "schedule.steps=1", "schedule.batch=2")
    small = ("data.simulated.count=8", "quality=none", "history=none", "schedule.patch=none")
    real = f'data.real={{name="folder", options={{root="{tmp_path}/depth"}}}}'
    done = cli("fit", "--plugin", "hands", "--run", tmp_path / "run", *flags(*short, *small, real)).ok()
    before = [line for line in done.err.splitlines() if line.startswith("warning: step 0: data.real: ")]
    assert len(before) == 2 and done.err.count("data.real: ") == 2
    assert "millimetres" in before[0] and "background or invalid" in before[1] and "65,535 of 65,535" in before[1]
    assert all("0 near face .. 1 far face" in line for line in before)
    (line,) = map(json.loads, (tmp_path / "run/log.jsonl").read_text().splitlines())
    assert {text.partition("warning: step 0: ")[2] for text in before} <= set(line["warnings"])


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
    monkeypatch.setattr("synthreal.train.sources.COMPARED_BYTES", 4 * 12 * 16)
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
