"""Streams against a slow oracle, wherever the images are held."""

from __future__ import annotations

import threading

import h5py
import numpy as np
import pytest
import torch

from synthreal.data.encoding import to_unit
from synthreal.data.ondisk import OnDisk
from synthreal.data.pack import Pack
from synthreal.data.resident import Resident
from synthreal.data.seed import derive_seed
from synthreal.data.simulator import SimulatorSource
from synthreal.data.stream import Stream
from synthreal.data.writer import PackWriter
from synthreal.errors import UserError
from synthreal.spec import Batch, DatasetSpec, ImageSpec, LabelSpec, Options

CPU = torch.device("cpu")
SPEC = ImageSpec(channels=1, height=2, width=3, dtype="uint16")
ID = LabelSpec("id", (), "number")
N = 23


@pytest.fixture
def path(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 65536, (N, *SPEC.shape)).astype(np.uint16)
    with PackWriter(tmp_path / "a.h5", image=SPEC, labels=(ID,), role="simulated", name="toy") as writer:
        writer.append(pixels, {"id": np.arange(N)})
    return tmp_path / "a.h5"


def resident(path):
    pixels, labels = Pack(path).read(slice(None))
    return Resident(torch.from_numpy(pixels.view(np.int16)), {"id": torch.from_numpy(labels["id"])})


def on_disk(path, budget=0):
    return OnDisk(Pack(path), device=CPU, rows=np.arange(N), names=("id",), budget_bytes=budget)


def ids(batch):
    return batch.labels["id"].tolist()


def oracle(n, size, seed, position):
    """Batch ``position``: its entries of the epochs' permutations laid end to end."""
    endless = []
    for epoch in range((position + 1) * size // n + 1):
        generator = torch.Generator().manual_seed(derive_seed(epoch, "epoch", seed))
        endless += torch.randperm(n, generator=generator).tolist()
    return endless[position * size : (position + 1) * size]


@pytest.mark.parametrize("size", [1, 4, 23, 50])
def test_batches_equal_those_of_the_oracle(path, size):
    pixels, _ = Pack(path).read(slice(None))
    with Stream(resident(path), size, seed=5) as held, Stream(on_disk(path), size, seed=5) as read:
        for position in (0, 1, 2, 3, 11, 4, 5, 5, 0, 30, 31):
            expected = oracle(N, size, 5, position)
            for stream in (held, read):
                batch = stream.batch(position)
                assert ids(batch) == expected
                np.testing.assert_array_equal(batch.image.numpy(), to_unit(pixels[expected]))


@pytest.mark.parametrize("budget", [0, 1 << 20])
def test_resident_and_on_disk_agree_to_the_bit(path, budget):
    with Stream(resident(path), 7, seed=1) as held, Stream(on_disk(path, budget), 7, seed=1) as read:
        for position in range(20):
            first, second = held.batch(position), read.batch(position)
            assert torch.equal(first.image, second.image)
            assert torch.equal(first.labels["id"], second.labels["id"])


def test_every_epoch_covers_all_images_once_in_its_own_order(path):
    with Stream(resident(path), 5, seed=2) as stream:
        seen = [number for position in range(23) for number in ids(stream.batch(position))]
    epochs = [seen[start : start + N] for start in range(0, 5 * N, N)]
    assert all(sorted(epoch) == list(range(N)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 5
    assert ids(Stream(resident(path), 5, seed=3).batch(0)) != seen[:5]


@pytest.mark.parametrize("make", [resident, on_disk])
def test_ranks_share_the_global_batch(path, make):
    with Stream(make(path), 12, seed=4) as whole:
        expected = [ids(whole.batch(position)) for position in range(6)]
    parts = []
    for rank in range(3):
        with Stream(make(path), 4, seed=4, rank=rank, world_size=3) as stream:
            parts.append([ids(stream.batch(position)) for position in range(6)])
    assert [[*parts[0][position], *parts[1][position], *parts[2][position]] for position in range(6)] == expected


def test_ranks_share_a_simulated_batch():
    def render(options, n, generator):
        return Batch(torch.rand((n, *SPEC.shape), generator=generator))

    spec = DatasetSpec(name="toy", role="simulated", image=SPEC, render=render)
    source = SimulatorSource(spec, Options(), 0, CPU, SPEC)
    stream = Stream(source, 6, seed=9)
    assert torch.equal(stream.batch(3).image, source.draw(3, 6).image)
    shares = [Stream(source, 6, seed=9, rank=rank, world_size=2).batch(3).image for rank in range(2)]
    assert torch.equal(torch.cat(shares), source.draw(3, 12).image)
    stream.close()
    assert stream.batch(0).image.shape == (6, *SPEC.shape)


def test_two_batches_are_read_ahead(path, monkeypatch):
    source, fetched, done = on_disk(path), [], threading.Semaphore(0)
    original = source.fetch

    def fetch(indices):
        assert threading.current_thread() is not threading.main_thread()
        fetched.append(indices.tolist())
        done.release()
        return original(indices)

    monkeypatch.setattr(source, "fetch", fetch)
    with Stream(source, 4, seed=6) as stream:
        stream.batch(0)
        assert all(done.acquire(timeout=20) for _ in range(3))  # 0, and 1 and 2 ahead
        assert fetched == [oracle(N, 4, 6, position) for position in (0, 1, 2)]
        stream.batch(1)
        assert done.acquire(timeout=20)
        assert fetched[3:] == [oracle(N, 4, 6, 3)]


def test_an_error_in_the_reading_thread_reaches_the_batch_that_needed_it(tmp_path):
    spec = ImageSpec(channels=1, height=2, width=3, dtype="float16")
    with PackWriter(tmp_path / "a.h5", image=spec, role="real", name="toy") as writer:
        writer.append(np.zeros((N, *spec.shape), np.float16))
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file["image"][17] = np.inf
    bad = next(position for position in range(6) if 17 in oracle(N, 4, 0, position))
    source = OnDisk(Pack(tmp_path / "a.h5"), device=CPU, rows=np.arange(N), names=(), budget_bytes=0)
    with Stream(source, 4, 0) as stream:
        for position in range(bad):
            stream.batch(position)
        for _ in range(2):
            with pytest.raises(UserError, match=r"a\.h5: image 17 has a pixel"):
                stream.batch(bad)


def test_closing_ends_the_thread(path):
    def readers():
        return [thread for thread in threading.enumerate() if thread.name.startswith("synthreal-read")]

    stream = Stream(on_disk(path), 4, seed=0)
    stream.batch(0)
    assert len(readers()) == 1
    stream.close()
    assert readers() == []
    with pytest.raises(RuntimeError, match="after shutdown"):
        stream.batch(9)


def test_batches_are_moved_to_the_requested_device(path):
    batch = Stream(resident(path), 4, seed=0, device=torch.device("meta")).batch(0)
    assert (batch.image.device.type, batch.labels["id"].device.type) == ("meta", "meta")


@pytest.mark.parametrize("arguments", [{"batch_size": 0}, {"rank": 1}, {"rank": -1}])
def test_invalid_ranks_sizes_and_positions_are_refused(path, arguments):
    with pytest.raises(ValueError, match="not a share of a batch"):
        Stream(resident(path), **{"batch_size": 4, "seed": 0, **arguments})
    with pytest.raises(ValueError, match="negative"):
        Stream(resident(path), 4, seed=0).batch(-1)
