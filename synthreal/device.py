"""Device selection and performance settings.

Measured on the CPU with the paper's gaze refiner (``benchmarks/README.md``): bfloat16 is twice as fast as float32 on
CPUs with AVX512-BF16, micro-batches of 131,072 px are as fast as larger ones and need a fraction of the memory, and
torch.compile gains nothing.
"""

from __future__ import annotations

import ctypes
import os
import platform
import warnings
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Protocol

import torch
from torch import nn

from synthreal.errors import UserError, one_line

__all__ = ["ProcessSettings", "configure_process"]

MICRO_PX = 1 << 17
COMPILE_STEPS = 2000
MOST_THREADS = 1024  # with 100,000, torch ends in a segmentation fault


def resolve_device(name: str) -> torch.device:
    """The device for "auto", "cpu", "cuda" or "cuda:N". Raises ``UserError`` if it does not exist."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"unknown device {name!r}; use auto, cpu, cuda or cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"device {name!r} is not supported; use auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"device {name!r} does not exist ({torch.cuda.device_count()} GPUs found); use auto or cpu")
    return device


def resolve_precision(name: str, device: torch.device) -> str:
    """The precision for "auto", "float32" or "bfloat16".

    "auto" is bfloat16 on GPUs from Ampere on and on CPUs with AVX512-BF16, else float32. Raises ``UserError`` for
    another name.
    """
    if name not in ("auto", "float32", "bfloat16"):
        raise UserError(f"unknown precision {name!r}; use auto, float32 or bfloat16")
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # missing before torch 2.12
    return "bfloat16" if capabilities.get("avx512_bf16", False) else "float32"


def resolve_micro_batch(
    setting: int | str | None, device: torch.device, height: int, width: int, *, batch: int | None = None
) -> int | None:
    """Number of images of ``height`` x ``width`` px that pass through the networks at once; None for no limit.

    "auto" is 131,072 px of images on the CPU, where more costs memory and gains nothing, and no limit on a GPU. In
    training it is at most half a mini-batch of ``batch`` images, so that one process adds the same numbers as two.
    """
    if setting != "auto":
        return None if setting is None else int(setting)
    if device.type != "cpu":
        return None
    fitting = max(1, MICRO_PX // (height * width))
    return fitting if batch is None else min(fitting, max(1, batch // 2))


def should_compile(setting: bool | str, device: torch.device, steps: int) -> bool:
    """Whether to compile the networks; "auto" means on a GPU, for schedules of 2,000 steps or more.

    Where torch.compile does not work, "auto" is False, with a warning, and True raises ``UserError``.
    """
    if not (setting is True or (setting == "auto" and device.type == "cuda" and steps >= COMPILE_STEPS)):
        return False
    if (fault := compiler_fault(device)) is None:
        return True
    message = f"torch.compile does not work on this machine ({fault})"
    if setting is True:
        raise UserError(f"{message}; install a C++ compiler, or turn it off (runtime.compile=false)")
    warnings.warn(f"{message}: the networks run uncompiled, which is slower", RuntimeWarning, stacklevel=2)
    return False


@cache
def compiler_fault(device: torch.device) -> str | None:
    """Why torch.compile does not work on a device, None if it does: it compiles a function, in a few seconds.

    The number of values is random, because torch stores what it has compiled and would find it without a compiler.
    """
    count = 2 + int.from_bytes(os.urandom(2))
    try:
        torch.compile(lambda values: values.sin() + 1, dynamic=False)(torch.zeros(count, device=device))
    except Exception as error:  # of torch, Triton or the compiler
        return one_line(error).partition(" Set TORCH")[0][:200]
    return None


def set_memory_format(network: nn.Module, layout: str, *, compiled: bool = False) -> None:
    """Convert a network to "channels_last" or "channels_first", and optionally compile it, in place.

    A compiled network keeps its parameter names. Each batch size is compiled separately, with and without gradients.
    """
    order = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    network.to(memory_format=order)  # type: ignore[call-overload]
    if compiled:
        network.compile(dynamic=False)


def uncompiled(network: nn.Module) -> AbstractContextManager[object]:
    """A context in which a compiled network runs eagerly, for a few images that are not worth compiling for."""
    return nullcontext() if network._compiled_call_impl is None else torch.compiler.set_stance("force_eager")


class ProcessSettings(Protocol):
    """The settings of :func:`configure_process`, which :class:`synthreal.config.RuntimeConfig` has."""

    @property
    def threads(self) -> int | None:
        """CPU threads of torch; None for its default."""

    @property
    def autotune(self) -> bool:
        """Whether cuDNN benchmarks its algorithms."""

    @property
    def keep_memory(self) -> bool:
        """Whether the process keeps freed memory."""


def configure_process(runtime: ProcessSettings) -> None:
    """Apply ``runtime`` to this process: CPU threads, cuDNN benchmarking, and memory.

    Raises ``UserError`` for more than 1024 threads.
    """
    if runtime.threads is not None:
        if runtime.threads > MOST_THREADS:
            raise UserError(f"threads is {runtime.threads}, at most {MOST_THREADS}; lower --threads or runtime.threads")
        torch.set_num_threads(runtime.threads)
    torch.backends.cudnn.benchmark = runtime.autotune
    if runtime.keep_memory:
        keep_freed_memory()


def is_out_of_memory(error: Exception) -> bool:
    """Whether torch raised the error because memory was short; "illegal memory access" of CUDA is another error."""
    return "memory" in str(error) and "illegal memory access" not in str(error)


def autocast_dtype(precision: str) -> torch.dtype | None:
    """The autocast dtype of a precision; None for float32."""
    return torch.bfloat16 if precision == "bfloat16" else None


def seeded_generator(seed: int, device: torch.device) -> torch.Generator:
    """A seeded generator on the device."""
    return torch.Generator(device).manual_seed(seed)


def keep_freed_memory() -> bool:
    """Make glibc keep freed memory instead of returning it to the kernel; returns whether that succeeded.

    Otherwise every large activation is mapped, zeroed page by page and unmapped again in each step, which takes a fifth
    of a training step on the CPU and more. Without glibc nothing changes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if platform.system() == "Linux" else None
    if mallopt is None:
        return False
    trim_threshold, mmap_threshold, a_gigabyte = -1, -3, 1 << 30
    return bool(mallopt(trim_threshold, a_gigabyte) and mallopt(mmap_threshold, a_gigabyte))
