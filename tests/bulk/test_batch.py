"""Batch sizes: defaults and measured ones."""

from __future__ import annotations

import pytest
import torch

from synthreal.bulk import batch
from synthreal.bulk.batch import fastest_batch, usual_batch
from synthreal.bulk.refine import refine_bulk
from synthreal.data.pack import Pack
from synthreal.errors import UserError
from synthreal.inference.transform import Refine

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_default_batch_sizes():
    for setting, device, size, expected in [
        ("auto", CPU, (35, 55), 64),
        ("auto", CPU, (224, 224), 2),
        ("auto", CPU, (1000, 1000), 1),
        (None, CPU, (35, 55), 256),
        (100, CPU, (35, 55), 86),  # 256 images in three parts, as in resident sets
        ("auto", CUDA, (35, 55), 256),
        ("auto", CUDA, (1024, 1024), 16),
    ]:
        assert usual_batch(setting, device, [size] * 5) == expected
        assert usual_batch(setting, device, [size, (1, 1)]) == 1
        assert usual_batch(setting, device, []) == 1


def machine(monkeypatch, cost):
    """A machine on which a batch takes ``cost(batch, size)`` seconds."""
    tried = []

    def seconds(transform, number, size):
        tried.append(number)
        return cost(number, size)

    monkeypatch.setattr(batch, "_seconds", seconds)
    return tried


def test_the_search_ends_soon_after_the_fastest_batch(monkeypatch):
    tried = machine(
        monkeypatch, lambda number, size: 1e-3 + 1e-4 * number + (1e-4 * (number - 16) if number > 16 else 0)
    )
    assert fastest_batch(None, [(8, 8)] * 9) == 16
    assert tried == [1, 2, 4, 8, 16, 32, 64]


def test_copies_of_mixed_sizes_cost_time(monkeypatch):
    machine(monkeypatch, lambda number, size: 5e-3 + 1e-3 * number)
    assert fastest_batch(None, [(8, 8), (8, 9), (8, 10), (9, 9)]) == 1
    assert fastest_batch(None, [(8, 8)] * 32 + [(9, 9)] * 32) == 32
    assert fastest_batch(None, []) == 1


def test_the_search_ends_when_memory_is_full(monkeypatch):
    def cost(number, size):
        if number > 4:
            raise RuntimeError("not enough memory: you tried to allocate")
        return 1e-3

    machine(monkeypatch, cost)
    assert fastest_batch(None, [(8, 8)]) == 4
    machine(monkeypatch, lambda number, size: cost(9, size))
    with pytest.raises(UserError, match="do not fit; give a smaller --tile"):
        fastest_batch(None, [(8, 8)])


def test_auto_measures_the_network_and_records_the_batch_size(noisy, pack_of, tmp_path, monkeypatch):
    seen = []
    forward = Refine.forward
    monkeypatch.setattr(
        Refine, "forward", lambda self, image, noise=None: (seen.append(len(image)), forward(self, image, noise))[1]
    )
    monkeypatch.setattr(batch, "_MAX_BATCH", 8)
    source = pack_of(20)
    refine_bulk(noisy, source, tmp_path / "out.h5", batch_size="auto")
    assert {1, 2, 4} <= set(seen)
    size = Pack(tmp_path / "out.h5").options["job"]["settings"]["batch_size"]
    assert size in (1, 2, 4, 8) and max(seen) <= 8
    refine_bulk(noisy, source, tmp_path / "same.h5", batch_size=size)
    assert Pack(tmp_path / "same.h5").sha256() == Pack(tmp_path / "out.h5").sha256()
    assert refine_bulk(noisy, source, tmp_path / "out.h5", batch_size="auto").done == "before"
