"""Every benchmark runs at a small size, prints JSON and writes the same; limits, shares and failures are reported."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from renders import SHORT

from synthreal.results import schema

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
PARTS = ("refiner_update", "discriminator_update", "step")


@pytest.fixture
def small(monkeypatch):
    """``small("bench_step")``: import the module with small sizes."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    before = set(sys.modules)

    def load(name):
        module = importlib.import_module(name)
        packs, record = importlib.import_module("packs"), importlib.import_module("record")
        monkeypatch.setattr(record, "BATCHES", (4,))
        for domain, size in ((packs.GAZE, {"history": 8}), (packs.HANDS, {"history": 8, "height": 32, "width": 32})):
            for key, value in size.items():
                monkeypatch.setitem(domain, key, value)
        return module

    yield load
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and Path(sys.modules[name].__file__).parent == BENCHMARKS:
            del sys.modules[name]


@pytest.fixture
def run(small, monkeypatch, tmp_path, capfd):
    """``run("bench_step", "--quick", IMAGES=8)``: run a benchmark and return the JSON that it wrote and printed."""

    def measured(name, *flags, **constants):
        module, target = small(name), tmp_path / "out" / f"{name}.json"
        if hasattr(module, "limit_gflops"):  # a busy machine does not reach its limit
            monkeypatch.setattr(module, "limit_gflops", lambda device: {"fp32": 1e6, "bf16": 1e6})
        for constant, value in constants.items():
            monkeypatch.setattr(module, constant, value)
        threads = torch.get_num_threads()
        monkeypatch.setattr("sys.argv", [f"{name}.py", "--device", "cpu", "--json", str(target), *flags])
        module.main()
        torch.set_num_threads(threads)
        written = json.loads(target.read_text())
        out = capfd.readouterr().out
        assert json.loads(out[out.index("\n{") :]) == written
        assert written["machine"]["torch"] == torch.__version__ and set(written["limit_gflops"]) == {"fp32", "bf16"}
        for row in written["rows"]:
            assert row.get("share_of_limit") is None or 0 < row["share_of_limit"] <= 1
        return written

    return measured


@pytest.mark.slow
def test_bench_step(run):
    written = run("bench_step", "--quick", ENOUGH=0.0)  # the check needs an idle machine
    precisions = list(dict.fromkeys(row["precision"] for row in written["rows"]))
    assert precisions in (["fp32"], ["fp32", "bf16"])
    assert [row["name"] for row in written["rows"]] == [*PARTS] * len(precisions)
    assert written["reference_check"] > 0
    for row in written["rows"]:
        assert (row["batch"], row["threads"]) == (4, 1)
        assert min(row[key] for key in ("images_per_second", "ratio_to_reference", "peak_memory_mb", "gflops")) > 0
    first, second, step = written["rows"][:3]
    assert step["seconds"] >= 0.999 * (2 * first["seconds"] + second["seconds"])  # plus the time for data
    # R forward and backward, without the gradient of its input, and D; 0.5689 G multiply-adds per image and pass of R
    work = first["gflops"] * first["seconds"] / 4
    assert 2 * 0.5689 * 2.9 < work < 2 * 0.5689 * 3.1


def test_bench_refine(run):
    rows = run("bench_refine", "--quick", IMAGES=24)["rows"]
    assert {row["name"] for row in rows} == {"refine", "refine_end_to_end"}
    assert all(row["images_per_second"] > 0 and row["ratio_to_reference"] > 0 for row in rows)
    assert all(row["share_of_network"] > 0 for row in rows if row["name"] == "refine_end_to_end")
    for row in rows:
        if row["name"] == "refine":  # 0.5689 G multiply-adds per image
            assert row["gflops"] * row["seconds"] / 4 == pytest.approx(2 * 0.5689, rel=1e-2)

    for row in rows:
        if row["name"] == "refine_end_to_end":
            assert row["network_images_per_second"] > 0 and 0 < row["share_of_network_cpu"]
            assert row["share_spread"][0] <= row["share_of_network"] <= row["share_spread"][1]


