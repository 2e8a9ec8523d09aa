"""Several processes train like one: equal parameters, one writer, exact resuming, and an error if one of them dies."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import typer
from quick import QUICK, TOY, configured, files, fit_toy, flags, same, weights
from ranks import ALIKE, ROUNDED, everything, free_port, together, variables

from synthreal.cli import app
from synthreal.distributed import join as processes
from synthreal.distributed.join import process_group
from synthreal.distributed.processes import SINGLE_PROCESS, Processes
from synthreal.distributed.rank import REPORT_DELAY
from synthreal.distributed.signals import stop_signals
from synthreal.errors import UserError
from synthreal.inference.pretrained import LOG, weights_step
from synthreal.train import checkpoint, setup
from synthreal.train.fit import steps
from synthreal.train.setup import select_device, set_up

ROOT = TOY.parent.parent


def torchrun(*words, size=2, restarts=0, program=("-m", "synthreal")):
    """Start a command under torchrun."""
    launch = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={size}", f"--master-port={free_port()}"]
    return subprocess.Popen(
        [*launch, f"--max-restarts={restarts}", *map(str, (*program, *words))],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def output(process, within=300):
    """Wait for the process and return its stdout and stderr."""
    try:
        return process.communicate(timeout=within)
    finally:
        process.kill()


def ours(err):
    """The lines of stderr that the library printed, not torchrun."""
    return [line for line in err.splitlines() if line.startswith(("synthreal:", "warning:", "fitting", "stopped"))]


def wait_for(condition, within=300):
    """Wait until the condition holds."""
    until = time.monotonic() + within
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def lines(run):
    """The lines of a run's log."""
    path = run / LOG
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def worker(launcher, rank):
    """The id of the process that torchrun started for a rank."""
    (process_id,) = [
        int(child)
        for child in Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
        if f"RANK={rank}".encode() in Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
    ]
    return process_id


@pytest.fixture(scope="module")
def two_process_runs(tmp_path_factory):
    """Runs of two processes: see ``ranks.everything``, which has the assertions about the processes themselves."""
    folder = tmp_path_factory.mktemp("together")
    together(everything, folder)
    return folder


@pytest.mark.slow
def test_torchrun_trains_the_same_parameters_as_one_process(toy, tmp_path):
    run = tmp_path / "two"
    fitting = torchrun("fit", "--plugin", TOY, "--run-dir", run, *flags(*QUICK, *ALIKE))
    fit_toy(toy, tmp_path / "one", *ALIKE)
    out, err = output(fitting)
    assert fitting.returncode == 0, err
    assert out.startswith(f"{run}: step 20, saved the weights of step {weights_step(run)}") and out.count("\n") == 1
    assert [line.split()[0] for line in ours(err)][-1] == "fitting"
    two, one = checkpoint.load(run), checkpoint.load(tmp_path / "one")
    for network in ("refiner", "discriminator", "average"):
        for name, value in one[network].items():
            torch.testing.assert_close(two[network][name], value, rtol=0, atol=1e-5)
    assert files(run) == files(tmp_path / "one")
    assert (run / "config.toml").read_text() == (tmp_path / "one/config.toml").read_text()
    for mine, other in zip(lines(run), lines(tmp_path / "one"), strict=True):
        assert list(mine) == list(other)
        for key in ("loss_regularization", "loss_adversarial", "loss_discriminator", "accuracy_real"):
            assert mine[key] == (None if mine[key] is None else pytest.approx(other[key], abs=1e-5))


def test_two_processes_train_the_same_parameters_as_one(toy, two_process_runs, tmp_path):
    """Bit-identical with micro-batches; within rounding with whole mini-batches, whose sums have another order."""
    fit_toy(toy, tmp_path / "alike", *ALIKE)
    two, one = checkpoint.load(two_process_runs / "alike"), checkpoint.load(tmp_path / "alike")
    assert [key for key in one if not same(two[key], one[key])] == []
    assert weights(two_process_runs / "alike") == weights(tmp_path / "alike")
    fit_toy(toy, tmp_path / "rounded", *ALIKE, *ROUNDED)
    two, one = checkpoint.load(two_process_runs / "rounded"), checkpoint.load(tmp_path / "rounded")
    for network in ("refiner", "discriminator", "average"):
        for name, value in one[network].items():
            torch.testing.assert_close(two[network][name], value, rtol=0, atol=1e-5)


