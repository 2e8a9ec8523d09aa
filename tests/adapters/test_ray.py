"""Ray Data: rows keep their other columns, and come out the same whatever batch they are in."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from quick import configured

from synthreal.adapters.lazy import LazyRefine
from synthreal.adapters.ray import refine_dataset
from synthreal.core.style_bank import StyleBank
from synthreal.data.encoding import stored_array
from synthreal.errors import UserError
from synthreal.inference.indexed import IndexedRefiner
from synthreal.inference.pretrained import write_config, write_refiner, write_styles
from synthreal.inference.transform import Refine
from synthreal.spec import ImageSpec


@pytest.fixture(scope="module")
def run(toy, tmp_path_factory):
    """A refiner with a noise map and random weights."""
    config = configured(toy, "runtime.precision=float32", "refiner.options.noise_channels=1")
    config = config.model_copy(update={"image": ImageSpec(channels=1, height=12, width=16)})
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("run")
    write_config(folder, config, {})
    write_styles(folder, StyleBank.of(torch.rand(5, 1, 12, 16), beta=config.evaluation.fda.beta))
    write_refiner(folder, toy.build_network("refiner", config.refiner, config.image), step=0, kind="raw")
    return folder


SCRIPT = """
import sys
from types import SimpleNamespace
import numpy as np
import ray
from synthreal.adapters.ray import refine_dataset
from synthreal.errors import UserError

run, target = sys.argv[1:]
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
images = np.random.default_rng(0).integers(0, 256, (30, 12, 16), np.uint8)
rows = [{"image": image, "row": index, "__key__": f"{index:03d}"} for index, image in enumerate(images)]
found = {}
for blocks in (1, 4):
    data = ray.data.from_items(rows, override_num_blocks=blocks)
    done = sorted(refine_dataset(data, run, index="row", batch_size=8, seed=3).take_all(), key=lambda row: row["row"])
    found[f"image{blocks}"] = np.stack([row["image"] for row in done])
    found[f"key{blocks}"] = np.array([row["__key__"] for row in done])
for wrong in ({}, {"column": "picture", "index": "row"}):
    try:
        refine_dataset(data, run, **wrong)
    except UserError as error:
        print(error)
np.savez(target, given=images, **found)
"""


@pytest.mark.slow
def test_rows_keep_their_columns_and_do_not_depend_on_batches(run, tmp_path):
    """In a process of its own: Ray leaves processes and files behind."""
    pytest.importorskip("ray")
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": ":".join(filter(None, sys.path))}
    command = [sys.executable, "-c", SCRIPT, str(run), str(tmp_path / "found.npz")]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-2:] == [
        f"the refiner of {run} takes noise maps; name a column of integers with index=",
        "the data set has no column 'picture'; it has 'image', 'row', '__key__'",
    ]
    refine = Refine.load(run, device="cpu")
    refine.micro_batch = 8
    refiner = IndexedRefiner(refine, seed=3)
    with np.load(tmp_path / "found.npz") as found:
        for row, image in enumerate(found["given"]):
            (expected,) = refiner.refine_stored(image[None, None], [row], full=8)
            for blocks in (1, 4):
                np.testing.assert_array_equal(found[f"image{blocks}"][row], stored_array(expected)[0, 0])
                assert found[f"key{blocks}"][row] == f"{row:03d}"


def test_without_ray_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setitem(sys.modules, "ray.data", None)
    with pytest.raises(UserError, match=r"Ray .*pip install 'synthreal\[ray\]'"):
        refine_dataset(None, "run")


class FakeDataset:
    """The methods of Ray's class that the adapter calls; ``map_batches`` returns its arguments."""

    def columns(self):
        return ["image", "row"]

    def map_batches(self, function, **options):
        return {"function": function, **options}