def test_bench_estimator(run):
    rows = run("bench_estimator", "--quick", BATCH=4, STEPS=8)["rows"]
    assert list(dict.fromkeys(row["name"] for row in rows)) == ["gaze_estimator", "hands_estimator"]
    assert all(row["ratio_to_reference"] > 0 and row["gflops"] > 0 for row in rows)


@pytest.mark.slow
def test_bench_memory(run):
    rows = run("bench_memory", "--quick", COUNTS=(120, 400))["rows"]
    assert [(row["name"], row["images"]) for row in rows] == [
        (f"memory_{kind}", images) for kind in ("pack", "folder", "shards") for images in (12, 40)
    ]
    assert all(row["peak_memory_mb"] > 100 for row in rows) and rows[1]["growth_mb"] < 50


@pytest.mark.slow
def test_bench_stream(run):
    share, history, drawn, *grown = run("bench_stream", COUNTS=(300,), BATCH=4, DRAWS=2)["rows"]
    assert (share["name"], history["name"]) == ("data_share", "history")
    assert 0 < share["share_of_step"] < 1 and history["ratio_to_reference"] > 0
    assert drawn["name"] == "data_share_drawn" and 0 < drawn["share_of_step"] < 1
    assert {row.get("held") for row in grown} == {None, "Resident"}
    assert [(row["name"], row["images"]) for row in grown] == [("pack", 300), ("stream", 300)]


def test_bench_render(run):
    rows = run("bench_render", "--quick")["rows"]
    names = ["render_gaze", "render_gaze_camera", "render_hands", "render_hands_camera"]
    assert [row["name"] for row in rows] == names
    assert all(row["images_per_second"] > 0 and row["batch"] == 256 for row in rows)


@pytest.mark.slow
def test_bench_hands(run):
    rows = run("bench_hands", "--quick", PATCH=16)["rows"]
    assert {row["name"] for row in rows} == {f"hands_{kind}_{part}" for kind in ("patch", "whole") for part in PARTS}


@pytest.mark.slow
def test_bench_size(run):
    rows = run("bench_size", "--quick")["rows"]
    assert [(row["name"], row["batch"], row["to_best"]) for row in rows] == [("size_batch", 4, 1)]
    rows = run("bench_size", "--repeats", "1", BATCHES=(2, 4), SIDES=((8, 12), (16, 24)))["rows"]
    names = ["size_batch"] * 2 + ["size_image"] * 6 + ["size_processes"] * 2 + ["size_hands"]
    assert [row["name"] for row in rows] == names and all(0 < row["to_best"] <= 1 for row in rows)


@pytest.mark.slow
def test_bench_start(run):
    written = run("bench_start", "--quick")
    rows = {row.get("what"): row for row in written["rows"]}
    assert "torch" not in rows["import synthreal"]["heavy"] and "torch" in rows["synthreal.Refine"]["heavy"].split()
    assert 1_800 < rows["1,000 to 50,000 images"]["mb_per_million"] < 4_000  # 1,925 bytes per image


def test_bench_profile(run):
    rows = run("bench_profile", "--quick", BATCH=4)["rows"]
    precisions = dict.fromkeys(row["precision"] for row in rows)
    for precision in precisions:
        shares = {
            row["what"]: row["share_of_update"]
            for row in rows
            if "share_of_update" in row and row["precision"] == precision
        }
        assert abs(sum(shares.values()) - 1) < 0.01 and shares["blocks, backwards"] > shares["blocks, forwards"] > 0.1
    kernels = [row["gflops"] * row["seconds"] for row in rows if row["name"] == "kernel"]
    one = 2 * 4 * 35 * 55 * 64 * 64 * 9 / 1e9  # a 3x3 convolution of 64 maps to 64, on four images
    assert kernels == [pytest.approx(work, rel=1e-2) for work in (one, one, one, 3 * one)] * len(precisions)