def test_a_run_stopped_by_one_process_resumes_to_the_bit_with_a_history_for_each_process(two_process_runs):
    whole, cut = (checkpoint.load(two_process_runs / name) for name in ("whole", "cut"))
    histories = [rank["history"]["images"] for rank in whole["ranks"]]
    assert [len(images) for images in histories] == [6, 6] and not torch.equal(*histories)
    assert whole["history"] is None
    assert [key for key in whole if not same(whole[key], cut[key])] == []
    assert weights(two_process_runs / "whole") == weights(two_process_runs / "cut")
    assert [line["step"] for line in lines(two_process_runs / "cut")] == list(range(1, 12))


def test_resuming_needs_as_many_processes_as_before(toy, two_process_runs, monkeypatch):
    run, settings = two_process_runs / "whole", ("refiner.options.noise_channels=1", "data.real.count=none")
    before = {name: (run / name).read_bytes() for name in files(run)}
    with pytest.raises(UserError, match=r"whole: .* 2 processes, not 1; .*--nproc-per-node=2"):
        fit_toy(toy, run, *settings, resume=True)
    assert before == {name: (run / name).read_bytes() for name in files(run)}
    monkeypatch.setattr("synthreal.train.setup.process_group", lambda: nullcontext(Processes(0, 3)))
    with pytest.raises(UserError, match=r"whole: .* 2 processes, not 3"):  # and not that 3 cannot share a batch
        with set_up(configured(toy), toy, run, resume=True):
            raise AssertionError


def test_torchrun_does_not_parse_our_options_as_its_own():
    """It accepts abbreviations of its options anywhere in the line: --run is one of --run-path."""
    from torch.distributed.run import get_args_parser

    commands = typer.main.get_command(app).commands
    options = [(cmd, name) for cmd in ("fit", "refine") for option in commands[cmd].params for name in option.opts]
    other_names = {"--run": "--run-dir", "--log": "--log-to"}
    assert len(options) > 12
    for command, name in options:
        words = [name, "value"] if name.startswith("--") else ["value"]
        if name in other_names:
            assert (command, other_names[name]) in options
            continue
        read = get_args_parser().parse_args(["--nproc-per-node=2", "-m", "synthreal", command, *words])
        assert read.training_script_args == [command, *words]


ENDLESS = ("quality=none", "schedule.steps=1000000", "schedule.save_every=50", "schedule.report_every=10")


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads /proc")
def test_a_killed_process_ends_the_job_with_its_error(tmp_path):
    run = tmp_path / "run"
    fitting = torchrun("fit", "--plugin", TOY, "--run-dir", run, *flags(*QUICK, *ENDLESS))
    wait_for(lambda: fitting.poll() is not None or len(checkpoint.checkpoints(run)) == 2)
    os.kill(worker(fitting, 1), signal.SIGKILL)
    _, err = output(fitting)
    assert fitting.returncode == 1
    assert "exitcode  : -9" in err and "rank      : 1" in err
    assert checkpoint.load(run)["step"] % 50 == 0
    assert not (run / ".lock").exists() and not list(run.rglob("*.partial"))


DYING = """    import os
    from pathlib import Path
    saved = list(Path(os.environ["DYING_RUN"]).glob("checkpoints/step-*.pt"))
    if os.environ.get("RANK") == "1" and os.environ.get("TORCHELASTIC_RESTART_COUNT") == "0" and saved:
        os._exit(9)
"""


