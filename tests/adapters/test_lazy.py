"""A refiner that is a path until it is used, and not on CUDA in a forked worker."""

from __future__ import annotations

import copy
import os
import pickle
import shutil
from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import DataLoader

from synthreal.adapters.lazy import LazyRefine, draw_seed, pick
from synthreal.core.noise import indexed_noise
from synthreal.data.encoding import from_unit, to_unit
from synthreal.data.seed import derive_seed
from synthreal.errors import UserError
from synthreal.inference import workers as worker
from synthreal.inference.indexed import IndexedRefiner
from synthreal.inference.transform import Refine

KEYS = torch.tensor([5, 2])
INSTEAD = "in the main process with synthreal.Refine, or give device='cpu'"


def images():
    return torch.rand(2, 1, 12, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def loads(monkeypatch):
    """Counts how often a network is read."""
    seen, load = [], Refine.load
    monkeypatch.setattr(Refine, "load", lambda *args, **more: seen.append(args) or load(*args, **more))
    return seen


def test_the_network_is_read_at_the_first_image_and_once(folder, loads, expected):
    refine = LazyRefine(folder())
    assert loads == []
    found = [refine(images(), keys=KEYS, seed=0) for _ in range(3)]
    assert len(loads) == 1
    assert torch.equal(found[0], expected(folder(), images())) and torch.equal(found[0], found[2])


def test_copies_and_pickles_hold_the_path_only(folder, loads):
    refine = LazyRefine(folder())
    before = pickle.dumps(refine)
    mine = refine(images(), keys=KEYS, seed=0)
    assert pickle.dumps(refine) == before and len(before) < 1000
    for other in (pickle.loads(before), copy.deepcopy(refine)):
        assert torch.equal(other(images(), keys=KEYS, seed=0), mine)
    assert len(loads) == 3


def test_a_relative_path_outlives_its_working_directory(folder, expected, monkeypatch, tmp_path):
    monkeypatch.chdir(folder().parent)
    refine = LazyRefine(folder().name)
    monkeypatch.chdir(tmp_path)
    assert torch.equal(refine(images(), keys=KEYS, seed=0), expected(folder(), images()))


def test_noise_is_a_function_of_seed_and_key_and_that_of_bulk_refinement(folder):
    refine = LazyRefine(folder(noise=2))
    x = images()
    found = refine(x, keys=KEYS, seed=7)
    noise = indexed_noise(KEYS, (2, 12, 16), derive_seed(0, "refine", 7))
    assert torch.equal(found, Refine.load(folder(noise=2), device="cpu")(x, noise))
    torch.testing.assert_close(refine(x.flip(0), keys=KEYS.flip(0), seed=7).flip(0), found, atol=1e-6, rtol=0)
    for keys, seed in ((KEYS + 1, 7), (KEYS, 8)):
        assert (refine(x, keys=keys, seed=seed) - found).abs().amax((1, 2, 3)).min() > 1e-4


def test_versions_are_a_function_of_seed_and_key_and_among_those_of_bulk_refinement(folder, versions_of):
    refine, x, keys = LazyRefine(folder(), versions=True), images()[:1].expand(90, -1, -1, -1), torch.arange(90) * 7
    found = refine(x, keys=keys, seed=3)
    looks = versions_of(folder(), x, found)
    assert all(18 < sum(version == wanted for version, _ in looks) < 42 for wanted in range(3))
    for version in (1, 2):
        assert len({real for which, real in looks if which == version}) == 5
    bulk = IndexedRefiner(Refine.load(folder(), device="cpu"), seed=3)
    every = torch.stack([bulk(x, keys, full=90, version=version) for version in range(3)])
    wanted = every[[version for version, _ in looks], torch.arange(90)]
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)
    for rows in (slice(0, 1), slice(5, 30), torch.tensor([80, 3])):
        torch.testing.assert_close(refine(x[rows], keys=keys[rows], seed=3), found[rows], atol=1e-5, rtol=0)
    assert versions_of(folder(), x, refine(x, keys=keys, seed=4)) != looks
    for other in (pickle.loads(pickle.dumps(refine)), copy.deepcopy(refine)):
        assert torch.equal(other(x, keys=keys, seed=3), found)


def test_versions_take_noise_and_the_dtypes_of_the_refiner(folder):
    keys, x = torch.arange(30), images()[:1].expand(30, -1, -1, -1).contiguous()
    refine = LazyRefine(folder(noise=2), versions=True)
    plain = LazyRefine(folder(noise=2))(x, keys=keys, seed=0)
    y = refine(x, keys=keys, seed=0)
    same = torch.tensor([torch.allclose(one, other, atol=1e-6) for one, other in zip(y, plain, strict=True)])
    assert 3 < same.sum() < 20  # version 0 has the noise maps that it has without versions
    stored = (255 * x).byte()
    wanted = from_unit(refine(to_unit(stored), keys=keys, seed=0), "uint8")
    assert torch.equal(refine(stored, keys=keys, seed=0), wanted)
    half = refine(x.half(), keys=keys, seed=0)
    assert half.dtype == torch.float16 and (half.float() - y).abs().mean() < 0.01
    weight = torch.ones((), requires_grad=True)
    assert not refine(x * weight, keys=keys, seed=0).requires_grad
    with pytest.raises(UserError, match=r"given torch\.int64"):
        refine(stored.long(), keys=keys, seed=0)


