"""The refiner as a stage of a pipeline: samples in order, one pass per size, other members unchanged."""

from __future__ import annotations

import gc
import io
import json
import pickle
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from synthreal.adapters.lazy import LazyRefine
from synthreal.adapters.webdataset import Refine
from synthreal.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # webdataset leaves shards open
COUNT = 7


@pytest.fixture(autouse=True)
def shards_are_closed():
    """Here and not in the middle of another test, where an unclosed file is an error."""
    yield
    gc.collect()


def pictures():
    drawn = np.random.default_rng(0).integers(0, 255, (COUNT, 12, 16)).astype(np.uint8)
    return [one[: 12 if place % 3 else 9] for place, one in enumerate(drawn)]


def png(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "png")
    return file.getvalue()


@pytest.fixture
def shards(tmp_path):
    """Two shards: an image, its mask and its label under each key."""
    for shard in range(2):
        with tarfile.open(tmp_path / f"eyes-{shard}.tar", "w") as tar:
            for place in range(shard * 4, min(shard * 4 + 4, COUNT)):
                image = pictures()[place]
                label = json.dumps({"gaze": [place, 0.5]}).encode()
                for name, content in {"png": png(image), "mask.png": png(image // 128), "json": label}.items():
                    member = tarfile.TarInfo(f"eye{place}.{name}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    return str(tmp_path / "eyes-{0..1}.tar")


def opened(shards):
    wds = pytest.importorskip("webdataset")
    return wds.WebDataset(shards, shardshuffle=False, empty_check=False)


@pytest.fixture
def alone(folder):
    """Every image by itself, as the stage should refine it without noise maps."""
    refine = LazyRefine(folder())
    units = [torch.from_numpy(one / np.float32(255))[None, None] for one in pictures()]
    return [refine(unit, keys=torch.arange(1), seed=0)[0, 0].numpy() for unit in units]


@pytest.mark.parametrize(("decode", "batch"), [("pill", 1), ("pill", 3), ("l8", 3), ("l", 32), ("torchl", 3)])
def test_images_are_refined_in_order_as_they_were_decoded(folder, shards, alone, decode, batch):
    before = list(opened(shards).decode(decode))
    after = list(opened(shards).decode(decode).compose(Refine(folder(), batch=batch)))
    assert [sample["__key__"] for sample in after] == [f"eye{place}" for place in range(COUNT)]
    for old, new, wanted in zip(before, after, alone, strict=True):
        assert old.keys() == new.keys() and new["json"] == old["json"]
        assert np.array_equal(np.asarray(new["mask.png"]), np.asarray(old["mask.png"]))
        assert isinstance(new["png"], Image.Image) if decode == "pill" else type(new["png"]) is type(old["png"])
        found, kept = np.asarray(new["png"]), np.asarray(old["png"])
        assert (found.dtype, found.shape) == (kept.dtype, kept.shape)
        level = 255 if found.dtype == np.uint8 else 1
        np.testing.assert_allclose(found.squeeze() / level, wanted, atol=0.6 / level if level > 1 else 1e-5)


def test_a_stage_of_a_data_pipeline_in_workers_of_a_loader(folder, shards, alone):
    wds = pytest.importorskip("webdataset")
    pipeline = wds.DataPipeline(
        wds.SimpleShardList(shards),
        wds.split_by_worker,
        wds.tarfile_to_samples(),
        wds.decode("l8"),
        Refine(folder()),
        wds.to_tuple("__key__", "png"),
    )
    loader = wds.WebLoader(pipeline, batch_size=None, num_workers=2, multiprocessing_context="fork")
    found = dict(loader)
    assert sorted(found) == [f"eye{place}" for place in range(COUNT)]
    for place, wanted in enumerate(alone):
        np.testing.assert_allclose(np.asarray(found[f"eye{place}"]) / 255, wanted, atol=0.6 / 255)


def test_images_of_one_size_pass_together_and_no_more_than_a_batch_is_read_ahead(folder, monkeypatch):
    seen, read, call = [], [], LazyRefine.__call__
    monkeypatch.setattr(LazyRefine, "__call__", lambda self, x, **more: seen.append(len(x)) or call(self, x, **more))

    def source():
        for place, image in enumerate(pictures()):
            read.append(place)
            yield {"__key__": str(place), "png": image}

    found = Refine(folder(), batch=4)(source())
    next(found)
    assert read == [0, 1, 2, 3] and seen == [2, 2]
    assert len(list(found)) == COUNT - 1 and seen == [2, 2, 2, 1]


def refined(stage, order=slice(None)):
    samples = [{"__key__": f"eye{place}", "png": image} for place, image in enumerate(pictures())][order]
    return {sample["__key__"]: sample["png"] for sample in stage(samples)}


def test_with_a_seed_picks_and_noise_follow_the_key_whatever_the_order(folder):
    first = refined(Refine(folder(noise=2), seed=0, batch=3))
    other = refined(Refine(folder(noise=2), seed=0, batch=2), slice(None, None, -1))
    assert all(np.abs(first[key].astype(int) - other[key].astype(int)).max() <= 1 for key in first)
    again = refined(Refine(folder(noise=2), seed=1))
    assert all((first[key] != again[key]).any() for key in first)
    originals = {f"eye{place}": image for place, image in enumerate(pictures())}
    some = refined(Refine(folder(), seed=0, p=0.5))
    picked = {key for key in some if (some[key] != originals[key]).any()}
    assert 0 < len(picked) < COUNT
    assert refined(Refine(folder(), seed=0, p=0.5), slice(None, None, -1)).keys() == some.keys()
    back = refined(Refine(folder(), seed=0, p=0.5), slice(None, None, -1))
    assert picked == {key for key in back if (back[key] != originals[key]).any()}


def test_versions_follow_the_key_whatever_the_order(folder, versions_of):
    first = refined(Refine(folder(), versions=True, seed=0, batch=3))
    other = refined(Refine(folder(), versions=True, seed=0, batch=2), slice(None, None, -1))
    assert all(np.abs(first[key].astype(int) - other[key].astype(int)).max() <= 1 for key in first)
    seen = set()
    for seed in range(4):
        found = refined(Refine(folder(), versions=True, seed=seed))
        for place, image in enumerate(pictures()):
            pair = (torch.from_numpy(one / np.float32(255))[None, None] for one in (image, found[f"eye{place}"]))
            seen.add((place, versions_of(folder(), *pair)[0][0]))
    assert {version for _, version in seen} == {0, 1, 2} and len(seen) > COUNT
    torch.manual_seed(0)
    stage = Refine(folder(), versions=True)
    assert any((refined(stage)[key] != refined(stage)[key]).any() for key in first)


def test_without_a_seed_they_are_drawn_from_the_global_generator(folder):
    found = []
    stage = Refine(folder(noise=2), p=0.7)
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append(refined(stage))
    assert all(np.array_equal(found[0][key], found[1][key]) for key in found[0])
    assert any((found[0][key] != found[2][key]).any() for key in found[0])


def test_it_pickles_as_a_path_before_and_after_use(folder):
    stage = Refine(folder(), versions=True, seed=0)
    for _ in range(2):
        assert len(pickle.dumps(stage)) < 1000
        again, found = refined(pickle.loads(pickle.dumps(stage))), refined(stage)
        assert again.keys() == found.keys() and all(np.array_equal(again[key], found[key]) for key in found)


def test_bad_arguments_and_samples(folder, tmp_path, shards, without_styles):
    with pytest.raises(UserError, match=r"styles\.safetensors: missing, but versions=True"):
        Refine(without_styles, versions=True)
    with pytest.raises(UserError, match=r"holds no run \(no config.toml\)"):
        Refine(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"give a number in \[0, 1\]"):
        Refine(folder(), p=-1)
    with pytest.raises(UserError, match="batch=0"):
        Refine(folder(), batch=0)
    with pytest.raises(UserError, match=r"sample eye0: png is not decoded; put .decode\('pill'\) before"):
        next(iter(opened(shards).compose(Refine(folder()))))
    with pytest.raises(
        UserError, match=r"sample eye0: no image among png, mask.png, json; name the member with image="
    ):
        next(iter(opened(shards).decode("pil").compose(Refine(folder(), image="photo;jpg"))))
    with pytest.raises(UserError, match=r"sample eye0: this refiner takes .*given ndarray \(9, 16, 3\)"):
        next(iter(opened(shards).decode("rgb8").compose(Refine(folder()))))


def test_tuples_and_batches_are_an_error(folder, shards):
    for late in (opened(shards).to_tuple("png", "json"), opened(shards).batched(2, collation_fn=None)):
        with pytest.raises(UserError, match="refine before to_tuple and batched"):
            next(iter(late.compose(Refine(folder()))))


def test_a_stage_does_not_take_one_sample(folder, shards):
    with pytest.raises(UserError, match=r"one sample instead of all.*compose"):
        next(iter(opened(shards).decode("pill").map(Refine(folder()))))


def test_another_member_by_name(folder, shards):
    before, after = (
        next(iter(pipeline))
        for pipeline in (
            opened(shards).decode("l8"),
            opened(shards).decode("l8").compose(Refine(folder(), image="photo;mask.png")),
        )
    )
    assert np.array_equal(before["png"], after["png"]) and not np.array_equal(before["mask.png"], after["mask.png"])


def test_a_handler_decides_about_samples_that_cannot_be_refined(folder):
    rng = np.random.default_rng(0)
    samples = [{"__key__": str(place), "png": rng.integers(0, 255, (12, 16), np.uint8)} for place in range(7)]
    samples[2] = {"__key__": "2", "json": {}}
    samples[5] = {"__key__": "5", "png": "no image"}
    alone = [next(Refine(folder(), batch=1)(iter([samples[place]])))["png"] for place in (0, 1, 3, 4, 6)]
    for batch in (1, 3, 32):
        errors = []
        stage = Refine(folder(), batch=batch, handler=lambda error, errors=errors: errors.append(error) or True)
        found = list(stage(iter(samples)))
        assert [sample["__key__"] for sample in found] == ["0", "1", "3", "4", "6"]
        for one, other in zip(found, alone, strict=True):
            np.testing.assert_allclose(one["png"].astype(int), other, atol=1)
        assert ["sample 2" in str(errors[0]), "sample 5" in str(errors[1])] == [True, True] and len(errors) == 2
        assert len(list(Refine(folder(), batch=batch, handler=lambda error: False)(iter(samples)))) == 2
        with pytest.raises(UserError, match="sample 2: no image"):
            list(Refine(folder(), batch=batch)(iter(samples)))


def test_a_key_that_is_not_utf_8_is_hashed_and_any_error_goes_to_the_handler(folder, monkeypatch):
    samples = [{"__key__": key, "png": pictures()[0]} for key in ("a", "b\udce9", "c")]
    assert len(list(Refine(folder(), seed=0, p=0.5)(iter(samples)))) == 3
    call = LazyRefine.__call__

    def fail(self, image, **more):
        if (image > 0.99).flatten(1).all(1).any():
            raise RuntimeError("the network cannot")
        return call(self, image, **more)

    monkeypatch.setattr(LazyRefine, "__call__", fail)
    samples[1]["png"], errors = np.full_like(pictures()[0], 255), []
    found = list(Refine(folder(), handler=lambda error: errors.append(error) or True)(iter(samples)))
    assert [sample["__key__"] for sample in found] == ["a", "c"] and len(errors) == 1