@pytest.mark.slow
@pytest.mark.parametrize("resumed", [False, True])
def test_processes_restarted_by_torchrun_resume_the_run(tmp_path, monkeypatch, resumed):
    """They continue from the last checkpoint, whether the first attempt was a new or a resumed run."""
    run, plugin = tmp_path / "run", tmp_path / "dying.py"
    monkeypatch.setenv("DYING_RUN", str(run))
    head, end, body = TOY.read_text().partition("def simulator")
    line, arrow, body = body.partition("-> Batch:\n")
    plugin.write_text(head + end + line + arrow + DYING + body)
    drawn = ("fit", "--plugin", plugin, "--run-dir", run, *flags(*QUICK, "quality=none", "data.simulated.count=none"))
    if resumed:
        short = flags("schedule.steps=2", "schedule.save_every=100")
        out, err = output(torchrun(*drawn, *short))
        assert "step 7" in out, err
    fitting = torchrun(*drawn, *flags("schedule.save_every=3"), "--resume", restarts=1)
    out, err = output(fitting)
    assert fitting.returncode == 0 and "exitcode: 9" in err and "step 11" in out, err
    seen = [line["step"] for line in lines(run)]
    assert seen == sorted(seen) and seen[-1] == 11, "resumed instead of starting again"


def test_a_restart_resumes_an_existing_run_only_with_resume(cli, tmp_path, monkeypatch):
    fit = ("fit", "--plugin", TOY, "--run", tmp_path / "run", *flags(*QUICK, "quality=none"))
    assert "holds no run" in cli(*fit, "--resume").complaint()
    monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", "2")
    assert "step 11" in cli(*fit, "--resume").ok().out  # a new run
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert "already holds a run" in cli(*fit).complaint()
    assert "was complete already" in cli(*fit, "--resume").ok().out


@pytest.mark.slow
def test_a_loop_over_steps_runs_unchanged_under_torchrun(tmp_path):
    example = ROOT / "examples/03_own_loop.py"
    out, err = output(torchrun(tmp_path / "own", "--kid", 1000, "--seconds", 1e6, program=(example,)))
    both = sorted(line for line in out.splitlines() if "no detector" not in line)  # only rank 0 warns about data
    assert both.count("step 111: stopped") == 2 and both[::2] == both[1::2], err
    assert "refining changes dials by 0." in both[0]


@pytest.mark.slow
def test_without_torchrun_the_death_of_process_0_is_reported(tmp_path):
    both, port = [], free_port()
    for rank in (0, 1):
        command = [sys.executable, "-m", "synthreal", "fit", "--plugin", TOY, "--run", tmp_path / "run"]
        environment = {**os.environ, **variables(rank, 2, port), "PYTHONPATH": str(ROOT)}
        both.append(
            subprocess.Popen([*command, *flags(*QUICK, *ENDLESS)], env=environment, stderr=subprocess.PIPE, text=True)
        )
    wait_for(lambda: len(lines(tmp_path / "run")) > 3)
    both[0].kill()
    output(both[0])
    _, err = output(both[1])
    assert both[1].returncode == 1
    (message,) = [line for line in ours(err) if line.startswith("synthreal:")]
    assert "another process" in message and "--resume" in message


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads /proc")
@pytest.mark.parametrize("target", ["all, as Ctrl-C does", "torchrun", "torchrun, killed", "one process"])
def test_an_interrupt_saves_one_checkpoint_and_prints_how_to_resume(tmp_path, target):
    run = tmp_path / "run"
    fitting = torchrun("fit", "--plugin", TOY, "--run-dir", run, *flags(*QUICK, *ENDLESS, "schedule.save_every=100000"))
    wait_for(lambda: fitting.poll() is not None or len(lines(run)) > 3)
    if target == "torchrun":
        fitting.terminate()
    elif target == "torchrun, killed":
        fitting.kill()
    elif target == "one process":
        os.kill(worker(fitting, 1), signal.SIGTERM)
    else:
        os.killpg(fitting.pid, signal.SIGINT)
    out, err = output(fitting)
    assert out == ""
    (message,) = [line for line in ours(err) if line.startswith("stopped")]
    (saved,) = checkpoint.checkpoints(run)
    assert saved.name in message
    resume = shlex.split(message.partition("continue with: ")[2])
    assert resume[:4] == ["torchrun", "--nproc-per-node=2", "-m", "synthreal"]
    # the checkpoint is accepted by two processes: only the shorter schedule is refused
    out, err = output(torchrun(*resume[4:], *flags("schedule.steps=9")))
    (message,) = [line for line in ours(err) if line.startswith("synthreal:")]
    assert "schedule.steps" in message and "1000000" in message


