"""Several processes fit as one: the same parameters, one writer, exact resuming, and an end when one of them dies."""

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
from ranks import ALIKE, ROUNDED, die, everything, free_port, together, variables

from synthreal.cli import app
from synthreal.distributed import join as processes
from synthreal.distributed.join import process_group
from synthreal.distributed.processes import SINGLE_PROCESS, Processes
from synthreal.distributed.rank import REPORT_DELAY
from synthreal.distributed.signals import stop_signals
from synthreal.errors import UserError
from synthreal.inference.pretrained import weights_step
from synthreal.train import checkpoint, setup
from synthreal.train.fit import steps
from synthreal.train.log import LOG
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


def ended(process, within=300):
    """Its output and error, when it has ended by itself."""
    try:
        return process.communicate(timeout=within)
    finally:
        process.kill()


def ours(err):
    """The lines of stderr that the library printed, not torchrun."""
    return [line for line in err.splitlines() if line.startswith(("synthreal:", "warning:", "fitting", "stopped"))]


def wait_for(condition, within=300):
    """Look until it is so."""
    until = time.monotonic() + within
    while not (found := condition()):
        assert time.monotonic() < until
        time.sleep(0.05)
    return found


def lines(run):
    """The lines of a run's log."""
    path = run / LOG
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def worker(launcher, rank):
    """The process torchrun started for a rank."""
    (found,) = [
        int(child)
        for child in Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
        if f"RANK={rank}".encode() in Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
    ]
    return found


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """What two processes did together: see ``ranks.everything``, which asserts what can only be seen there."""
    folder = tmp_path_factory.mktemp("together")
    together(everything, folder)
    return folder


def test_two_processes_come_to_the_parameters_of_one(toy, tmp_path):
    run = tmp_path / "two"
    fitting = torchrun("fit", "--plugin", TOY, "--run-dir", run, *flags(*QUICK, *ALIKE))
    fit_toy(toy, tmp_path / "one", *ALIKE)
    out, err = ended(fitting)
    assert fitting.returncode == 0, err
    kept = f"weights of step {weights_step(run)} kept"
    assert out == f"{run}: step 20, {kept}; sheets in {run}/sheets; judge it with: synthreal evaluate {run}\n"
    assert [line.split()[0] for line in ours(err)][-1] == "fitting"
    two, one = checkpoint.load(run), checkpoint.load(tmp_path / "one")
    for player in ("refiner", "discriminator", "average"):
        for name, value in one[player].items():
            torch.testing.assert_close(two[player][name], value, rtol=0, atol=1e-5)
    assert files(run) == files(tmp_path / "one")
    assert (run / "config.toml").read_text() == (tmp_path / "one/config.toml").read_text()
    for mine, other in zip(lines(run), lines(tmp_path / "one"), strict=True):
        assert list(mine) == list(other)
        for key in ("loss_regularization", "loss_adversarial", "loss_discriminator", "accuracy_real"):
            assert mine[key] == (None if mine[key] is None else pytest.approx(other[key], abs=1e-5))


def test_on_a_cpu_they_are_the_same_to_the_bit(toy, shown, tmp_path):
    fit_toy(toy, tmp_path / "one", *ALIKE)
    two, one = checkpoint.load(shown / "alike"), checkpoint.load(tmp_path / "one")
    assert [key for key in one if not same(two[key], one[key])] == []
    assert weights(shown / "alike") == weights(tmp_path / "one")


def test_where_sums_round_otherwise_small_steps_come_to_the_same(toy, shown, tmp_path):
    fit_toy(toy, tmp_path / "one", *ALIKE, *ROUNDED)
    two, one = checkpoint.load(shown / "rounded"), checkpoint.load(tmp_path / "one")
    for player in ("refiner", "discriminator", "average"):
        for name, value in one[player].items():
            torch.testing.assert_close(two[player][name], value, rtol=0, atol=1e-5)


def test_each_process_keeps_a_history_of_its_own(shown):
    state = checkpoint.load(shown / "whole")
    histories = [rank["history"]["images"] for rank in state["ranks"]]
    assert [len(images) for images in histories] == [6, 6] and not torch.equal(*histories)
    assert state["history"] is None


def test_what_one_process_asks_to_stop_resumes_to_the_bit_on_both(shown):
    whole, cut = (checkpoint.load(shown / name) for name in ("whole", "cut"))
    assert [key for key in whole if not same(whole[key], cut[key])] == []
    assert weights(shown / "whole") == weights(shown / "cut")
    assert [line["step"] for line in lines(shown / "cut")] == list(range(1, 12))