@pytest.mark.slow
def test_bench_processes(run):
    one, two = run("bench_processes", "--quick", BATCH=4, STEPS=4, WIDTH=4)["rows"]
    assert (one["processes"], one["ratio_to_one"], two["processes"]) == (1, 1.0, 2)
    assert two["images_per_second"] > 0 and two["cpu_ratio"] > 1  # two processes cost more to start than one


@pytest.mark.slow
def test_bench_large(run):
    (row,) = run("bench_large", "--quick", PICTURES=3, SETTINGS=SHORT)["rows"]
    assert row["images"] == 3 and row["peak_memory_mb"] > 100
    assert 0 < row["cpu_minutes"] and 0 < row["minutes"] < 3


def test_verdicts(run, toy_run, tmp_path):
    runs = []
    for name, shares in (("a-1", (0.4, 0.6)), ("a-2", (0.6, 0.4)), ("b-1", (1.2, 1.3))):
        runs.append(shutil.copytree(toy_run, tmp_path / name))
        arms = dict(zip(("simulated", "refined", "fda"), (1.0, *shares), strict=True))
        errors = {"simulated": 10.0, "refined": 8.0, "fda": 8.4}
        evaluation = schema.Evaluation(
            runs=(name,),
            split="validation",
            test=schema.TestSet(name="mine", n=10),
            preservation=None,
            constant={"error_px": 20.0},
            primary="error_px",
            arms={arm: schema.Arm(metrics={"error_px": schema.Metric(mean=error)}) for arm, error in errors.items()},
            quality={
                arm: schema.Quality(kid=share, sliced_wasserstein=share, spectrum=share) for arm, share in arms.items()
            },
        )
        (runs[-1] / "validation.json").write_text(json.dumps(evaluation.to_json()))
    *rows, a, b, everything = run("verdicts", "--runs", *map(str, runs))["rows"]
    assert [(row["use"], row["named"], row["best"]) for row in rows] == [
        ("refined", "refined", "refined"),
        ("style", "fda", "refined"),
        ("nothing", "simulated", "refined"),
    ]
    assert [row["excess_percent"] for row in rows] == [0, 5, 25]
    assert (a["runs"], a["right"], a["mean_excess_percent_otherwise"]) == (2, 1, 5)
    assert (b["right"], everything["runs"], everything["right"]) == (0, 3, 1)
    assert everything["mean_excess_percent_otherwise"] == 15


@pytest.mark.slow
@pytest.mark.usefixtures("short_two_sample_tests")
def test_weights(run, small, tmp_path):
    module = small("weights")
    short = {"refiner_steps": 1, "discriminator_steps": 1, "steps": 12, "report_every": 10}
    settings = {"schedule": short, "quality": {"images": 20}, "evaluation": {"images": 40, "epochs": 1}}
    domain = module.DOMAINS["dials"]._replace(settings=settings)
    written = run("weights", "--runs", str(tmp_path / "runs"), DOMAINS={"dials": domain}, STARTS=(2, 32), SEEDS=(0,))
    rows, (fixed, auto) = written["rows"][:4], written["rows"][4:]
    assert [(row["kind"], row["start"]) for row in rows] == [("fixed", 2), ("fixed", 32), ("auto", 2), ("auto", 32)]
    assert [row["lambda"] for row in rows[:2]] == [2, 32] and rows[2]["lambda"] != 2 and rows[3]["lambda"] != 32
    assert all(row["error_refined"] > 0 and len(row["quality"]) == 4 for row in rows)
    assert all(row["displacement_px"] > 0 and not row["path"] for row in rows[:2])
    assert auto["least_lambda"] == min(row["lambda"] for row in rows[2:])
    assert fixed["worst_start"] == max(row["error_refined"] for row in rows[:2])
    saved = {path: path.stat().st_mtime_ns for path in tmp_path.glob("runs/*/validation.json")}
    again = run("weights", "--runs", str(tmp_path / "runs"), DOMAINS={"dials": domain}, STARTS=(2, 32), SEEDS=(0,))
    assert again["rows"] == written["rows"]
    assert saved == {path: path.stat().st_mtime_ns for path in saved} and len(saved) == 4


