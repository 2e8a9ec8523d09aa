"""What a benchmark is asked, and what it leaves: a table to read and JSON to keep."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

import torch
from clock import Spent
from limit import Limit

Row = dict[str, Any]
BATCHES = (32, 128, 512)


def arguments(doc: str | None) -> argparse.Namespace:
    """``--json FILE --quick --device --threads --repeats``; ``auto`` is a GPU where there is one."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the result here")
    parser.add_argument(
        "--quick", action="store_true", help="batch 512 alone; on the CPU one repeat, on a GPU bfloat16 alone"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of every process")
    parser.add_argument("--repeats", type=int, default=5, help="interleaved repeats, of which the median is given")
    asked = parser.parse_args()
    if asked.device == "auto":
        asked.device = "cuda" if torch.cuda.is_available() else "cpu"
    if asked.quick and asked.device == "cpu":
        asked.repeats = 1
    return asked


def batches(asked: argparse.Namespace) -> tuple[int, ...]:
    """The batch sizes to measure: 512 alone in haste."""
    return BATCHES[-1:] if asked.quick else BATCHES


def precisions(asked: argparse.Namespace) -> list[str]:
    """What to measure: float32, and bfloat16 where the machine computes it natively; on a GPU in haste, the latter."""
    if asked.device != "cpu":
        return ["bf16"] if asked.quick else ["fp32", "bf16"]
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return ["fp32", "bf16"] if capabilities.get("avx512_bf16") else ["fp32"]


def machine(asked: argparse.Namespace) -> dict[str, Any]:
    """Where and when and of which commit."""
    gpu = torch.cuda.get_device_name(asked.device) if asked.device != "cpu" else None
    return {
        "device": gpu or _processor(),
        "cores": os.cpu_count(),
        "threads": asked.threads,
        "vector": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "commit": _commit(),
        "command": " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]]),
    }


def middle(values: list[float]) -> float:
    """The median, to four digits."""
    return float(f"{median(values):.4g}")


def spread(values: list[float]) -> list[float]:
    """Least and greatest, to four digits."""
    return [float(f"{min(values):.4g}"), float(f"{max(values):.4g}")]


def share(gflop: float, spent: Spent, limit: Limit, precision: str, device: str) -> float | None:
    """Of the limit: work over what one core does in the CPU seconds spent, or a GPU in the seconds of the clock.

    None where the limit is unknown. Above 1 something was measured wrongly: an error.
    """
    one = limit[precision]
    if one is None:
        return None
    found = gflop / spent["cpu" if device == "cpu" else "wall"] / one
    if found > 1:
        raise SystemExit(f"{found * one:.0f} GFLOP/s in {precision} is more than the limit {one:.0f}: measured wrongly")
    return float(f"{found:.3g}")


def finish(asked: argparse.Namespace, limit: Limit, rows: list[Row], **more: Any) -> None:
    """Print rows and JSON; write the JSON where asked."""
    columns = [
        key for key in dict.fromkeys(key for row in rows for key in row) if not isinstance(rows[0].get(key), list)
    ]
    table = [columns, *([_shown(row.get(key)) for key in columns] for row in rows)]
    widths = [max(len(line[i]) for line in table) for i in range(len(columns))]
    for line in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    result = {"machine": machine(asked), "limit_gflops": limit, **more, "rows": rows}
    text = json.dumps(result, indent=2)
    print(text)
    if asked.json is not None:
        asked.json.parent.mkdir(parents=True, exist_ok=True)
        asked.json.write_text(text + "\n", encoding="utf-8")


def _shown(value: Any) -> str:
    return "-" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _processor() -> str:
    names = Path("/proc/cpuinfo")
    if names.is_file():
        for line in names.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=7", "--exclude=*"]
    try:
        found = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):  # a source tree without git
        return "unknown"
    return found.stdout.strip()