def test_resuming_takes_as_many_processes_as_before(toy, shown):
    settings = ("refiner.options.noise_channels=1", "data.real.count=none")
    before = {name: (shown / "whole" / name).read_bytes() for name in files(shown / "whole")}
    with pytest.raises(
        UserError, match="whole: was trained by 2 processes, not 1; resume with torchrun --nproc-per-node=2"
    ):
        fit_toy(toy, shown / "whole", *settings, resume=True)
    assert before == {name: (shown / "whole" / name).read_bytes() for name in files(shown / "whole")}


def test_another_number_of_processes_is_told_before_what_it_cannot_share(toy, shown, monkeypatch):
    monkeypatch.setattr("synthreal.train.setup.process_group", lambda: nullcontext(Processes(0, 3)))
    with pytest.raises(UserError, match="whole: was trained by 2 processes, not 3"):
        with set_up(configured(toy), toy, shown / "whole", resume=True):
            raise AssertionError


@pytest.mark.parametrize("command", ["fit", "refine"])
def test_torchrun_takes_no_option_of_ours_for_its_own(command):
    """It reads abbreviations of its own options anywhere in the line: --run is one of --run-path."""
    from torch.distributed.run import get_args_parser

    options = [name for option in typer.main.get_command(app).commands[command].params for name in option.opts]
    assert len(options) > 6
    for name in options:
        words = [name, "value"] if name.startswith("--") else ["value"]
        if name == "--run":
            assert "--run-dir" in options
            continue
        read = get_args_parser().parse_args(["--nproc-per-node=2", "-m", "synthreal", command, *words])
        assert read.training_script_args == [command, *words]


ENDLESS = ("quality=none", "schedule.steps=1000000", "schedule.save_every=50", "schedule.report_every=10")


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks into /proc")
def test_a_killed_process_ends_the_job_with_its_error(tmp_path):
    run = tmp_path / "run"
    fitting = torchrun("fit", "--plugin", TOY, "--run-dir", run, *flags(*QUICK, *ENDLESS))
    wait_for(lambda: fitting.poll() is not None or len(checkpoint.checkpoints(run)) == 2)
    os.kill(worker(fitting, 1), signal.SIGKILL)
    _, err = ended(fitting)
    assert fitting.returncode == 1
    assert "exitcode  : -9" in err and "rank      : 1" in err
    assert checkpoint.load(run)["step"] % 50 == 0
    assert not (run / ".lock").exists() and not list(run.rglob("*.partial"))


@pytest.mark.slow
def test_a_process_that_multiprocessing_started_and_that_is_killed_ends_the_others(tmp_path):
    with pytest.raises(torch.multiprocessing.ProcessExitedException, match="SIGKILL"):
        together(die, tmp_path / "run")


DYING = """    import os
    from pathlib import Path
    saved = list(Path(os.environ["DYING_RUN"]).glob("checkpoints/step-*.pt"))
    if os.environ.get("RANK") == "1" and os.environ.get("TORCHELASTIC_RESTART_COUNT") == "0" and saved:
        os._exit(9)
"""


@pytest.mark.slow
@pytest.mark.parametrize("resumed", [False, True])
def test_torchrun_may_start_them_again(tmp_path, monkeypatch, resumed):
    """They go on from what was saved, also where there was nothing to go on from in the beginning."""
    run, plugin = tmp_path / "run", tmp_path / "dying.py"
    monkeypatch.setenv("DYING_RUN", str(run))
    head, end, body = TOY.read_text().partition("def simulator")
    line, arrow, body = body.partition("-> Batch:\n")
    plugin.write_text(head + end + line + arrow + DYING + body)
    drawn = ("fit", "--plugin", plugin, "--run-dir", run, *flags(*QUICK, "quality=none", "data.simulated.count=none"))
    if resumed:
        short = flags("schedule.steps=2", "schedule.save_every=100")
        out, err = ended(torchrun(*drawn, *short))
        assert "step 7" in out, err
    fitting = torchrun(*drawn, *flags("schedule.save_every=3"), "--resume", restarts=1)
    out, err = ended(fitting)
    assert fitting.returncode == 0 and "exitcode: 9" in err and "step 11" in out, err
    seen = [line["step"] for line in lines(run)]
    assert seen == sorted(seen) and seen[-1] == 11, "went on instead of beginning anew"


def test_no_restart_goes_on_with_a_run_that_was_there_unless_told(cli, tmp_path, monkeypatch):
    fit = ("fit", "--plugin", TOY, "--run", tmp_path / "run", *flags(*QUICK, "quality=none"))
    assert "holds no run" in cli(*fit, "--resume").complaint()
    monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", "2")
    assert "step 11" in cli(*fit, "--resume").ok().out  # begun
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert "already holds a run" in cli(*fit).complaint()
    assert "was complete already" in cli(*fit, "--resume").ok().out


