"""Rendering speed of both simulators and both cameras, in blocks of 256 images.

Usage: ``python benchmarks/bench_render.py [--quick] [--device auto] [--threads 1] [--repeats 5] [--json FILE]``
"""

from __future__ import annotations

import torch
from clock import peak_mb, spent
from limit import limit_gflops
from record import Row, arguments, finish, middle, spread

import synthreal

BLOCK = 256
DOMAINS = (
    ("render_gaze", "gaze", "simulator", "simulated"),
    ("render_gaze_camera", "gaze", "camera", "test"),
    ("render_hands", "hands", "simulator", "simulated"),
    ("render_hands_camera", "hands", "camera", "test"),
)


def rates(spec: synthreal.DatasetSpec, device: torch.device, repeats: int) -> list[float]:
    """Images per second of each repeat, after one warm-up."""
    generator = torch.Generator(device).manual_seed(0)
    draws = (spent(lambda: spec.render(spec.options(), BLOCK, generator), device) for _ in range(repeats + 1))
    return [BLOCK / seconds["wall"] for seconds in draws][1:]


def main() -> None:
    """Run the benchmark, print and write its rows."""
    options = arguments(__doc__)
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    rows: list[Row] = []
    for name, plugin, dataset, role in DOMAINS:
        found = rates(synthreal.Catalog.of([plugin]).dataset(dataset, role), device, options.repeats)
        rows.append(
            {
                "name": name,
                "batch": BLOCK,
                "precision": "fp32",
                "threads": options.threads,
                "images_per_second": middle(found),
                "spread": spread(found),
                "ratio_to_reference": None,
                "share_of_limit": None,
                "peak_memory_mb": round(peak_mb(device)),
            }
        )
    finish(options, limit_gflops(device), rows)


if __name__ == "__main__":
    main()
