"""Changes to the log and the quality file of a run, for tests of the page."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

QUALITY = {
    "simulated": {"kid": 0.4, "sliced_wasserstein": 0.5, "spectrum": 0.6},
    "rule": "The lowest score, where it moves < 1 px.",
    "best": {"step": 9, "score": 0.2},
}


def write_quality(run: Path) -> None:
    """Add quality to every second line of the log, and write quality.json."""

    def add(line: dict[str, Any]) -> None:
        if line["step"] % 2:
            step = line["step"]
            line["quality"] = {
                "kid": 0.3 - 0.02 * step, "sliced_wasserstein": 0.3, "spectrum": 0.2, "shift_px": None,
                "change": 0.01 * step, "diversity": 0.9, "score": 1 / step,
            }  # fmt: skip

    edit_log(run, add)
    (run / "quality.json").write_text(json.dumps(QUALITY))


def edit_log(run: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Apply a change to every line of the log."""
    lines = [json.loads(text) for text in (run / "log.jsonl").read_text().splitlines()]
    for line in lines:
        change(line)
    (run / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