@pytest.mark.slow
def test_a_loop_of_ones_own_is_the_same_program_under_torchrun(tmp_path):
    example = ROOT / "examples/03_own_loop.py"
    out, err = ended(torchrun(tmp_path / "own", "--kid", 1000, "--seconds", 1e6, program=(example,)))
    both = sorted(line for line in out.splitlines() if "no detector" not in line)  # warnings of data are rank 0's
    assert both.count("step 111: stopped") == 2 and both[::2] == both[1::2], err
    assert "refining changes dials by 0." in both[0]


@pytest.mark.slow
def test_without_torchrun_the_death_of_process_0_which_held_the_store_is_told(tmp_path):
    both, port = [], free_port()
    for rank in (0, 1):
        command = [sys.executable, "-m", "synthreal", "fit", "--plugin", TOY, "--run", tmp_path / "run"]
        environment = {**os.environ, **variables(rank, 2, port), "PYTHONPATH": str(ROOT)}
        both.append(
            subprocess.Popen([*command, *flags(*QUICK, *ENDLESS)], env=environment, stderr=subprocess.PIPE, text=True)
        )
    wait_for(lambda: len(lines(tmp_path / "run")) > 3)
    both[0].kill()
    ended(both[0])
    _, err = ended(both[1])
    assert both[1].returncode == 1
    (said,) = [line for line in ours(err) if line.startswith("synthreal:")]
    assert said.startswith("synthreal: another process of this run is gone") and "--resume" in said


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks into /proc")
@pytest.mark.parametrize("whom", ["all, as Ctrl-C does", "torchrun", "torchrun, killed", "one"])
def test_an_interrupt_saves_at_one_step_and_says_how_to_resume(tmp_path, whom):
    run = tmp_path / "run"
    fitting = torchrun("fit", "--plugin", TOY, "--run-dir", run, *flags(*QUICK, *ENDLESS, "schedule.save_every=100000"))
    wait_for(lambda: fitting.poll() is not None or len(lines(run)) > 3)
    if whom == "torchrun":
        fitting.terminate()
    elif whom == "torchrun, killed":
        fitting.kill()
    elif whom == "one":
        os.kill(worker(fitting, 1), signal.SIGTERM)
    else:
        os.killpg(fitting.pid, signal.SIGINT)
    out, err = ended(fitting)
    assert out == ""
    (said,) = [line for line in ours(err) if line.startswith("stopped")]
    (kept,) = checkpoint.checkpoints(run)
    assert kept.name in said
    resume = shlex.split(said.partition("continue with: ")[2])
    assert resume[:4] == ["torchrun", "--nproc-per-node=2", "-m", "synthreal"]
    # what is saved is of two processes: it gets as far as the shorter schedule
    out, err = ended(torchrun(*resume[4:], *flags("schedule.steps=9")))
    (said,) = [line for line in ours(err) if line.startswith("synthreal:")]
    assert "schedule.steps (1000000 before" in said


@pytest.mark.slow
def test_a_users_mistake_is_told_once(tmp_path):
    for word in ("schedule.batch=6", "loss.wait=3"):
        fitting = torchrun("fit", "--plugin", TOY, "--run-dir", tmp_path / "run", *flags(*QUICK, word))
        _, err = ended(fitting)
        (said,) = [line for line in ours(err) if line.startswith("synthreal:")]
        assert word.partition("=")[0] in said
        assert "exitcode  : 2" in err and err.count("Traceback") == 1  # torchrun's own
        assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_no_process_aborts_at_its_exit(tmp_path):
    codes = []
    for number in range(20):
        fitting = torchrun("fit", "--plugin", TOY, "--run-dir", tmp_path / str(number), *flags(*QUICK, "quality=none"))
        _, err = ended(fitting)
        codes.append(fitting.returncode)
        assert "terminate called" not in err
    assert codes == [0] * 20


@pytest.mark.parametrize("gone", [0, 5])
def test_a_loop_of_ones_own_ends_saved_when_torchrun_is_gone(toy, tmp_path, monkeypatch, gone):
    """Also when it went while the loop was being set up."""

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


def test_without_torchrun_a_process_is_alone(monkeypatch):
    with process_group() as processes:
        assert processes is SINGLE_PROCESS and not torch.distributed.is_initialized()
    for size, rank in (("2", None), ("1", "0")):
        monkeypatch.setenv("WORLD_SIZE", size)
        if rank is not None:
            monkeypatch.setenv("RANK", rank)
        with process_group() as processes:
            assert processes is SINGLE_PROCESS


