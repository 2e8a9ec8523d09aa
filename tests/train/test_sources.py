"""Data sets of a run by role: dependence on the seed, caching, and real images without labels."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from quick import configured, flags, open_role

from synthreal.data.levels import level_warnings
from synthreal.data.ondisk import OnDisk
from synthreal.data.pack import Pack
from synthreal.data.resident import Resident
from synthreal.data.simulator import SimulatorSource
from synthreal.errors import UserError
from synthreal.hooks.catalog import Catalog
from synthreal.hooks.resolve import configure
from synthreal.train.sources import first_images, open_data, random_images, source_levels

CPU = torch.device("cpu")


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
