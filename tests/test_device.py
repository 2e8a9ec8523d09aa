"""The device and precision a run finds."""

from __future__ import annotations

import ctypes
import platform

import pytest
import torch

from synthreal.config import RuntimeConfig
from synthreal.core.refiner import Refiner
from synthreal.device import (
    autocast_dtype,
    configure_process,
    keep_freed_memory,
    resolve_device,
    resolve_micro_batch,
    resolve_precision,
    seeded_generator,
    set_memory_format,
    should_compile,
    uncompiled,
)
from synthreal.errors import UserError


def test_auto_takes_a_gpu_when_there_is_one(monkeypatch):
    for found, expected in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda found=found: found)
        assert resolve_device("auto") == torch.device(expected)


def test_named_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("cuda") == torch.device("cuda")
    assert resolve_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(UserError, match=r"device 'cuda:2' is not here \(2 GPUs found\); use auto or cpu"):
        resolve_device("cuda:2")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(UserError, match=r"'cuda' is not here \(0 GPUs found\)"):
        resolve_device("cuda")


@pytest.mark.parametrize(("name", "message"), [("gpu", "is none"), ("cuda:x", "is none"), ("meta", "is not supported")])
def test_what_is_no_device_of_ours(name, message):
    with pytest.raises(UserError, match=rf"device '{name}' {message}; use auto, cpu, cuda or cuda:N") as caught:
        resolve_device(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_a_named_precision_is_taken_at_its_word(name, kind):
    assert resolve_precision(name, torch.device(kind)) == name


@pytest.mark.parametrize(("able", "expected"), [(True, "bfloat16"), (False, "float32")])
def test_auto_precision_asks_the_hardware(able, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: able or including_emulation)
    assert resolve_precision("auto", torch.device("cuda")) == expected  # emulated bfloat16 is slower than float32
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": able, "avx2": True}, raising=False)
    assert resolve_precision("auto", torch.device("cpu")) == expected
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {}, raising=False)
    assert resolve_precision("auto", torch.device("cpu")) == "float32"


def test_auto_precision_before_torch_2_12_is_float32(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert resolve_precision("auto", torch.device("cpu")) == "float32"


def test_autocast():
    assert autocast_dtype("bfloat16") is torch.bfloat16
    assert autocast_dtype("float32") is None


def test_generators_are_their_seed(device):
    first, same, other = (torch.rand(4, generator=seeded_generator(seed, device), device=device) for seed in (5, 5, 6))
    assert seeded_generator(5, device).device.type == device.type
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_freed_memory_is_kept_where_there_is_glibc(monkeypatch):
    assert keep_freed_memory() is (platform.libc_ver()[0] == "glibc")
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert keep_freed_memory() is False


def test_micro_batches_suit_the_images_on_a_cpu_and_are_whole_on_a_gpu():
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert [resolve_micro_batch("auto", cpu, *size) for size in ((35, 55), (64, 64), (224, 224), (999, 999))] == [
        68,
        32,
        2,
        1,
    ]
    assert [resolve_micro_batch("auto", cpu, 35, 55, batch=batch) for batch in (1, 16, 136, 512)] == [1, 8, 68, 68]
    assert resolve_micro_batch("auto", gpu, 35, 55, batch=16) is None
    assert resolve_micro_batch(None, cpu, 35, 55) is None
    assert resolve_micro_batch(7, gpu, 35, 55) == 7


@pytest.mark.parametrize(
    ("setting", "kind", "steps", "expected"),
    [("auto", "cuda", 2000, True), ("auto", "cuda", 1999, False), ("auto", "cpu", 10**6, False)]
    + [(told, kind, steps, told) for told in (True, False) for kind in ("cpu", "cuda") for steps in (1, 10**6)],
)
def test_networks_are_compiled_where_it_pays(setting, kind, steps, expected):
    assert should_compile(setting, torch.device(kind), steps) is expected


@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
def test_a_layout_holds_for_weights_and_maps(layout):
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 8, 3), torch.nn.Conv2d(8, 8, 3))
    set_memory_format(network, layout)
    last = layout == "channels_last"
    assert network[1].weight.is_contiguous(memory_format=torch.channels_last) is last
    assert network(torch.rand(2, 1, 9, 9)).is_contiguous() is not last


@pytest.mark.filterwarnings("ignore")  # the compiler's own
def test_a_compiled_network_computes_uncompiled_where_asked():
    compiled = []
    network = Refiner(width=4, blocks=1)
    with uncompiled(network):
        expected = network(torch.ones(1, 1, 5, 5))
    network.compile(backend=lambda graph, inputs: compiled.append(inputs) or graph.forward)
    with uncompiled(network):
        assert torch.equal(network(torch.ones(1, 1, 5, 5)), expected)
    assert not compiled
    assert torch.equal(network(torch.ones(1, 1, 5, 5)), expected)
    assert compiled


def test_a_process_is_settled_as_told(monkeypatch):
    told = []
    monkeypatch.setattr(torch, "set_num_threads", lambda count: told.append(count))
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    monkeypatch.setattr("synthreal.device.keep_freed_memory", lambda: told.append("memory"))
    configure_process(RuntimeConfig(threads=None, autotune=True, keep_memory=False))
    assert (told, torch.backends.cudnn.benchmark) == ([], True)
    configure_process(RuntimeConfig(threads=3, autotune=False, keep_memory=True))
    assert (told, torch.backends.cudnn.benchmark) == ([3, "memory"], False)
