"""Arguments and results of a benchmark: a table for people, JSON for programs."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from clock import Spent
from limit import Limit

Row = dict[str, Any]
BATCHES = (32, 128, 512)


def arguments(doc: str | None, given: list[str] | None = None) -> argparse.Namespace:
    """Parse ``--json FILE --quick --device --threads --repeats``; device ``auto`` is a GPU if there is one.

    Raises:
        SystemExit: with code 2 and one line, for an unavailable device or a file that cannot be written.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=target, help="file for the result")
    parser.add_argument("--quick", action="store_true", help="batch size 512 only, one repeat; on a GPU bfloat16 only")
    parser.add_argument("--device", type=_device, default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--threads", type=_positive, default=1, help="CPU threads of every process")
    parser.add_argument(
        "--repeats",
        type=_positive,
        help="interleaved repeats, of which the median is reported (default: 5, with --quick 1)",
    )
    options = parser.parse_args(given)
    if options.repeats is None:
        options.repeats = 1 if options.quick else 5
    return options


def target(text: str) -> Path:
    """The path of an output file; creates its folder, so that errors appear before measuring."""
    path = Path(text)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text}: cannot be written ({error})") from None
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"{text}: cannot be written; give a file in a writable folder")
    return path


def _device(text: str) -> str:
    if text == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=text)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise argparse.ArgumentTypeError(f"{text!r} is not available ({reason}); use auto or cpu") from None
    return text


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer of at least 1")
    return int(text)


def batches(options: argparse.Namespace) -> tuple[int, ...]:
    """The batch sizes to measure: with ``--quick``, 512 only."""
    return BATCHES[-1:] if options.quick else BATCHES


def precisions(options: argparse.Namespace) -> list[str]:
    """float32, and bfloat16 where the machine computes it natively; on a GPU with ``--quick``, only bfloat16."""
    if options.device != "cpu":
        return ["bf16"] if options.quick else ["fp32", "bf16"]
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return ["fp32", "bf16"] if capabilities.get("avx512_bf16") else ["fp32"]


def machine(options: argparse.Namespace) -> dict[str, Any]:
    """Machine, versions, date, commit and command."""
    gpu = torch.cuda.get_device_name(options.device) if options.device != "cpu" else None
    return {
        "device": gpu or _processor(),
        "cores": os.cpu_count(),
        "threads": options.threads,
        "vector": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "commit": _commit(),
        "command": " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]]),
    }


def rounded(value: float) -> float:
    """Round to four digits."""
    return float(f"{value:.4g}")


def middle(values: Iterable[float]) -> float:
    """The median, to four digits."""
    return rounded(median(values))


def spread(values: Iterable[float]) -> list[float]:
    """Minimum and maximum, to four digits."""
    found = sorted(values)
    return [rounded(found[0]), rounded(found[-1])]


def timed_row(
    name: str,
    *,
    options: argparse.Namespace,
    batch: int,
    precision: str,
    images: int,
    gflop: float,
    turns: list[Spent],
    against: list[Spent] | None = None,
) -> Row:
    """A row for turns of ``images`` and ``gflop`` of work, compared with the same turns of a reference.

    :func:`finish` computes ``share_of_limit`` from ``work``, because the limit is only known at the end.
    """
    cost = {clock: middle(turn[clock] for turn in turns) for clock in ("wall", "cpu")}
    row: Row = {
        "name": name,
        "batch": batch,
        "precision": precision,
        "threads": options.threads,
        "images_per_second": rounded(images / cost["wall"]),
        "ratio_to_reference": None,
    }
    if against is not None:
        ratios = {
            clock: [theirs[clock] / mine[clock] for theirs, mine in zip(against, turns, strict=True)] for clock in cost
        }
        row.update(
            ratio_to_reference=middle(ratios["wall"]),
            ratio_spread=spread(ratios["wall"]),
            ratio_cpu_seconds=middle(ratios["cpu"]),
            reference_seconds=middle(turn["wall"] for turn in against),
        )
    return {
        **row,
        "share_of_limit": None,
        "gflops": rounded(gflop / cost["wall"]),
        "seconds": cost["wall"],
        "cpu_seconds": cost["cpu"],
        "work": {"gflop": gflop, **cost},
    }


def share(work: dict[str, float], limit: Limit, precision: str, device: str) -> float | None:
    """Share of the limit, which applies to CPU seconds on a CPU and to wall time on a GPU; None if it is unknown."""
    one = limit[precision]
    return None if one is None else float(f"{work['gflop'] / work['cpu' if device == 'cpu' else 'wall'] / one:.3g}")


def finish(options: argparse.Namespace, limit: Limit, rows: list[Row], **more: Any) -> None:
    """Compute the shares, print rows and JSON, and write the JSON to ``--json``.

    Raises:
        SystemExit: a share is above 1, so the measurement is wrong; raised after writing.
    """
    for row in rows:
        if "work" in row:
            row["share_of_limit"] = share(row.pop("work"), limit, row["precision"], options.device)
    lists = {key for row in rows for key, value in row.items() if isinstance(value, list)}
    columns = [key for key in dict.fromkeys(key for row in rows for key in row) if key not in lists]
    table = [columns, *([_shown(row.get(key)) for key in columns] for row in rows)]
    widths = [max(len(line[i]) for line in table) for i in range(len(columns))]
    for line in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    result = {"machine": machine(options), "limit_gflops": limit, **more, "rows": rows}
    text = json.dumps(result, indent=2)
    print(text)
    if options.json is not None:
        options.json.write_text(text + "\n", encoding="utf-8")
    above = [row["name"] for row in rows if (row.get("share_of_limit") or 0) > 1]
    if above:
        raise SystemExit(f"{', '.join(above)}: share of the limit {limit} above 1; the measurement is wrong")


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
    except (FileNotFoundError, subprocess.CalledProcessError):  # not a git repository
        return "unknown"
    return found.stdout.strip()
