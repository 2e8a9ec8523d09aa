"""The training loop: phases, files, bit-identical resuming, interruption and refusals."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch
from quick import QUICK, TOY, configured, files, fit_toy, flags, same, weights
from safetensors import safe_open

from synthreal.config import ScheduleConfig
from synthreal.core.game import update_discriminator, update_refiner
from synthreal.data.simulator import SimulatorSource
from synthreal.errors import UserError
from synthreal.hooks.catalog import Catalog
from synthreal.inference.transform import Refine
from synthreal.spec import Batch
from synthreal.train import checkpoint
from synthreal.train.fit import steps

KEYS = [
    "step",
    "phase",
    "loss_adversarial",
    "loss_regularization",
    "loss_discriminator",
    "accuracy_real",
    "accuracy_refined",
    "images_per_second",
    "warnings",
]
STEPS = 11


@pytest.fixture(autouse=True)
def default_sigint():
    """Handle Ctrl-C as in a terminal, even if the tests run in a background shell that ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def state(run_dir):
    return checkpoint.load(run_dir)


def log(run_dir, *, timed=True):
    lines = [json.loads(line) for line in (run_dir / "log.jsonl").read_text().splitlines()]
    return lines if timed else [{k: v for k, v in line.items() if k != "images_per_second"} for line in lines]


def stop_after(toy, run_dir, step, *settings, resume=False):
    """Train until ``step`` and save there, as Ctrl-C does."""
    done = 0

    def stopped():
        return done + 1 == step  # called after the step and before its report

    for report in steps(configured(toy, *settings), toy, run_dir, resume=resume, stopped=stopped):
        done = report.step
    assert done == step


def test_a_run_directory_has_the_documented_files_and_log_lines(toy_run):
    assert files(toy_run) == [
        "checkpoints/step-00000008.pt",
        "checkpoints/step-00000011.pt",
        "config.toml",
        "log.jsonl",
        "quality.json",
        "refiner.safetensors",
        "sheets/step-00000011.png",
        "styles.safetensors",
    ]
    lines = log(toy_run)
    assert [list(line) for line in lines[:-1]] == [KEYS] * (STEPS - 1)
    assert list(lines[-1]) == [*KEYS[:-1], "quality", KEYS[-1]]  # the quality of the last step is measured
    assert [line["step"] for line in lines] == list(range(1, STEPS + 1))
    assert [line["phase"] for line in lines] == ["refiner"] * 3 + ["discriminator"] * 2 + ["game"] * 6
    absent = {
        "refiner": {"loss_adversarial", "loss_discriminator", "accuracy_real", "accuracy_refined"},
        "discriminator": {"loss_adversarial", "loss_regularization"},
        "game": set(),
    }
    for line in lines:
        assert {key for key, value in line.items() if value is None} == absent[line["phase"]]
        assert line["images_per_second"] > 0
        assert all(0 <= line[key] <= 1 for key in ("accuracy_real", "accuracy_refined") if line[key] is not None)
    kinds = [[warning.partition(":")[0] for warning in line["warnings"]] for line in lines]
    assert kinds == [["few real images"], *[[]] * (STEPS - 2), ["collapse", "drifting labels"]]


def test_reports_are_made_at_intervals_after_each_phase_and_at_the_end(toy, tmp_path):
    fit_toy(toy, tmp_path / "run", "schedule.report_every=4")
    assert [line["step"] for line in log(tmp_path / "run")] == [3, 4, 5, 8, 11]


def test_a_report_is_the_mean_over_its_steps(toy, toy_run, tmp_path):
    fit_toy(toy, tmp_path / "run", "schedule.report_every=3")
    each = {line["step"]: line for line in log(toy_run)}
    line = next(line for line in log(tmp_path / "run") if line["step"] == 9)
    for key in ("loss_discriminator", "loss_adversarial", "accuracy_real"):
        assert line[key] == pytest.approx(sum(each[step][key] for step in (7, 8, 9)) / 3, rel=1e-5)