@pytest.mark.parametrize(("gpus", "device"), [(0, "cpu"), (0.5, "cuda")])
def test_workers_gpus_and_precision_reach_ray_and_its_actors(run, monkeypatch, gpus, device):
    pool = SimpleNamespace(ActorPoolStrategy=lambda size: f"{size} actors")
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(data=pool))
    monkeypatch.setitem(sys.modules, "ray.data", pool)
    options = refine_dataset(
        FakeDataset(), run, index="row", batch_size=8, workers=3, gpus=gpus, versions=True, seed=5, precision="bfloat16"
    )
    assert (options["compute"], options["num_gpus"], options["batch_size"]) == ("3 actors", gpus or None, 8)
    assert options["fn_constructor_args"] == (str(run), device, "image", "row", 8, True, 5, "bfloat16")


def test_versions_need_an_index_and_styles(monkeypatch, folder, without_styles):
    pool = SimpleNamespace(ActorPoolStrategy=lambda size: size)
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(data=pool))
    monkeypatch.setitem(sys.modules, "ray.data", pool)
    refine_dataset(FakeDataset(), folder())
    with pytest.raises(UserError, match="versions=True chooses by index; name a column of integers with index="):
        refine_dataset(FakeDataset(), folder(), versions=True)
    with pytest.raises(UserError, match=r"styles\.safetensors: missing, but versions=True"):
        refine_dataset(FakeDataset(), without_styles, index="row", versions=True)


@pytest.mark.parametrize("noise", [0, 1])
def test_versions_are_those_of_the_other_adapters_in_any_batch(folder, noise):
    from synthreal.adapters.ray import _Actor

    worker = _Actor(str(folder(noise=noise)), "cpu", "image", "row", 8, True, 3, None)
    images, row = np.random.default_rng(0).integers(0, 256, (30, 12, 16), np.uint8), np.arange(30)

    def refined(block):
        blocks = [slice(start, start + block) for start in range(0, 30, block)]
        return np.concatenate([worker({"image": images[rows], "row": row[rows]})["image"] for rows in blocks])

    np.testing.assert_array_equal(refined(8), refined(3))
    lazy = LazyRefine(folder(noise=noise), versions=True)
    wanted = lazy(torch.from_numpy(images)[:, None], keys=torch.arange(30), seed=3)[:, 0]
    assert np.abs(refined(8).astype(int) - wanted.int().numpy()).max() <= 1


@pytest.mark.parametrize(("precision", "autocast"), [("float32", None), ("bfloat16", torch.bfloat16)])
def test_an_actor_computes_in_the_precision(run, precision, autocast):
    from synthreal.adapters.ray import _Actor

    actor = _Actor(str(run), "cpu", "image", "row", 4, False, 0, precision)
    assert actor._refiner.transform.autocast == autocast


def test_an_actor_takes_grey_colour_and_mixed_sizes(run):
    from synthreal.adapters.ray import _Actor

    worker = _Actor(str(run), "cpu", "image", "row", 4, False, 0, None)
    rng = np.random.default_rng(0)
    mixed = np.empty(3, object)
    mixed[:] = [
        rng.integers(0, 256, (5, 6), np.uint8),
        rng.integers(0, 256, (7, 6, 3), np.uint8),
        rng.integers(0, 65536, (5, 6, 1)).astype(np.uint16),
    ]
    done = worker({"image": mixed, "row": np.arange(3), "key": np.array(["a", "b", "c"])})
    assert [image.shape for image in done["image"]] == [(5, 6), (7, 6, 3), (5, 6, 1)]
    assert [image.dtype for image in done["image"]] == [np.uint8, np.uint8, np.uint16]
    assert list(done["key"]) == ["a", "b", "c"]
    alone = worker({"image": mixed[1][None], "row": np.array([1])})["image"]
    np.testing.assert_array_equal(alone[0], done["image"][1])
    with pytest.raises(UserError, match=r"an image is \(5, 6\) float64; the refiner takes \(H, W\) or \(H, W, 3\)"):
        worker({"image": np.zeros((1, 5, 6)), "row": np.array([0])})


def test_an_actor_takes_an_empty_batch(run):
    from synthreal.adapters.ray import _Actor

    empty = {"image": np.empty((0, 5, 6), np.uint8), "row": np.arange(0)}
    done = _Actor(str(run), "cpu", "image", "row", 4, False, 0, None)(empty)
    assert done["image"].shape == (0, 5, 6)