def test_every_benchmark_has_a_test():
    named = {name.removeprefix("test_") + ".py" for name in globals() if name.startswith("test_bench_")}
    assert {path.name for path in BENCHMARKS.glob("bench_*.py")} == named


def test_the_limit_is_measured_or_unknown(small, monkeypatch):
    limit, record = small("limit"), small("record")
    found = limit.limit_gflops(torch.device("cpu"))
    assert found["fp32"] is None or found["fp32"] > 1
    monkeypatch.setenv("CC", "no-such-compiler")
    assert limit.limit_gflops(torch.device("cpu")) == {"fp32": None, "bf16": None}
    assert limit.higher({"fp32": 2.0, "bf16": None}, {"fp32": 3.0, "bf16": None}) == {"fp32": 3.0, "bf16": None}
    work = {"gflop": 200.0, "wall": 2.0, "cpu": 4.0}
    assert record.share(work, {"fp32": 100.0}, "fp32", "cpu") == 0.5
    assert record.share(work, {"fp32": 200.0}, "fp32", "cuda") == 0.5
    assert record.share(work, {"fp32": None}, "fp32", "cpu") is None


def test_gpu_time_is_the_mean_of_repeated_calls(small, monkeypatch):
    clock, now = small("clock"), [0.0]
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    monkeypatch.setattr(clock.time, "perf_counter", lambda: now[0])
    calls = []

    def call():
        calls.append(now[0])
        now[0] += 0.01

    seconds = clock.spent(call, torch.device("cuda"))
    assert seconds["wall"] == pytest.approx(0.01)
    assert 0.01 * len(calls) == pytest.approx(clock.UNTIMED + clock.TIMED, abs=0.03)
    for device, once in (("cuda", True), ("cpu", False)):
        calls.clear()
        clock.spent(call, torch.device(device), once=once)
        assert len(calls) == 1


def test_a_share_above_one_is_an_error_after_writing(small, tmp_path, monkeypatch):
    record, target = small("record"), tmp_path / "x.json"
    monkeypatch.setattr("sys.argv", ["bench_x.py"])
    options = SimpleNamespace(device="cpu", threads=1, json=target)
    turns = [{"wall": 1.0, "cpu": 1.0}]
    row = record.timed_row("x", options=options, batch=4, precision="fp32", images=4, gflop=101.0, turns=turns)
    with pytest.raises(SystemExit, match=r"^x: .* limit"):
        record.finish(options, {"fp32": 100.0, "bf16": None}, [row])
    assert json.loads(target.read_text())["rows"][0]["share_of_limit"] == 1.01


def test_rows_contain_medians_and_ratios_of_neighbouring_turns(small):
    record = small("record")
    turns = [{"wall": wall, "cpu": wall / 2} for wall in (1.0, 2.0, 10.0)]
    against = [{"wall": wall, "cpu": wall} for wall in (3.0, 8.0, 20.0)]
    options = SimpleNamespace(threads=2)
    row = record.timed_row(
        "x", options=options, batch=4, precision="fp32", images=8, gflop=6.0, turns=turns, against=against
    )
    assert (row["seconds"], row["cpu_seconds"], row["images_per_second"], row["gflops"]) == (2.0, 1.0, 4.0, 3.0)
    assert (row["ratio_to_reference"], row["ratio_spread"], row["ratio_cpu_seconds"]) == (3.0, [2.0, 4.0], 6.0)
    assert row["work"] == {"gflop": 6.0, "wall": 2.0, "cpu": 1.0} and row["threads"] == 2


@pytest.mark.slow
def test_a_slow_reference_is_an_error(run, small, monkeypatch):
    monkeypatch.setattr(small("bench_step"), "ENOUGH", 100.0)
    with pytest.raises(SystemExit, match=r"of a bare nn.Sequential"):
        run("bench_step", "--quick")


def test_quick_on_a_gpu_measures_bfloat16_only(small):
    precisions = small("record").precisions
    assert precisions(SimpleNamespace(device="cuda", quick=True)) == ["bf16"]
    assert precisions(SimpleNamespace(device="cuda", quick=False)) == ["fp32", "bf16"]


