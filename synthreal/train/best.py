"""What the files of a run say about the weights that it saved."""

from __future__ import annotations

from pathlib import Path

from synthreal.inference.pretrained import weights_step
from synthreal.train.log import read_log
from synthreal.train.monitor import read_quality, score


def describe_best(run_dir: Path) -> str:
    """A sentence about the quality of the saved weights: how much nearer to real images, and how much content moved.

    Raises ``UserError`` if a file is damaged, or the weights are missing.
    """
    (log, _), step, quality = read_log(run_dir), weights_step(run_dir), read_quality(run_dir)
    best = next((found for line in log if line["step"] == step and (found := line.get("quality"))), None)
    simulated = {} if quality is None else quality.simulated
    if best is None or not (known := {name: value for name, value in simulated.items() if name in best and value > 0}):
        return f"{run_dir}: the quality of the saved weights is not recorded"
    drift = best["shift_px"]
    moved = "not measured how far content moved" if drift is None else f"content moved by {drift:.2f} px on average"
    left = score(best, known, 0.0)
    return f"{left:.0%} of the distance between simulated and real images is left after refining; {moved}"