@pytest.mark.parametrize(("k_g", "k_d"), [(2, 1), (1, 3)])
def test_updates_and_images_are_counted_as_in_algorithm_1(toy, tmp_path, k_g, k_d):
    fit_toy(toy, tmp_path / "run", f"schedule.refiner_updates={k_g}", f"schedule.discriminator_updates={k_d}")
    saved = state(tmp_path / "run")
    updates = {
        network: {int(entry["step"]) for entry in saved[f"optimizer_{network}"]["state"].values()}
        for network in ("refiner", "discriminator")
    }
    assert updates == {"refiner": {3 + 6 * k_g}, "discriminator": {2 + 6 * k_d}}
    assert saved["seen"] == {"simulated": 3 + 2 + 6 * (k_g + k_d), "real": 2 + 6 * k_d}


def test_phases():
    schedule = ScheduleConfig(refiner_steps=2, discriminator_steps=1, steps=2)
    assert [schedule.phase(step) for step in range(5)] == ["refiner", "refiner", "discriminator", "game", "game"]
    no_warm_up = ScheduleConfig(refiner_steps=0, discriminator_steps=0, steps=1)
    assert no_warm_up.phase(0) == "game"


def test_a_phase_does_not_change_the_other_network(toy, tmp_path):
    fit_toy(toy, tmp_path / "a", "schedule.steps=0", "schedule.discriminator_steps=0")
    fit_toy(toy, tmp_path / "b", "schedule.steps=0")
    before, after = state(tmp_path / "a"), state(tmp_path / "b")
    assert same(before["refiner"], after["refiner"])
    assert not same(before["discriminator"], after["discriminator"])
    assert before["optimizer_discriminator"]["state"] == {}


@pytest.mark.parametrize("ema", ["0.9", "none"])
def test_the_weights_file_has_the_averaged_or_the_raw_refiner(toy, tmp_path, ema):
    run = tmp_path / "run"
    fit_toy(toy, run, f"optimizer.ema={ema}")
    with safe_open(run / "refiner.safetensors", framework="pt") as file:
        metadata, stored = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}
    assert (metadata["step"], metadata["kind"]) == ("11", "raw" if ema == "none" else "ema")
    saved = state(run)
    raw = saved["refiner"]
    if ema == "none":
        assert same(stored, raw)
    else:
        assert same(stored, {k.removeprefix("module."): v for k, v in saved["average"].items() if k != "n_averaged"})
        assert not same(stored, raw)
    assert same(stored, dict(Refine.load(run).refiner.state_dict()))


VARIANTS = {
    "adam, ema, noise": ("refiner.options.noise_channels=1",),
    "sgd": ('optimizer.refiner={name="sgd", learning_rate=0.05, momentum=0.9}',),
    "history off, raw": ("history=none", "optimizer.ema=none"),
    "float16 history": ("history.dtype=float16",),
    "drawn without end": ("data.simulated.count=none", "data.real.count=none"),
    "updates": ("schedule.refiner_updates=1", "schedule.discriminator_updates=2"),
}


@pytest.fixture(scope="module")
def whole(toy, tmp_path_factory):
    """Uninterrupted runs, one for each variant."""
    made = {}

    def get(variant):
        if variant not in made:
            made[variant] = tmp_path_factory.mktemp("whole") / "run"
            fit_toy(toy, made[variant], *VARIANTS[variant])
        return made[variant]

    return get


def assert_same_run(one, other):
    first, second = state(one), state(other)
    different = [key for key in first if not same(first[key], second[key])]
    assert different == []
    assert weights(one) == weights(other)
    assert log(one, timed=False) == log(other, timed=False)
    assert (one / "config.toml").read_bytes() == (other / "config.toml").read_bytes()
    assert (one / "sheets/step-00000011.png").read_bytes() == (other / "sheets/step-00000011.png").read_bytes()


