"""The peak speed of this machine: GFLOP/s of one core, or of the GPU.

On a CPU, it is measured with a loop of independent fused multiply-adds on registers, compiled with ``cc`` when a
benchmark runs; for bfloat16, with the dot-product instruction of AVX512-BF16. A matrix product is not a limit there:
float32 ``torch.matmul`` reaches less than half. On a GPU, it is measured with large matrix products, for float32 with
TF32, as convolutions use it.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

Limit = dict[str, float | None]

SOURCE = r"""
#include <stdint.h>
#if defined(__AVX512F__)
#define BYTES 64
#else
#define BYTES 32
#endif
typedef float lanes __attribute__((vector_size(BYTES)));
#define CHAINS 12
double flop32(void) { return 2.0 * CHAINS * BYTES / 4; }
float loop32(int64_t turns, float start) { /* start is unknown to the compiler, which would otherwise drop a chain */
  lanes sum[CHAINS], x, y;
  for (int j = 0; j < BYTES / 4; j++) { x[j] = 0.999f; y[j] = 0.001f * start; }
  for (int i = 0; i < CHAINS; i++) for (int j = 0; j < BYTES / 4; j++) sum[i][j] = i + start;
  for (int64_t turn = 0; turn < turns; turn++) {
#pragma GCC unroll 12
    for (int i = 0; i < CHAINS; i++) sum[i] = sum[i] * x + y;
  }
  float total = 0;
  for (int i = 0; i < CHAINS; i++) total += sum[i][0];
  return total;
}
#if defined(__AVX512BF16__) && !defined(__AMX_BF16__)
#include <immintrin.h>
double flop16(void) { return 4.0 * CHAINS * 16; }
float loop16(int64_t turns, float start) {
  __m512 sum[CHAINS];
  __m512bh x = (__m512bh)_mm512_set1_epi32(0x3f003f00), y = (__m512bh)_mm512_set1_epi32(0x38003800);
  for (int i = 0; i < CHAINS; i++) sum[i] = _mm512_set1_ps(i + start);
  for (int64_t turn = 0; turn < turns; turn++) {
#pragma GCC unroll 12
    for (int i = 0; i < CHAINS; i++) sum[i] = _mm512_dpbf16_ps(sum[i], x, y);
  }
  float total = 0;
  for (int i = 0; i < CHAINS; i++) total += _mm512_reduce_add_ps(sum[i]);
  return total;
}
#else
double flop16(void) { return 0; }
float loop16(int64_t turns, float start) { return turns + start; }
#endif
"""


def limit_gflops(device: torch.device) -> Limit:
    """GFLOP/s ``{"fp32": x, "bf16": y}`` of one core or of the GPU; None if unknown.

    On a CPU, both are unknown without a compiler; bfloat16 is unknown without AVX512-BF16, or with AMX, which this loop
    does not use.
    """
    return _of_gpu(device) if device.type == "cuda" else _of_core()


def higher(one: Limit, other: Limit) -> Limit:
    """The higher of two measurements: other programs can only reduce the speed."""
    pairs = {name: [value for value in (one[name], other[name]) if value is not None] for name in one}
    return {name: max(values) if values else None for name, values in pairs.items()}


def _of_core() -> Limit:
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        return {"fp32": None, "bf16": None}
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder, "loop.c"), Path(folder, "loop.so")
        source.write_text(SOURCE, encoding="ascii")
        flags = ["-O3", "-march=native", "-ffp-contract=fast", "-shared", "-fPIC", "-w"]
        subprocess.run([compiler, *flags, "-o", str(library), str(source)], check=True)
        loops = ctypes.CDLL(str(library))
    return {"fp32": _rate(loops.loop32, loops.flop32), "bf16": _rate(loops.loop16, loops.flop16)}


def _rate(loop: ctypes._CFuncPtr, flop: ctypes._CFuncPtr, turns: int = 2_000_000) -> float | None:
    loop.argtypes, loop.restype, flop.restype = [ctypes.c_int64, ctypes.c_float], ctypes.c_float, ctypes.c_double
    if flop() == 0:
        return None
    loop(turns, 1.0)
    best = min(
        _seconds(lambda: loop(turns, 1.0), time.thread_time) for _ in range(15)
    )  # shares are of CPU seconds, too
    return float(flop()) * turns / best / 1e9


def _of_gpu(device: torch.device, side: int = 8192) -> Limit:
    found: Limit = {}
    torch.backends.cuda.matmul.allow_tf32 = True
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))

        def product(a: torch.Tensor = a, b: torch.Tensor = b) -> None:
            for _ in range(10):
                a @ b
            torch.cuda.synchronize(device)

        product()
        found[name] = 10 * 2 * side**3 / min(_seconds(product, time.perf_counter) for _ in range(5)) / 1e9
    return found


def _seconds(call: Callable[[], object], clock: Callable[[], float]) -> float:
    started = clock()
    call()
    return clock() - started
