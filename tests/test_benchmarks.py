"""Every benchmark runs, prints JSON and writes the same to a file."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import torch

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


def test_bench_render(tmp_path, monkeypatch, capsys):
    script, target = BENCHMARKS / "bench_render.py", tmp_path / "render.json"
    monkeypatch.setattr("sys.argv", [str(script), "--repeats", "1", "--json", str(target)])
    runpy.run_path(str(script), run_name="__main__")
    written = json.loads(target.read_text())
    out = capsys.readouterr().out
    assert json.loads(out[out.index("{") :]) == written
    assert written["machine"]["torch"] == torch.__version__
    names = ["render_gaze", "render_gaze_camera", "render_hands", "render_hands_camera"]
    assert [row["name"] for row in written["rows"]] == names
    assert all(row["images_per_second"] > 0 and row["batch"] == 256 for row in written["rows"])


def test_every_benchmark_has_a_test():
    assert sorted(path.name for path in BENCHMARKS.glob("bench_*.py")) == ["bench_render.py"]
