"""Device selection, precision, memory format and process settings."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys

import pytest
import torch
from quick import QUICK, TOY, flags

from synthreal import device as device_module
from synthreal.config import RuntimeConfig
from synthreal.core.refiner import Refiner
from synthreal.device import (
    autocast_dtype,
    configure_process,
    is_out_of_memory,
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


def test_more_threads_than_torch_survives_are_refused():
    before = torch.get_num_threads()
    with pytest.raises(UserError, match=r"threads is 100000, .*lower --threads or runtime\.threads"):
        configure_process(RuntimeConfig(threads=100_000))
    assert torch.get_num_threads() == before


def test_errors_about_memory():
    assert is_out_of_memory(RuntimeError("not enough memory: you tried to allocate 9 bytes"))
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert not is_out_of_memory(RuntimeError("CUDA error: an illegal memory access was encountered"))
    assert not is_out_of_memory(RuntimeError("sizes differ"))


def test_auto_selects_a_gpu_when_there_is_one(monkeypatch):
    for available, expected in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda available=available: available)
        assert resolve_device("auto") == torch.device(expected)


def test_named_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("cuda") == torch.device("cuda")
    assert resolve_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(UserError, match=r"'cuda:2'.*2 GPUs"):
        resolve_device("cuda:2")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(UserError, match=r"'cuda'.*0 GPUs"):
        resolve_device("cuda")


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "meta"])
def test_unknown_and_unsupported_devices_are_refused(name):
    with pytest.raises(UserError, match=f"device '{name}'.*cuda:N") as error:
        resolve_device(name)
    assert "\n" not in str(error.value)


def test_an_explicit_precision_is_used_on_every_device():
    for name in ("float32", "bfloat16"):
        assert resolve_precision(name, torch.device("cpu")) == resolve_precision(name, torch.device("cuda")) == name


@pytest.mark.parametrize(("native", "expected"), [(True, "bfloat16"), (False, "float32")])
def test_auto_precision_depends_on_the_hardware(native, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: native or including_emulation)
    assert resolve_precision("auto", torch.device("cuda")) == expected  # emulated bfloat16 is slower than float32
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": native, "avx2": True}, raising=False)
    assert resolve_precision("auto", torch.device("cpu")) == expected
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {}, raising=False)
    assert resolve_precision("auto", torch.device("cpu")) == "float32"


def test_auto_precision_before_torch_2_12_is_float32(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert resolve_precision("auto", torch.device("cpu")) == "float32"


def test_autocast():
    assert autocast_dtype("bfloat16") is torch.bfloat16
    assert autocast_dtype("float32") is None


def test_the_seed_determines_the_generator(device):
    first, same, other = (torch.rand(4, generator=seeded_generator(seed, device), device=device) for seed in (5, 5, 6))
    assert seeded_generator(5, device).device.type == device.type
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_freed_memory_is_retained_with_glibc_only(monkeypatch):
    assert keep_freed_memory() is (platform.libc_ver()[0] == "glibc")
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert keep_freed_memory() is False


def test_micro_batches_depend_on_the_image_size_on_a_cpu_and_are_off_on_a_gpu():
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


def test_networks_are_compiled_for_long_runs_on_a_gpu_or_as_configured(monkeypatch):
    monkeypatch.setattr(device_module, "compiler_fault", lambda device: None)
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    for device, steps, expected in ((cuda, 2000, True), (cuda, 1999, False), (cpu, 10**6, False)):
        assert should_compile("auto", device, steps) is expected
    for setting in (True, False):
        assert should_compile(setting, cpu, 1) is should_compile(setting, cuda, 10**6) is setting


def test_without_a_compiler_auto_runs_uncompiled_and_true_is_one_line(monkeypatch):
    monkeypatch.setattr(device_module, "compiler_fault", lambda device: "no C++ compiler")
    with pytest.warns(RuntimeWarning, match=r"does not work on this machine \(no C\+\+ compiler\).*uncompiled"):
        assert should_compile("auto", torch.device("cuda"), 2000) is False
    with pytest.raises(UserError, match=r"\(no C\+\+ compiler\); install .*runtime\.compile=false"):
        should_compile(True, torch.device("cpu"), 1)
    assert should_compile(False, torch.device("cpu"), 1) is False


@pytest.mark.slow
def test_a_missing_compiler_is_found_before_step_0(tmp_path):
    command = [sys.executable, "-m", "synthreal", "fit", "--plugin", str(TOY), "--run", str(tmp_path / "run")]
    environment = {**os.environ, "CXX": "/nonexistent", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    done = subprocess.run(
        [*command, *flags(*QUICK, "runtime.compile=true")], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert "torch.compile does not work on this machine (" in done.stderr and "runtime.compile=false" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
def test_the_memory_format_applies_to_weights_and_maps(layout):
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 8, 3), torch.nn.Conv2d(8, 8, 3))
    set_memory_format(network, layout)
    last = layout == "channels_last"
    assert network[1].weight.is_contiguous(memory_format=torch.channels_last) is last
    assert network(torch.rand(2, 1, 9, 9)).is_contiguous() is not last


@pytest.mark.filterwarnings("ignore")  # warnings of the compiler
def test_uncompiled_bypasses_the_compiled_network():
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


def test_a_process_is_configured_by_the_runtime_settings(monkeypatch):
    calls = []
    monkeypatch.setattr(torch, "set_num_threads", lambda count: calls.append(count))
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    monkeypatch.setattr("synthreal.device.keep_freed_memory", lambda: calls.append("memory"))
    configure_process(RuntimeConfig(threads=None, autotune=True, keep_memory=False))
    assert (calls, torch.backends.cudnn.benchmark) == ([], True)
    configure_process(RuntimeConfig(threads=3, autotune=False, keep_memory=True))
    assert (calls, torch.backends.cudnn.benchmark) == ([3, "memory"], False)