# Step 1 is within a phase, steps 3 and 5 end one, step 8 is within the game.
@pytest.mark.parametrize("step", [1, 3, 5, 8])
def test_a_resumed_run_equals_the_uninterrupted_one_to_the_bit(toy, whole, tmp_path, step):
    settings = VARIANTS["adam, ema, noise"]
    stop_after(toy, tmp_path / "run", step, *settings)
    assert [path.name for path in checkpoint.checkpoints(tmp_path / "run")][-1] == f"step-{step:08d}.pt"
    torch.rand(7)  # the global generator must not matter
    fit_toy(toy, tmp_path / "run", *settings, resume=True)
    assert_same_run(tmp_path / "run", whole("adam, ema, noise"))


@pytest.mark.parametrize("variant", list(VARIANTS)[1:])
def test_every_kind_of_state_is_restored(toy, whole, tmp_path, variant):
    stop_after(toy, tmp_path / "run", 7, *VARIANTS[variant])
    stop_after(toy, tmp_path / "run", 9, *VARIANTS[variant], resume=True)
    fit_toy(toy, tmp_path / "run", *VARIANTS[variant], resume=True)
    assert_same_run(tmp_path / "run", whole(variant))


def test_packs_on_disk_and_on_the_device_train_alike_and_resume(toy, tmp_path, cli):
    for name, role in (("simulated", "discs"), ("real", "photographs")):
        cli("prepare", role, tmp_path / f"{name}.h5", "--plugin", TOY, "--limit", 33).ok()
    packs = [f'data.{name}={{name="pack", options={{path="{tmp_path}/{name}.h5"}}}}' for name in ("simulated", "real")]
    fit_toy(toy, tmp_path / "resident", *packs)
    stop_after(toy, tmp_path / "disk", 7, *packs, "runtime.resident_gib=0")
    fit_toy(toy, tmp_path / "disk", *packs, "runtime.resident_gib=0", resume=True)
    assert same(state(tmp_path / "resident")["refiner"], state(tmp_path / "disk")["refiner"])


def test_resuming_removes_what_a_kill_has_left_beside_the_checkpoints(toy, tmp_path):
    fit_toy(toy, tmp_path)
    folder = tmp_path / "checkpoints"
    before = sorted(folder.iterdir())
    for name in ("step-00000001.pt", ".step-00000003.pt.1.partial"):
        (folder / name).touch()
    fit_toy(toy, tmp_path, resume=True)
    assert sorted(folder.iterdir()) == before


def test_a_killed_run_resumes_from_its_last_checkpoint_and_rewrites_the_log(toy, whole, tmp_path):
    settings = VARIANTS["adam, ema, noise"]
    run = steps(configured(toy, *settings), toy, tmp_path / "run")
    for report in run:
        if report.step == 7:
            break
    run.close()
    with (tmp_path / "run/log.jsonl").open("a") as file:
        file.write('{"step": 8, "ph')  # killed while writing a line
    assert [path.name for path in checkpoint.checkpoints(tmp_path / "run")] == ["step-00000004.pt"]
    fit_toy(toy, tmp_path / "run", *settings, resume=True)
    assert_same_run(tmp_path / "run", whole("adam, ema, noise"))


def test_after_deleting_a_damaged_checkpoint_the_run_resumes_from_the_earlier_one(toy, whole, tmp_path):
    settings = VARIANTS["adam, ema, noise"]
    stop_after(toy, tmp_path / "run", 7, *settings)
    newest = checkpoint.checkpoints(tmp_path / "run")[-1]
    newest.write_bytes(newest.read_bytes()[:-1000])
    with pytest.raises(UserError, match=r"step-00000007\.pt: .*delete it"):
        fit_toy(toy, tmp_path / "run", *settings, resume=True)
    newest.unlink()
    fit_toy(toy, tmp_path / "run", *settings, resume=True)
    assert_same_run(tmp_path / "run", whole("adam, ema, noise"))


