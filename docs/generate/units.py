"""The units of settings, for their tables."""

from __future__ import annotations

from collections.abc import Mapping

SUFFIXES = {"px": "px", "mm": "mm", "deg": "deg", "gib": "GiB", "kmh": "km/h"}
# Units of the numbers of a run, by the last part of their name; "1" is a number without a unit.
UNITS = {
    "background": "value in [0, 1]",
    "batch": "images",
    "beta": "share of the shorter side",
    "beta1": "1",
    "beta2": "1",
    "blend": "1",
    "brightness": "value in [0, 1]",
    "calibration": "images",
    "channels": "channels",
    "contrast": "1",
    "count": "images",
    "discriminator_steps": "steps",
    "discriminator_updates": "updates",
    "ema": "1",
    "epochs": "epochs",
    "every": "steps",
    "height": "px",
    "images": "images",
    "initial_weight": "1",
    "invalid": "value in [0, 1]",
    "learning_rate": "1",
    "micro_batch": "images",
    "momentum": "1",
    "noise": "value in [0, 1]",
    "patch": "px",
    "patience": "reports",
    "refiner_steps": "steps",
    "refiner_updates": "updates",
    "report_every": "steps",
    "save_every": "steps",
    "seed": "1",
    "sheet_every": "steps",
    "size": "images",
    "steps": "steps",
    "threads": "threads",
    "weight": "1",
    "width": "px",
}
# Units of the numbers among the options of built-in components; those of plugins end in their unit.
OPTION_UNITS = {
    "background": "value in [0, 1]",
    "blocks": "blocks",
    "classes": "classes",
    "crop": "px",
    "crops": "windows",
    "deviation": "1",
    "files": "files",
    "kernel": "px",
    "maps": "maps",
    "mean": "1",
    "noise_channels": "maps",
    "scale": "px",
    "sigma": "px",
    "stride": "px",
    "values": "numbers",
    "width": "maps",
}


def unit_of(name: str, units: Mapping[str, str]) -> str:
    """The unit of a setting, or the empty string if it is not known."""
    last = name.rpartition(".")[2]
    return SUFFIXES.get(last.rpartition("_")[2], units.get(last, ""))
