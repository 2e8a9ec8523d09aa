"""Every benchmark runs, prints JSON and writes the same to a file."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.mark.parametrize("name", ["render_gaze", "render_gaze_camera"])
def test_bench_render(name, tmp_path, monkeypatch, capsys):
    script, target = BENCHMARKS / "bench_render.py", tmp_path / "render.json"
    monkeypatch.setattr("sys.argv", [str(script), "--repeats", "1", "--json", str(target)])
    runpy.run_path(str(script), run_name="__main__")
    written = json.loads(target.read_text())
    out = capsys.readouterr().out
    assert json.loads(out[out.index("{") :]) == written
    assert written["machine"]["torch"] == torch.__version__
    (row,) = [row for row in written["rows"] if row["name"] == name]
    assert row["images_per_second"] > 0 and row["batch"] == 256


def test_every_benchmark_has_a_test():
    assert sorted(path.name for path in BENCHMARKS.glob("*.py")) == ["bench_render.py"]