def test_a_run_extended_by_a_longer_schedule_equals_one_of_that_length(toy, tmp_path):
    fit_toy(toy, tmp_path / "run")
    fit_toy(toy, tmp_path / "run", "schedule.steps=9", resume=True)
    fit_toy(toy, tmp_path / "once", "schedule.steps=9")
    assert same(state(tmp_path / "run")["refiner"], state(tmp_path / "once")["refiner"])
    assert weights(tmp_path / "run") == weights(tmp_path / "once")
    assert "steps = 9" in (tmp_path / "run/config.toml").read_text()


def test_resuming_a_complete_run_changes_nothing(toy, toy_run, tmp_path):
    shutil.copytree(toy_run, tmp_path / "run")
    before = {name: (tmp_path / "run" / name).read_bytes() for name in files(tmp_path / "run")}
    assert fit_toy(toy, tmp_path / "run", resume=True) is None
    assert before == {name: (tmp_path / "run" / name).read_bytes() for name in files(tmp_path / "run")}


def test_resuming_accepts_changes_that_do_not_affect_training(toy, toy_run, tmp_path):
    settings = [
        "evaluation.epochs=5",
        "evaluation.evaluator=none",
        "runtime.threads=none",
        "runtime.resident_gib=1",
        "schedule.report_every=7",
    ]
    if not torch.cuda.is_available():
        settings.append("runtime.device=auto")
    stop_after(toy, tmp_path / "run", 7)
    fit_toy(toy, tmp_path / "run", *settings, resume=True)
    assert weights(tmp_path / "run") == weights(toy_run)


TRAINING_SETTINGS = (
    "runtime.seed=1",
    "runtime.precision=bfloat16",
    "schedule.steps=5",
    "schedule.refiner_steps=4",
    "schedule.batch=10",
    "schedule.refiner_updates=3",
    "loss.weight=2.0",
    "history=none",
    "history.size=20",
    "optimizer.ema=none",
    "optimizer.refiner.learning_rate=0.1",
    "features=gradients",
    "refiner.options.padding=zeros",
    "discriminator.name=global",
    "data.simulated.options.radius=1.0",
    "data.real.count=31",
)


def test_resuming_refuses_every_other_change_by_name(toy, toy_run):
    before = {name: (toy_run / name).read_bytes() for name in files(toy_run)}
    for setting in TRAINING_SETTINGS:
        with pytest.raises(UserError) as error:
            fit_toy(toy, toy_run, setting, resume=True)
        assert str(toy_run) in str(error.value)
        assert setting.partition("=")[0].removesuffix(".name") in str(error.value)
    assert before == {name: (toy_run / name).read_bytes() for name in files(toy_run)}


def test_an_existing_run_is_not_overwritten(toy, toy_run):
    with pytest.raises(UserError, match=rf"{toy_run}: .*--resume"):
        fit_toy(toy, toy_run)
    assert state(toy_run)["step"] == STEPS


INTERRUPTING = f"""
import os, signal, sys
sys.path.insert(0, {str(TOY.parent)!r})
from dataclasses import replace
import synthreal, toy
from toy import *

drawn = []
def camera(options, n, generator):
    drawn.append(n)
    if len(drawn) == 7 and "INTERRUPT" in os.environ:  # in the third step of the game, after levels and styles
        signal.raise_signal(getattr(signal, os.environ["INTERRUPT"]))  # os.kill may reach another thread later
    return toy.camera(options, n, generator)

@synthreal.hookimpl
def synthreal_datasets():
    for spec in toy.synthreal_datasets():
        yield replace(spec, render=camera) if spec.role == "real" else spec
"""


