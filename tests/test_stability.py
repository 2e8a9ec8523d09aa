"""docs/reference/stability.md, the contract of 1.0, says what the code has: names, settings, files, the pack format."""

from __future__ import annotations

import dataclasses
import importlib
import json
import re
import sys
import tomllib
from pathlib import Path

import h5py
import numpy as np

import synthreal
from synthreal.data import write_pack
from synthreal.inference.weights import read_metadata
from synthreal.results.schema import Evaluation
from synthreal.spec import ImageSpec, LabelSpec, Sample
from synthreal.train.log import Report, read_log

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs/reference/stability.md").read_text(encoding="utf-8")
CODE = re.compile(r"`([^`]+)`")


def section(title):
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def rows(title):
    """The first cell of each row of a section's table, and the rest."""
    lines = re.findall(r"^\| (.+?) \| (.+) \|$", section(title), re.MULTILINE)
    return lines[2:] if lines[1][0].startswith("---") else lines[1:]


def keys(title, start):
    """The names in the paragraph of a section that starts so, after its colon."""
    (paragraph,) = re.findall(rf"^{start}.*?(?=\n\n|\Z)", section(title), re.MULTILINE | re.DOTALL)
    return CODE.findall(paragraph.partition(": ")[2])


def test_the_names():
    (listed,) = [found for text in section("Names").split("\n\n") if len(found := CODE.findall(text)) > 10]
    assert listed == synthreal.__all__


def test_the_settings(toy_run):
    sys.path.insert(0, str(ROOT / "docs/generate"))
    try:
        sections = importlib.import_module("settings").sections()
    finally:
        sys.path.remove(str(ROOT / "docs/generate"))
    listed = set()
    for name, cell in rows("Settings"):
        prefix = "".join(f"{part}." for part in CODE.findall(name))
        listed |= {prefix + key for key in CODE.findall(cell)}
    assert listed == {row.name for _, _, found in sections for row in found}
    tree = tomllib.loads((toy_run / "config.toml").read_text())
    assert tree.keys() - {"versions"} == {key.partition(".")[0] for key in listed}


def test_the_files_of_a_run_directory(evaluated):
    listed = {name.rstrip("/") for cell, _ in rows("Files of a run directory") for name in CODE.findall(cell)}
    table = (ROOT / "docs/reference/run-directory.md").read_text(encoding="utf-8")
    names = re.findall(r"^\| `([\w.]+)", table, re.MULTILINE)
    assert listed == {*names, "validation.json"}
    found = {path.name for path in evaluated.iterdir()}
    assert found <= listed
    assert {"config.toml", "log.jsonl", "quality.json", "sheets", "refiner.safetensors"} <= found
    assert {"checkpoints", "evaluation.json", "estimators"} <= found
    assert all(re.fullmatch(r"step-\d{8}\.png", path.name) for path in (evaluated / "sheets").iterdir())
    assert {"step", "kind"} <= read_metadata(evaluated / "refiner.safetensors", remedy="").keys()


def test_the_keys_of_the_log_and_of_results(evaluated):
    listed = keys("Files of a run directory", "Keys of a line")
    assert listed == [field.name for field in dataclasses.fields(Report) if field.name != "change"]
    assert all(line.keys() <= set(listed) for line in read_log(evaluated)[0])
    listed = keys("Files of a run directory", "Keys of `evaluation.json`")
    assert listed == list(Evaluation.model_fields)
    assert json.loads((evaluated / "evaluation.json").read_text()).keys() == set(listed)


def test_the_format_of_packs(tmp_path):
    header = {"image": ImageSpec(channels=1, height=4, width=6), "labels": (LabelSpec("gaze", (3,), "unit vector"),)}
    sample = Sample(np.zeros((1, 4, 6), np.uint8), {"gaze": np.zeros(3, np.float32)})
    write_pack(tmp_path / "eyes.h5", [sample] * 2, role="simulated", name="eyes", **header)
    listed = [CODE.findall(cell)[0] for cell, _ in rows("The format of packs")]
    with h5py.File(tmp_path / "eyes.h5") as file:
        objects = []
        file.visititems(lambda name, thing: objects.append(name) if isinstance(thing, h5py.Dataset) else None)
        assert [*file.attrs] == listed[:1] and file.attrs["synthreal_pack"] == 2
        assert {name.replace("gaze", "<name>") for name in objects} == set(listed[1:])
        assert [*json.loads(file["header"][...].tobytes())] == keys("The format of packs", "Keys of the header")
        assert file["image"].shape == (2, 1, 4, 6) and file["labels/gaze"].shape == (2, 3)
    assert "version of the format, 2" in section("The format of packs")