def test_a_folder_without_styles_is_refused_at_once(without_styles):
    LazyRefine(without_styles)
    with pytest.raises(UserError, match=r"styles\.safetensors: missing, but versions=True needs it"):
        LazyRefine(without_styles, versions=True)
    (without_styles / "styles.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match=r"styles\.safetensors"):
        LazyRefine(without_styles, versions=True)


def test_the_number_of_noise_maps_is_known(folder):
    assert LazyRefine(folder(noise=2)).noise_channels == 2
    assert LazyRefine(folder()).noise_channels == 0


def test_results_can_be_part_of_a_graph_and_need_no_gradients(folder):
    weight = torch.ones((), requires_grad=True)
    refined = LazyRefine(folder())(images() * weight, keys=KEYS, seed=0)
    assert not refined.requires_grad
    (refined * weight).sum().backward()
    assert weight.grad is not None


def test_an_unknown_device_is_refused_at_once(folder):
    for device in ("gpu", "mps", "tpu:0", "cudaa", "cuda:x", torch.device("meta")):
        with pytest.raises(UserError, match="use auto, cpu, cuda or cuda:N"):
            LazyRefine(folder(), device)
    for device in ("cpu", "cuda:3"):
        assert LazyRefine(folder(), torch.device(device)).device == device


def test_a_folder_without_a_refiner_is_refused_at_once(folder, tmp_path):
    with pytest.raises(UserError, match=r"nowhere: holds no run \(no config.toml\)"):
        LazyRefine(tmp_path / "nowhere")
    run = shutil.copytree(folder(), tmp_path / "copy")
    (run / "refiner.safetensors").unlink()
    with pytest.raises(UserError, match=r"refiner.safetensors: missing; .*fit --resume"):
        LazyRefine(run)


class Set(torch.utils.data.Dataset):
    """One image a row, refined in the worker; says on which device a network was there."""

    def __init__(self, refine):
        self.refine = refine

    def __len__(self):
        return 4

    def __getitem__(self, index):
        refined = self.refine(images()[:1], keys=torch.tensor([index]), seed=0)[0]
        (network,) = [found for (pid, _), found in self.refine._loaded.items() if pid == os.getpid()]
        return refined, next(network.parameters()).device.type


@pytest.mark.parametrize("context", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_load_their_own_and_refine_the_same(folder, context):
    refine = LazyRefine(folder(), versions=True)
    mine = refine(images()[:1].expand(4, -1, -1, -1), keys=torch.arange(4), seed=0)
    loader = DataLoader(Set(refine), batch_size=2, num_workers=2, multiprocessing_context=context)
    for (refined, device), rows in zip(loader, (slice(0, 2), slice(2, 4)), strict=True):
        torch.testing.assert_close(refined, mine[rows], atol=1e-5, rtol=0)
        assert device == ("cpu", "cpu")


def test_cuda_in_a_forked_worker_is_an_error_with_a_remedy(folder):
    device = "cuda:1"
    loader = DataLoader(Set(LazyRefine(folder(), device)), num_workers=1, multiprocessing_context="fork")
    with pytest.raises(UserError, match=f"a refiner on {device} cannot work in a forked process.*{INSTEAD}"):
        next(iter(loader))


def test_auto_is_the_gpu_in_the_main_process_and_the_cpu_in_workers(folder, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    refine = LazyRefine(folder())
    assert refine._device_for(images()).type == "cuda"
    with monkeypatch.context() as patch:
        patch.setattr(worker, "get_worker_info", lambda: SimpleNamespace(id=0))
        assert refine._device_for(images()).type == "cpu"
    monkeypatch.setattr(worker, "_IMPORTED_IN", 0)
    assert refine._device_for(images()).type == "cpu"


def test_without_a_device_it_goes_where_the_images_are(folder):
    refine = LazyRefine(folder(), device=None)
    for place in (torch.device("cpu"), torch.device("cuda:1")):
        assert refine._device_for(SimpleNamespace(device=place)) == place


@pytest.mark.gpu
def test_the_network_follows_the_images_to_the_gpu(folder):
    refine = LazyRefine(folder(noise=2), device=None, versions=True)
    here = refine(images(), keys=KEYS, seed=0)
    there = refine(images().cuda(), keys=KEYS.cuda(), seed=0)
    assert there.is_cuda
    torch.testing.assert_close(there.cpu(), here, atol=1e-4, rtol=0)
    mixed = refine(images().cuda(), keys=KEYS, seed=0)  # keys on the CPU, so as not to wait for the GPU
    torch.testing.assert_close(mixed, there, atol=1e-6, rtol=0)
    images_there = images().cuda()
    torch.cuda.set_sync_debug_mode("error")
    try:
        refine(images_there, keys=KEYS, seed=1)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_picks_are_a_function_of_seed_and_key_with_that_probability():
    for p in (0.0, 0.2, 0.7, 1.0):
        keys = torch.arange(4000)
        picks = pick(p, keys, 3)
        assert float(picks.float().mean()) == pytest.approx(p, abs=0.03)
        assert torch.equal(pick(p, keys[10:20], 3), picks[10:20])
        assert torch.equal(pick(p, keys, 4), picks) == (p in (0, 1))


def test_draw_seeds_come_from_the_global_generator():
    torch.manual_seed(1)
    first, second = draw_seed(), draw_seed()
    torch.manual_seed(1)
    assert first == draw_seed() != second