def test_an_interrupted_run_can_be_resumed_by_the_printed_command(tmp_path, cli, monkeypatch):
    (tmp_path / "my domain.py").write_text(INTERRUPTING)
    settings = flags(*QUICK, "data.real.count=none", "quality=none")
    monkeypatch.setenv("INTERRUPT", "SIGINT")
    done = cli("fit", "--plugin", tmp_path / "my domain.py", *settings, "--run", tmp_path / "a run")
    assert (done.code, done.out) == (130, "")
    message = done.err.splitlines()[-1]
    assert "step-00000008.pt" in message
    monkeypatch.delenv("INTERRUPT")
    assert f"step {STEPS}" in cli(*shlex.split(message.partition("continue with: synthreal ")[2])).ok().out


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_an_interrupt_saves_and_exits_with_130_and_the_resumed_run_equals_an_uninterrupted_one(tmp_path, cli, name):
    (tmp_path / "my domain.py").write_text(INTERRUPTING)
    settings = flags(*QUICK, "data.real.count=none", "quality=none")
    command = ["fit", "--plugin", str(tmp_path / "my domain.py"), *settings, "--run"]
    done = subprocess.run(
        [sys.executable, "-m", "synthreal", *command, tmp_path / "a run"],
        env={**os.environ, "INTERRUPT": name},
        capture_output=True,
        text=True,
        cwd=TOY.parent.parent,
    )
    assert (done.returncode, done.stdout) == (130, ""), done.stderr
    assert "Traceback" not in done.stderr
    message = done.stderr.splitlines()[-1]
    assert "step-00000008.pt" in message
    resume = message.partition("continue with: synthreal ")[2]
    cli(*shlex.split(resume)).ok()
    cli(*command, tmp_path / "whole").ok()
    assert_same_run(tmp_path / "a run", tmp_path / "whole")


IMPATIENT = INTERRUPTING.replace("len(drawn) == 7", "len(drawn) < 3")


def test_a_second_interrupt_before_anything_is_saved_leaves_nothing(tmp_path, cli, monkeypatch):
    """The first waits for the end of the step; the second, sent while images are drawn, ends the run at once."""
    (tmp_path / "impatient.py").write_text(IMPATIENT)
    monkeypatch.setenv("INTERRUPT", "SIGINT")
    command = ("fit", "--plugin", tmp_path / "impatient.py", "--run", tmp_path / "new/run")
    done = cli(*command, *flags(*QUICK, "data.real.count=600"))
    assert (done.code, done.out, done.err) == (130, "", "stopped before anything was saved\n")
    assert not (tmp_path / "new").exists()


def test_an_ignored_interrupt_stays_ignored(tmp_path, cli, monkeypatch):
    (tmp_path / "interrupting.py").write_text(INTERRUPTING)
    monkeypatch.setenv("INTERRUPT", "SIGINT")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    endless = "data.real.count=none"
    done = cli("fit", "--plugin", tmp_path / "interrupting.py", "--run", tmp_path / "run", *flags(*QUICK, endless)).ok()
    assert f"step {STEPS}" in done.out


def test_non_finite_losses_end_the_run_with_an_error_and_are_not_saved(toy, tmp_path):
    with pytest.raises(UserError, match=r"run: step \d+: .*not finite.*learning_rate"):
        fit_toy(
            toy,
            tmp_path / "run",
            'optimizer.refiner={name="sgd", learning_rate=1e38}',
            "schedule.save_every=1",
            "schedule.report_every=100",
        )
    for path in checkpoint.checkpoints(tmp_path / "run"):
        saved = torch.load(path, weights_only=True)
        assert all(torch.isfinite(value).all() for value in saved["refiner"].values())
    assert not list(tmp_path.rglob("*.partial"))


def test_a_simulator_outside_its_range_ends_the_run_at_a_report(toy, tmp_path, monkeypatch):
    def fail(source):
        raise UserError("data set 'discs': render returns a NaN, an infinite value or a pixel outside [0, 1]")

    monkeypatch.setattr(SimulatorSource, "check_drawn", fail)
    monkeypatch.setattr(SimulatorSource, "draw", lambda source, position, n: Batch(torch.rand(n, *source.image.shape)))
    with pytest.raises(UserError, match="data set 'discs': render returns"):
        fit_toy(toy, tmp_path / "run", "data.simulated.count=none", "quality=none", "evaluation.evaluator=none")
    assert not (tmp_path / "run/log.jsonl").exists() or not (tmp_path / "run/log.jsonl").read_text()