def test_processes_that_cannot_find_each_other_are_told_what_is_missing(monkeypatch):
    for name, value in (("RANK", "0"), ("WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with (
        pytest.raises(UserError, match=r"MASTER_ADDR expected.*; start them with torchrun, or unset RANK"),
        process_group(),
    ):
        pass


@pytest.mark.parametrize("given", [{"RANK": "0", "WORLD_SIZE": "two"}, {"RANK": "2", "WORLD_SIZE": "2"}, {"RANK": "1"}])
def test_variables_that_number_no_process_are_one_line(monkeypatch, given):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with (
        pytest.raises(UserError, match=rf"RANK={given['RANK']}, .*start with torchrun, or unset them"),
        process_group(),
    ):
        pass


def test_nobody_who_answers_and_a_port_that_is_taken_are_told(monkeypatch):
    monkeypatch.setattr(processes, "RENDEZVOUS", timedelta(seconds=1))
    for name, value in variables(0, 2, free_port()).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=r"1/2 clients joined.*unset RANK and WORLD_SIZE"), process_group():
        pass
    with socket.create_server(("", 0)) as taken:
        monkeypatch.setenv("MASTER_PORT", str(taken.getsockname()[1]))
        with pytest.raises(UserError, match=r"EADDRINUSE.*start them with torchrun"), process_group():
            pass


@pytest.mark.parametrize(
    ("size", "settings", "said"),
    [
        (3, ("schedule.batch=8",), "schedule.batch=8 cannot be shared by 3 processes; make it a multiple of 3"),
        (3, ("schedule.batch=8", "history=none"), "make it a multiple of 3"),
        (2, ("schedule.batch=6",), "each with one half from the history; make it a multiple of 4, or set history=none"),
    ],
)
def test_what_cannot_be_shared_is_refused(toy, size, settings, said):
    with pytest.raises(UserError, match=said):
        select_device(configured(toy, *settings), Processes(0, size))


def test_each_process_takes_the_gpu_of_its_number(toy, monkeypatch):
    taken = []
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.set_device", taken.append)
    monkeypatch.setattr("torch.distributed.new_group", lambda backend, timeout: backend)
    monkeypatch.setattr(Processes, "any", lambda processes, flag: flag)
    for asked in ("auto", "cuda"):
        device, processes = select_device(
            configured(toy, f"runtime.device={asked}"), Processes(3, 4, local_rank=1, local_size=2)
        )
        assert (device, processes.devices) == (torch.device("cuda:1"), "nccl")
    assert taken == [torch.device("cuda:1")] * 2
    device, processes = select_device(configured(toy, "runtime.device=cpu"), Processes(1, 2))
    assert (device, processes.devices) == (torch.device("cpu"), "gloo")
    with pytest.raises(UserError, match=r"runtime\.device=cuda:1 is one GPU for 2 processes; use auto"):
        select_device(configured(toy, "runtime.device=cuda:1"), Processes(1, 2))
    alike = configured(toy, "runtime.device=auto", "schedule.batch=12")
    with pytest.raises(UserError, match=r"more processes than GPUs \(2 on the machine of process 2\); start as many"):
        select_device(alike, Processes(2, 3, local_rank=2))
    monkeypatch.setattr(Processes, "any", lambda processes, flag: True)
    with pytest.raises(UserError, match=r"more processes than GPUs \(2 on the machine of process 0\)"):
        select_device(alike, Processes(0, 3))


@pytest.mark.parametrize("patient", [False, True])
def test_what_torchrun_started_bears_a_second_signal(patient):
    before = signal.signal(signal.SIGTERM, lambda number, frame: second.append(number))
    second = []
    with stop_signals(patient=patient) as stopped:
        for _ in range(2):
            signal.raise_signal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, before)
    assert stopped.is_set()
    assert second == ([] if patient else [signal.SIGTERM])


def test_a_terminal_that_closes_may_say_so_twice():
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


def test_of_words_that_are_wrong_for_all_process_0_tells_at_once_and_others_later(cli, monkeypatch, tmp_path):
    waited = []
    monkeypatch.setattr("synthreal.distributed.rank.time.sleep", waited.append)
    nowhere = ("refine", tmp_path / "run", tmp_path / "in.h5", tmp_path / "out.h5")
    for rank, told in (("0", []), ("1", [REPORT_DELAY] * 3)):
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("WORLD_SIZE", "2")
        assert "No such option" in cli("fit", "--nonsense").complaint()
        assert "holds no run" in cli(*nowhere).complaint()
        assert "--precision half" in cli(*nowhere, "--precision", "half").complaint()
        assert waited == told


def test_what_one_process_does_is_refused_to_several(cli, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name, word in (("RANK", "0"), ("WORLD_SIZE", "2"), ("TORCHELASTIC_RUN_ID", "none")):
        monkeypatch.setenv(name, word)
    for command in typer.main.get_command(app).commands.keys() - {"fit", "refine"}:
        message = cli(command).complaint()
        assert f"{command} runs in one process; start it without torchrun, which is for fit and refine" in message
    monkeypatch.setenv("WORLD_SIZE", "1")
    cli("show", "--plugin", TOY).ok()
    monkeypatch.delenv("TORCHELASTIC_RUN_ID")
    monkeypatch.setenv("RANK", "3")  # somebody's, for something else
    cli("show", "--plugin", TOY).ok()