@pytest.mark.slow
def test_a_mistake_of_the_user_is_reported_once(tmp_path):
    for word in ("schedule.batch=6", "loss.wait=3"):
        fitting = torchrun("fit", "--plugin", TOY, "--run-dir", tmp_path / "run", *flags(*QUICK, word))
        _, err = output(fitting)
        (message,) = [line for line in ours(err) if line.startswith("synthreal:")]
        assert word.partition("=")[0] in message
        assert "exitcode  : 2" in err and err.count("Traceback") == 1  # that of torchrun
        assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_no_process_aborts_at_exit(tmp_path):
    codes = []
    for number in range(10):
        fitting = torchrun("fit", "--plugin", TOY, "--run-dir", tmp_path / str(number), *flags(*QUICK, "quality=none"))
        _, err = output(fitting)
        codes.append(fitting.returncode)
        assert "terminate called" not in err
    assert codes == [0] * 10


@pytest.mark.parametrize("gone", [0, 5])
def test_a_loop_over_steps_saves_and_ends_if_torchrun_is_gone(toy, tmp_path, monkeypatch, gone):
    """Torchrun is gone during the set-up (0) or after a step."""

    def set_up(*arguments, **more):
        if gone == 0:
            monkeypatch.setattr("os.getppid", lambda: 1)
        return setup.set_up(*arguments, **more)

    monkeypatch.setattr(sys.modules["synthreal.train.fit"], "set_up", set_up)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    done = []
    for report in steps(configured(toy, "quality=none"), toy, tmp_path / "run"):
        done.append(report.step)
        if report.step == gone:
            monkeypatch.setattr("os.getppid", lambda: 1)
    assert done == list(range(1, gone + 2))
    assert checkpoint.load(tmp_path / "run")["step"] == gone + 1


def test_without_torchrun_there_is_a_single_process(monkeypatch):
    with process_group() as processes:
        assert processes is SINGLE_PROCESS and not torch.distributed.is_initialized()
    for size, rank in (("2", None), ("1", "0")):
        monkeypatch.setenv("WORLD_SIZE", size)
        if rank is not None:
            monkeypatch.setenv("RANK", rank)
        with process_group() as processes:
            assert processes is SINGLE_PROCESS


def test_missing_and_invalid_variables_are_named(monkeypatch):
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    for rank, size, offender in (
        ("0", "2", "MASTER_ADDR"),
        ("0", "two", "RANK=0"),
        ("2", "2", "RANK=2"),
        ("1", None, "RANK=1"),
    ):
        monkeypatch.setenv("RANK", rank)
        monkeypatch.delenv("WORLD_SIZE", raising=False)
        if size is not None:
            monkeypatch.setenv("WORLD_SIZE", size)
        with pytest.raises(UserError, match=f"{offender}.*torchrun") as error, process_group():
            pass
        assert "\n" not in str(error.value)


def test_missing_peers_and_an_occupied_port_are_reported(monkeypatch):
    monkeypatch.setattr(processes, "RENDEZVOUS", timedelta(seconds=1))
    for name, value in variables(0, 2, free_port()).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=r"1/2 clients joined.*WORLD_SIZE"), process_group():
        pass
    with socket.create_server(("", 0)) as listener:
        monkeypatch.setenv("MASTER_PORT", str(listener.getsockname()[1]))
        with pytest.raises(UserError, match=r"EADDRINUSE.*torchrun"), process_group():
            pass


def test_a_batch_that_cannot_be_divided_is_refused(toy):
    for size, settings, remedy in (
        (3, ("schedule.batch=8",), "multiple of 3"),
        (3, ("schedule.batch=8", "history=none"), "multiple of 3"),
        (2, ("schedule.batch=6",), "multiple of 4.*history=none"),
    ):
        with pytest.raises(UserError, match=f"{settings[0]} .*{size} processes.*{remedy}"):
            select_device(configured(toy, *settings), Processes(0, size))