def test_the_folder_of_a_run_that_failed_before_saving_can_be_used_again(toy, tmp_path):
    with pytest.raises(UserError, match="not finite"):
        fit_toy(
            toy,
            tmp_path / "run",
            'optimizer.refiner={name="sgd", learning_rate=1e38}',
            "schedule.save_every=100",
        )
    assert "config.toml" not in files(tmp_path / "run")
    fit_toy(toy, tmp_path / "run")
    assert [line["step"] for line in log(tmp_path / "run")] == list(range(1, STEPS + 1))


GOLDEN = {
    "loss_regularization": (0.362653, 0.342145, 0.184766),
    "loss_adversarial": (None, 1.15964, 0.942180),
    "loss_discriminator": (None, 1.32021, 1.36576),
}


def test_the_golden_run(toy_run):
    """Detects a change of the mathematics, the seeds or the order of updates; float32, hence a tolerance of 1e-3."""
    lines = {line["step"]: line for line in log(toy_run)}
    for key, values in GOLDEN.items():
        logged = [lines[step][key] for step in (3, 6, 11)]
        assert logged == [None if value is None else pytest.approx(value, rel=1e-3) for value in values]


@pytest.mark.slow
def test_training_warnings_appear_in_degenerate_runs_only(toy, tmp_path):
    longer = ("schedule.refiner_steps=0", "schedule.discriminator_steps=0", "schedule.steps=120", "history.size=64",
              "schedule.batch=16", "schedule.report_every=10", "schedule.save_every=500", "data.real.count=200",
              "data.simulated.count=200", "refiner.options.width=8")  # fmt: skip
    kinds = {}
    for name, settings in {
        "healthy": (),
        "identity": ("loss.weight=1e4", "schedule.refiner_updates=4", "optimizer.refiner.learning_rate=1e-2"),
        "saturated": ("optimizer.discriminator.learning_rate=0.02", "optimizer.refiner.learning_rate=1e-9"),
    }.items():
        fit_toy(toy, tmp_path / name, *longer, *settings)
        lines = log(tmp_path / name)
        assert not any(line["warnings"] for line in lines if line["step"] < 30)  # no warnings in the first quarter
        kinds[name] = {warning.partition(":")[0] for line in lines for warning in line["warnings"]}
    assert kinds == {
        "healthy": set(),
        "identity": {"identity refiner"},
        "saturated": {"saturated discriminator", "drifting labels"},  # R keeps its initial weights
    }


@pytest.mark.slow
def test_lambda_trades_realism_for_similarity_to_the_input(toy, tmp_path):
    schedule = ("schedule.refiner_steps=40", "schedule.steps=60", "schedule.batch=16", "schedule.report_every=17")
    rates = [f"optimizer.{network}.learning_rate=0.01" for network in ("refiner", "discriminator")]
    losses_regularization, losses_adversarial = [], []
    for weight in ("0.0", "5.0", "1e4"):
        fit_toy(toy, tmp_path / weight, *schedule, *rates, "schedule.save_every=500", f"loss.weight={weight}")
        last = log(tmp_path / weight)[-1]
        losses_regularization.append(last["loss_regularization"])
        losses_adversarial.append(last["loss_adversarial"])
    assert (
        losses_regularization[2] < 0.6 * losses_regularization[1] < 0.36 * losses_regularization[0]
    )  # a huge lambda preserves the image
    assert losses_adversarial[2] > 1.1 * losses_adversarial[1] > 1.1 * losses_adversarial[0]


def test_without_a_history_no_past_image_reaches_d(toy, tmp_path):
    fit_toy(toy, tmp_path / "off", "history=none")
    fit_toy(toy, tmp_path / "on")
    off, on = state(tmp_path / "off"), state(tmp_path / "on")
    assert off["history"] is None
    assert on["history"]["filled"] == 12
    assert not same(off["discriminator"], on["discriminator"])