def test_wrong_arguments_are_one_line(small, monkeypatch, capsys, tmp_path):
    for name, flags, message in [
        ("bench_step", ["--device", "foo"], "argument --device: 'foo'"),
        ("bench_step", ["--device", "cuda:99"], "argument --device: 'cuda:99'"),
        ("bench_step", ["--threads", "0"], "argument --threads: '0'"),
        ("suite", ["--repeats", "few"], "argument --repeats: 'few'"),
        ("bench_step", ["--json", "."], "argument --json: .: cannot be written"),
        ("suite", ["--json", __file__ + "/x.json"], "cannot be written"),
    ]:
        monkeypatch.setattr("sys.argv", [f"{name}.py", "--json", str(tmp_path / "all.json"), *flags])
        with pytest.raises(SystemExit) as ended:
            small(name).main()
        assert ended.value.code == 2 and message in capsys.readouterr().err.splitlines()[-1]
        assert not list(tmp_path.iterdir())


def test_the_suite_writes_one_file_and_reports_failures(small, monkeypatch, tmp_path, capfd):
    suite, target = small("suite"), tmp_path / "all.json"
    monkeypatch.setattr(suite, "NAMES", ("render", "nothing"))
    monkeypatch.setattr("sys.argv", ["suite.py", "--json", str(target), "--quick", "--device", "cpu"])
    with pytest.raises(SystemExit) as ended:
        suite.main()
    result = json.loads(target.read_text())
    assert ended.value.code == 1 and set(result["benchmarks"]) == {"render"}
    assert "No such file" in result["failed"]["nothing"] and result["left_out"] == []
    assert "failed: ['nothing']" in capfd.readouterr().out


def test_the_suite_skips_benchmarks_after_its_budget(small, monkeypatch, tmp_path):
    suite, target = small("suite"), tmp_path / "all.json"
    monkeypatch.setattr("sys.argv", ["suite.py", "--json", str(target), "--budget", "0.01", "--device", "cpu"])
    with pytest.raises(SystemExit) as ended:
        suite.main()
    assert ended.value.code == 0
    assert json.loads(target.read_text())["left_out"] == list(suite.NAMES)


def test_the_suite_kills_a_benchmark_that_exceeds_the_budget(small, monkeypatch, tmp_path):
    suite, target = small("suite"), tmp_path / "all.json"
    sleeper = "import subprocess; subprocess.run(['sleep', '60'])"
    (tmp_path / "bench_sleep.py").write_text(sleeper)
    monkeypatch.setattr(suite, "HERE", tmp_path)
    monkeypatch.setattr(suite, "NAMES", ("sleep", "sleep"))
    monkeypatch.setattr("sys.argv", ["suite.py", "--json", str(target), "--budget", "1.5"])
    started = time.perf_counter()
    with pytest.raises(SystemExit) as ended:
        suite.main()
    assert ended.value.code == 0 and time.perf_counter() - started < 20
    assert json.loads(target.read_text())["left_out"] == ["sleep", "sleep"]


def test_a_terminated_suite_leaves_no_process(tmp_path):
    folder, told = shutil.copytree(BENCHMARKS, tmp_path / "benchmarks"), tmp_path / "pid"
    sleeper = f"import os, pathlib, time; pathlib.Path({str(told)!r}).write_text(str(os.getpid())); time.sleep(600)"
    (folder / "bench_step.py").write_text(sleeper)
    suite = subprocess.Popen([sys.executable, str(folder / "suite.py"), "--json", str(tmp_path / "all.json")])
    wait_for(lambda: told.is_file() and told.read_text())
    suite.terminate()
    assert suite.wait(30) == 143
    wait_for(lambda: not running(int(told.read_text())))


def running(pid):
    """Whether the process exists; a killed process exists until it is reaped."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_for(done):
    end = time.monotonic() + 60
    while not done():
        assert time.monotonic() < end
        time.sleep(0.05)