def test_each_process_uses_the_gpu_of_its_local_rank(toy, monkeypatch):
    selected = []
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.set_device", selected.append)
    monkeypatch.setattr("torch.distributed.new_group", lambda backend, timeout: backend)
    monkeypatch.setattr(Processes, "any", lambda processes, flag: flag)
    for setting in ("auto", "cuda"):
        device, processes = select_device(
            configured(toy, f"runtime.device={setting}"), Processes(3, 4, local_rank=1, local_size=2)
        )
        assert (device, processes.devices) == (torch.device("cuda:1"), "nccl")
    assert selected == [torch.device("cuda:1")] * 2
    device, processes = select_device(configured(toy, "runtime.device=cpu"), Processes(1, 2))
    assert (device, processes.devices) == (torch.device("cpu"), "gloo")
    with pytest.raises(UserError, match=r"runtime\.device=cuda:1.*2 processes"):
        select_device(configured(toy, "runtime.device=cuda:1"), Processes(1, 2))
    alike = configured(toy, "runtime.device=auto", "schedule.batch=12")
    with pytest.raises(UserError, match=r"GPUs \(2 .*process 2"):
        select_device(alike, Processes(2, 3, local_rank=2))
    monkeypatch.setattr(Processes, "any", lambda processes, flag: True)
    with pytest.raises(UserError, match=r"GPUs \(2 .*process 0"):
        select_device(alike, Processes(0, 3))


def test_processes_of_torchrun_ignore_a_second_signal():
    for patient in (False, True):
        second = []
        before = signal.signal(signal.SIGTERM, lambda number, frame, second=second: second.append(number))
        with stop_signals(patient=patient) as stopped:
            for _ in range(2):
                signal.raise_signal(signal.SIGTERM)
        signal.signal(signal.SIGTERM, before)
        assert stopped.is_set()
        assert second == ([] if patient else [signal.SIGTERM])


def test_a_closing_terminal_may_send_its_signal_twice():
    before, second = {}, []
    for number in (signal.SIGHUP, signal.SIGTERM):
        before[number] = signal.signal(number, lambda number, frame: second.append(number))
    with stop_signals() as stopped:
        for number in (signal.SIGHUP, signal.SIGHUP, signal.SIGTERM, signal.SIGHUP):
            signal.raise_signal(number)
        assert stopped.is_set() and second == []
        signal.raise_signal(signal.SIGTERM)
    assert second == [signal.SIGTERM]
    assert signal.getsignal(signal.SIGHUP) is not signal.SIG_DFL
    for number, handler in before.items():
        signal.signal(number, handler)


def test_process_0_reports_a_common_error_at_once_and_the_others_later(cli, monkeypatch, tmp_path):
    waited = []
    monkeypatch.setattr("synthreal.distributed.rank.time.sleep", waited.append)
    nowhere = ("refine", tmp_path / "run", tmp_path / "in.h5", tmp_path / "out.h5")
    for rank, delays in (("0", []), ("1", [REPORT_DELAY] * 3)):
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("WORLD_SIZE", "2")
        assert "No such option" in cli("fit", "--nonsense").complaint()
        assert "holds no run" in cli(*nowhere).complaint()
        assert "half" in cli(*nowhere, "--precision", "half").complaint()
        assert waited == delays


def test_commands_for_one_process_are_refused_under_torchrun(cli, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name, word in (("RANK", "0"), ("WORLD_SIZE", "2"), ("TORCHELASTIC_RUN_ID", "none")):
        monkeypatch.setenv(name, word)
    for command in typer.main.get_command(app).commands.keys() - {"fit", "refine"}:
        message = cli(command).complaint()
        assert command in message and "torchrun" in message
    monkeypatch.setenv("WORLD_SIZE", "1")
    cli("show", "--plugin", TOY).ok()
    monkeypatch.delenv("TORCHELASTIC_RUN_ID")
    monkeypatch.setenv("RANK", "3")  # set by another program
    cli("show", "--plugin", TOY).ok()