def test_a_global_discriminator_gives_one_logit_per_image(toy, tmp_path):
    fit_toy(toy, tmp_path / "run", "discriminator.name=global")
    shares = [line["accuracy_real"] * 8 for line in log(tmp_path / "run") if line["accuracy_real"] is not None]
    assert all(math.isclose(share, round(share), abs_tol=1e-5) for share in shares)
    assert state(tmp_path / "run")["discriminator"]["head.weight"].shape[0] == 2


def test_a_plugin_file_is_recorded_with_its_path_and_hash(toy_run):
    stored = tomllib.loads((toy_run / "config.toml").read_text())
    assert stored["plugins"] == [str(Path(TOY).resolve())]
    assert stored["versions"]["toy.py"] == f"sha256:{hashlib.sha256(TOY.read_bytes()).hexdigest()}"
    assert {"synthreal", "torch", "numpy", "kornia"} <= stored["versions"].keys()


def test_a_changed_plugin_gives_a_warning_in_the_resumed_run(toy, tmp_path):
    run = tmp_path / "run"
    stop_after(toy, run, 7)
    config = run / "config.toml"
    config.write_text(config.read_text().replace('"sha256:', '"sha256:0'))
    fit_toy(toy, run, resume=True)
    (message,) = [warning for line in log(run) for warning in line["warnings"] if "toy.py" in warning]
    assert message.startswith("toy.py was sha256:0")


DROPPING = f"""
import sys
sys.path.insert(0, {str(TOY.parent)!r})
import synthreal, torch, toy
from toy import *

class Dropping(toy.Tint):
    def forward(self, image):
        modes.append(self.training)
        return torch.nn.functional.dropout(super().forward(image), 0.5, self.training)

modes = []

@synthreal.hookimpl
def synthreal_networks():
    return [synthreal.NetworkSpec(name="dropping", part="refiner", build=lambda options, image: Dropping())]
"""


def test_sheets_use_the_refiner_in_eval_mode_and_training_continues_in_train_mode(tmp_path, monkeypatch):
    (tmp_path / "dropping.py").write_text(DROPPING)
    catalog = Catalog.of([str(tmp_path / "dropping.py")])
    drawn = []
    monkeypatch.setattr("synthreal.train.preview.save_sheet", lambda path, rows, **more: drawn.append(dict(rows)))
    settings = ("optimizer.ema=none", "schedule.sheet_every=5", "quality=none", "runtime.micro_batch=none")
    fit_toy(catalog, tmp_path / "run", "refiner=dropping", *settings)
    assert len(drawn) == 3
    torch.testing.assert_close(drawn[-1]["refined"], Refine.load(tmp_path / "run")(drawn[-1]["simulated"]))
    modes = catalog.networks["refiner", "dropping"].spec.build.__globals__["modes"]
    assert modes.count(False) == 5  # the dry run, three sheets and the line above
    assert all(modes[i + 1] for i, mode in enumerate(modes[:-2]) if not mode)  # training continues in train mode


def test_both_networks_train_on_patches_and_users_refine_whole_images(toy, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "synthreal.train.fit.update_refiner", lambda game, x, **how: seen.append(x) or update_refiner(game, x, **how)
    )
    monkeypatch.setattr(
        "synthreal.train.fit.update_discriminator",
        lambda game, x, y: seen.extend((x, y)) or update_discriminator(game, x, y),
    )
    fit_toy(toy, tmp_path / "run", "schedule.patch=8")
    assert len(seen) > 20 and {tuple(x.shape[1:]) for x in seen} == {(1, 8, 8)}
    assert state(tmp_path / "run")["history"]["images"].shape[1:] == (1, 8, 8)
    assert Refine.load(tmp_path / "run")(torch.rand(2, 1, 12, 16)).shape == (2, 1, 12, 16)


@pytest.mark.parametrize("settings", [["schedule.patch=8"], ["schedule.patch=8", "discriminator.name=global"]])
def test_a_run_on_patches_resumes_to_the_bit(toy, tmp_path, settings):
    fit_toy(toy, tmp_path / "whole", *settings)
    stop_after(toy, tmp_path / "cut", 7, *settings)
    fit_toy(toy, tmp_path / "cut", *settings, resume=True)
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")
