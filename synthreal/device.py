"""The machine a run finds itself on: its device, and what makes that device compute fastest.

Measured on the CPU with the paper's gaze refiner (``benchmarks/README.md``): bfloat16 twice as fast as float32 where
AVX512-BF16 is, micro-batches of 131,072 px as fast as any and in a fraction of the memory, no gain from torch.compile.
"""

from __future__ import annotations

import ctypes
import platform
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import torch
from torch import nn

from synthreal.errors import UserError

__all__ = ["ProcessSettings", "configure_process"]

MICRO_PX = 1 << 17
COMPILE_STEPS = 2000


def resolve_device(name: str) -> torch.device:
    """The device "auto", "cpu", "cuda" or "cuda:N" stands for. Raises ``UserError`` when it does not exist."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"device {name!r} is none; use auto, cpu, cuda or cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"device {name!r} is not supported; use auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"device {name!r} is not here ({torch.cuda.device_count()} GPUs found); use auto or cpu")
    return device


def resolve_precision(name: str, device: torch.device) -> str:
    """The precision "auto" stands for: "bfloat16" on GPUs from Ampere on and CPUs with AVX512-BF16, else "float32".

    Raises ``UserError`` when it is none of the three.
    """
    if name not in ("auto", "float32", "bfloat16"):
        raise UserError(f"precision {name!r} is none; use auto, float32 or bfloat16")
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    capabilities: dict[str, bool] = getattr(
        torch.cpu, "get_capabilities", dict
    )()  # absent before torch 2.12: float32 there
    return "bfloat16" if capabilities.get("avx512_bf16", False) else "float32"


def resolve_micro_batch(
    setting: int | str | None, device: torch.device, height: int, width: int, *, batch: int | None = None
) -> int | None:
    """Images of ``height`` x ``width`` px that pass through the networks at once; None for whole mini-batches.

    "auto" is as many as hold 131,072 px on the CPU, where larger ones cost memory and gain nothing, and whole
    mini-batches on a GPU. In training it is at most half a mini-batch of ``batch`` images: then one process adds up the
    same numbers as two.
    """
    if setting != "auto":
        return None if setting is None else int(setting)
    if device.type != "cpu":
        return None
    fitting = max(1, MICRO_PX // (height * width))
    return fitting if batch is None else min(fitting, max(1, batch // 2))


def should_compile(setting: bool | str, device: torch.device, steps: int) -> bool:
    """Whether to compile the networks; "auto" does on a GPU, for schedules of 2,000 steps and more."""
    return setting is True or (setting == "auto" and device.type == "cuda" and steps >= COMPILE_STEPS)


def set_memory_format(network: nn.Module, layout: str, *, compiled: bool = False) -> None:
    """Put a network's weights in "channels_last" or "channels_first" order, and compile it where asked, in place.

    Compiled networks keep their names and weights. Each size of batch is compiled for itself, with gradients and
    without.
    """
    order = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    network.to(memory_format=order)  # type: ignore[call-overload]
    if compiled:
        network.compile(dynamic=False)


def uncompiled(network: nn.Module) -> AbstractContextManager[object]:
    """A context in which a compiled network computes uncompiled: for a few images, not worth compiling for."""
    return nullcontext() if network._compiled_call_impl is None else torch.compiler.set_stance("force_eager")


class ProcessSettings(Protocol):
    """What :func:`configure_process` needs: :class:`synthreal.config.RuntimeConfig` has it."""

    @property
    def threads(self) -> int | None:
        """CPU threads of torch; None leaves them."""

    @property
    def autotune(self) -> bool:
        """Whether cuDNN searches for its fastest algorithms."""

    @property
    def keep_memory(self) -> bool:
        """Whether the process keeps freed memory."""


def configure_process(runtime: ProcessSettings) -> None:
    """Set up this process as ``runtime`` says: torch's CPU threads, cuDNN's search for algorithms, its memory."""
    if runtime.threads is not None:
        torch.set_num_threads(runtime.threads)
    torch.backends.cudnn.benchmark = runtime.autotune
    if runtime.keep_memory:
        keep_freed_memory()


def autocast_dtype(precision: str) -> torch.dtype | None:
    """The dtype networks autocast to, None for float32."""
    return torch.bfloat16 if precision == "bfloat16" else None


def seeded_generator(seed: int, device: torch.device) -> torch.Generator:
    """A generator on the device, seeded."""
    return torch.Generator(device).manual_seed(seed)


def keep_freed_memory() -> bool:
    """Make glibc keep freed memory instead of handing it back to the kernel; True where that took effect.

    Otherwise every large activation is mapped, zeroed page by page and unmapped again at each step, which costs a
    training step on the CPU a fifth of its time and more. Without glibc nothing changes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if platform.system() == "Linux" else None
    if mallopt is None:
        return False
    trim_threshold, mmap_threshold, a_gigabyte = -1, -3, 1 << 30
    return bool(mallopt(trim_threshold, a_gigabyte) and mallopt(mmap_threshold, a_gigabyte))
