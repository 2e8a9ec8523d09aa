"""How fast are the drawn domains? Images a second of both simulators and both cameras, in blocks of 256.

Usage: ``python benchmarks/bench_render.py [--device cpu] [--threads 1] [--repeats 5] [--json FILE]``
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import time
from pathlib import Path

import torch

import synthreal

BLOCK = 256
DOMAINS = (
    ("render_gaze", "gaze", "simulator", "simulated"),
    ("render_gaze_camera", "gaze", "camera", "test"),
    ("render_hands", "hands", "simulator", "simulated"),
    ("render_hands_camera", "hands", "camera", "test"),
)


def measure(spec: synthreal.DatasetSpec, device: torch.device, repeats: int) -> list[float]:
    """Images a second of each repeat, after one that does not count."""
    generator = torch.Generator(device).manual_seed(0)
    rates = []
    for repeat in range(repeats + 1):
        started = time.perf_counter()
        spec.render(spec.options(), BLOCK, generator)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if repeat:
            rates.append(BLOCK / (time.perf_counter() - started))
    return rates


def main() -> None:
    """Measure, print a table and JSON, write the JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    rows = []
    for name, plugin, dataset, role in DOMAINS:
        rates = measure(synthreal.Catalog.of([plugin]).dataset(dataset, role), device, arguments.repeats)
        rows.append(
            {
                "name": name,
                "batch": BLOCK,
                "precision": "float32",
                "threads": arguments.threads,
                "images_per_second": round(statistics.median(rates), 1),
                "spread": [round(min(rates), 1), round(max(rates), 1)],
            }
        )
        print(f"{name:20} {rows[-1]['images_per_second']:10.0f} images/s  ({min(rates):.0f} to {max(rates):.0f})")
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    result = {"machine": {"device": where, "torch": torch.__version__, "commit": commit.stdout.strip()}, "rows": rows}
    text = json.dumps(result, indent=2)
    print(text)
    if arguments.json is not None:
        arguments.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
