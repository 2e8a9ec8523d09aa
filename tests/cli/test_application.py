"""The command line: help, output, settings, files, and quick start."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from types import SimpleNamespace

import pytest
import typer
from quick import QUICK, TOY, configured, files, flags, weights
from rich.table import Table

from synthreal.cli import app, main
from synthreal.cli.options import display
from synthreal.config import ResolvedConfig, RunConfig
from synthreal.data.pack import Pack
from synthreal.evaluation.training_sets import DEFAULT
from synthreal.inference.pretrained import write_config

pytestmark = pytest.mark.usefixtures("short_two_sample_tests")

COMMANDS = typer.main.get_command(app).commands


def python(*arguments, cwd=None):
    return subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True, cwd=cwd)


def test_help_lists_the_commands(cli):
    text = cli("--help").ok().out
    order = "check adapt fit refine evaluate report turing ablate show prepare match-labels export plugins".split()
    listed = text.partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in listed if line[2] != " "] == order
    assert set(order) == set(COMMANDS)
    assert cli().ok().out == text  # nothing given: the same


@pytest.mark.parametrize(
    ("given", "used"), [({}, "20000"), ({"OMP_WAIT_POLICY": "ACTIVE"}, None), ({"GOMP_SPINCOUNT": "7"}, "7")]
)
def test_idle_threads_soon_sleep_unless_the_user_wants_otherwise(monkeypatch, given, used):
    monkeypatch.setattr("sys.argv", ["synthreal", "--version"])
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.setenv(name, "")  # so that the variable is restored
        monkeypatch.delenv(name) if name not in given else monkeypatch.setenv(name, given[name])
    with pytest.raises(SystemExit):
        main()
    assert os.environ.get("GOMP_SPINCOUNT") == used


def test_the_command_line_is_imported_without_torch_which_reads_the_environment():
    assert python("-c", "import sys, synthreal.cli; print('torch' in sys.modules)").stdout.strip() == "False"


def test_every_command_and_option_has_a_help_text(cli):
    for command, found in COMMANDS.items():
        text = " ".join(cli(command, "--help").ok().out.split())
        assert found.help and found.help.partition("\n")[0] in text
        for parameter in found.params:
            if parameter.name != "help":
                assert getattr(parameter, "help", None), f"{command} {parameter.name} has no help"
                name = parameter.metavar if parameter.param_type_name == "argument" else parameter.opts[-1]
                assert (name or parameter.name).lower() in text.lower()


def test_the_help_of_evaluate_names_the_default_arms():
    texts = {parameter.name: parameter.help for parameter in COMMANDS["evaluate"].params}
    assert f"default: {','.join(DEFAULT)}." in texts["arms"]


def test_version_is_that_of_the_distribution(cli, monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    assert cli("--version").ok().out == f"synthreal {metadata.version('synthreal')}\n"
    monkeypatch.setattr(metadata, "version", missing)
    assert cli("--version").ok().out == "synthreal source\n"


def test_a_wrong_choice_is_a_plain_sentence(cli):
    line = cli("refine", "run", "in", "out", "--precision", "half").complaint()
    assert "'--precision': 'half' is not one of" in line


@pytest.mark.parametrize("pipe", [False, True])
def test_standard_output_that_takes_nothing_ends_without_a_traceback(pipe):
    command = [sys.executable, "-m", "synthreal", "show", "--plugin", str(TOY)]
    if pipe:
        reader, writer = os.pipe()
        os.close(reader)
        with os.fdopen(writer, "w") as out:
            done = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, text=True)
        assert (done.returncode, done.stderr) == (1, "")
    else:
        with open("/dev/full", "w") as out:  # noqa: PTH123
            done = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, text=True)
        assert done.returncode == 2
        assert done.stderr == "synthreal: standard output: cannot write (No space left on device)\n"


LIGHT = """
import sys, subprocess
{}
heavy = [name for name in {} if name in sys.modules]
assert not heavy, heavy
"""


def test_help_imports_no_torch():
    code = """
import runpy
sys.argv = ["synthreal", "--help"]
try:
    runpy.run_module("synthreal", run_name="__main__")
except SystemExit as ended:
    assert not ended.code
"""
    heavy = ["torch", "numpy", "h5py", "PIL", "kornia", "pluggy", "scipy", "matplotlib", "albumentations"]
    done = python("-c", LIGHT.format(code, heavy))
    assert done.returncode == 0, done.stderr
    assert "Usage: synthreal" in done.stdout


def test_importing_the_package_imports_nothing_heavy():
    heavy = ["kornia", "albumentations", "scipy", "matplotlib", "torch", "h5py", "PIL", "typer", "rich"]
    done = python("-c", LIGHT.format("import synthreal\nassert 'Refine' in dir(synthreal) or synthreal.__all__", heavy))
    assert done.returncode == 0, done.stderr
    every = "import synthreal\nfor name in synthreal.__all__:\n    getattr(synthreal, name)"
    done = python("-c", LIGHT.format(every, ["kornia", "albumentations", "scipy", "matplotlib", "typer", "onnx"]))
    assert done.returncode == 0, done.stderr


def test_the_module_is_the_command():
    done = python("-m", "synthreal", "plugins", "--json")
    assert done.returncode == 0, done.stderr
    rows = {row["plugin"]: row for row in json.loads(done.stdout)}
    assert rows["synthreal"]["registers"]["networks"][:2] == ["refiner resnet", "discriminator local"]
    assert all(set(row) == {"plugin", "distribution", "version", "registers", "error"} for row in rows.values())


def test_plugins_prints_a_table(cli):
    text = cli("plugins").ok().out
    for word in ("plugin", "distribution", "version", "registers", "resnet", "laplacian", "folder"):
        assert word in text


def test_show_prints_the_resolved_configuration(cli, toy, tmp_path):
    text = cli("show", "--plugin", TOY, *flags(*QUICK)).ok().out
    assert ResolvedConfig.from_toml(text) == configured(toy)
    mine = tmp_path / "mine.toml"
    mine.write_text('features = ["identity", "halves"]\n[loss]\nweight = 7\n[schedule]\nsteps = 77\n')
    command = ("show", "--plugin", TOY, "--recipe", "toy", "--config", mine, "--set", "loss.weight=9")
    shown = tomllib.loads(cli(*command).ok().out)
    assert (shown["loss"]["weight"], shown["schedule"]["steps"]) == (9.0, 77)
    assert [term["name"] for term in shown["features"]] == ["identity", "halves"]
    whole = cli("show", "--plugin", TOY).ok().out
    (tmp_path / "whole.toml").write_text(whole)
    assert cli("show", "--plugin", TOY, "--config", tmp_path / "whole.toml").ok().out == whole
    write_config(tmp_path, RunConfig.from_toml(whole), {"toy.py": "sha256:0"})
    assert cli("show", "--plugin", TOY, "--config", tmp_path / "config.toml").ok().out == whole


def test_a_run_that_cannot_be_evaluated_does_not_advise_it(cli, tmp_path):
    settings = ("quality=none", "data.simulated.count=1")
    done = cli("fit", "--plugin", TOY, "--run", tmp_path / "run", *flags(*QUICK, *settings)).ok()
    assert "synthreal evaluate" not in done.out and done.out.endswith(f"synthreal report {tmp_path / 'run'} --trust\n")
    assert "one image" in cli("evaluate", tmp_path / "run", "--trust").complaint()


def test_fit_refine_evaluate_from_a_pack_end_to_end(cli, toy_run, tmp_path, monkeypatch):
    """Every command in the default folder, in the fast selection of tests."""
    monkeypatch.chdir(tmp_path)
    cli("prepare", "discs", "discs.h5", "--plugin", TOY, "--limit", 40, "--seed", 0).ok()
    done = cli("fit", "--plugin", TOY, *flags(*QUICK)).ok()
    assert done.out == (
        "runs/toy: step 11, saved the weights of step 11; sheets in runs/toy/sheets; evaluate it with: "
        "synthreal evaluate runs/toy --trust\n"
    )
    assert "fitting 11/11 " in done.err and "score" in done.err.splitlines()[-1]
    assert "warning: step 0: few real images" in done.err
    kinds = [line.split(": ")[2] for line in done.err.splitlines() if line.startswith("warning")]
    assert kinds == ["few real images", "collapse", "drifting labels"]  # after eleven steps on 30 images, rightly
    assert weights(tmp_path / "runs/toy") == weights(toy_run)
    cli("refine", "runs/toy", "discs.h5", "refined.h5").ok()
    result = json.loads(cli("evaluate", "runs/toy", "--trust", "--json").ok().out)
    assert result["runs"] == ["runs/toy"]
    packs = ('data.simulated={name="pack", options={path="refined.h5"}}',)
    cli("fit", "--plugin", TOY, "--run", "runs/again", *flags(*QUICK, *packs)).ok()
    assert files(tmp_path / "runs/again") == files(toy_run)


def test_seeds_and_roles_reach_the_commands(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def content(*command):
        cli(*command).ok()
        with Pack(command[3 if command[0] == "refine" else 2]) as pack:
            return pack.sha256(), pack.role

    discs = [content("prepare", "discs", f"{k}.h5", "--plugin", TOY, "--limit", 9, "--seed", k) for k in (0, 1)]
    assert discs[0] != discs[1]
    roles = [content("prepare", "photographs", f"{role}.h5", "--plugin", TOY, "--limit", 9, "--role", role)
             for role in ("validation", "test")]  # fmt: skip
    assert [role for _, role in roles] == ["validation", "test"]
    cli("fit", "--plugin", TOY, "--run", "noisy", *flags(*QUICK, "refiner.options.noise_channels=1")).ok()
    refined = [content("refine", "noisy", "0.h5", f"r{k}.h5", "--seed", k) for k in (0, 1)]
    assert refined[0] != refined[1]


@pytest.mark.slow
def test_evaluate_trains_an_estimator_per_seed(cli, toy_run, tmp_path):
    run = shutil.copytree(toy_run, tmp_path / "run")
    result = json.loads(cli("evaluate", run, "--seeds", 2, "--json").ok().out)
    found = result["arms"]["refined"]["error_px"]["seeds"]
    assert [(one["refiner_seed"], one["estimator_seed"]) for one in found] == [(0, 0), (0, 1)]


def test_a_fit_that_stops_early_reports_it(cli, tmp_path):
    wavering = ("optimizer.refiner.learning_rate=0.05", "quality={every=1, patience=1}", "schedule.steps=300")
    done = cli("fit", "--plugin", TOY, "--run", tmp_path / "run", *flags(*QUICK, *wavering)).ok()
    assert " of 305, stopped early: no better score in 1 reports, saved the weights of step " in done.out
    assert "was complete already" in cli("fit", "--run", tmp_path / "run", "--resume").ok().out


@pytest.mark.parametrize("command", ["evaluate", "ablate"])
def test_an_interruption_prints_how_to_continue(cli, tmp_path, toy_run, monkeypatch, command):
    from synthreal.evaluation import cache

    def stop(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(cache, "train", stop)
    shutil.copytree(toy_run, tmp_path / "run")
    words = [tmp_path / "run"] if command == "evaluate" else ["--plugin", TOY, "--run", tmp_path, *flags(*QUICK)]
    done = cli(command, *words, *(["--over", "history=on,off"] if command == "ablate" else []))
    assert done.code == 130 and done.out == "" and "Traceback" not in done.err
    assert "the same command continues" in done.err.splitlines()[-1]


def test_ablate_passes_its_seeds_and_its_split(cli, tmp_path, monkeypatch):
    from synthreal.evaluation import ablation

    given = []

    def ablate(config, catalog, over, folder, **options):
        given.append((over, folder, options["seeds"], options["split"]))
        return SimpleNamespace(to_json=dict)

    monkeypatch.setattr(ablation, "ablate", ablate)
    command = ("ablate", "--plugin", TOY, "--over", "history=on,off", "--run", tmp_path, "--json")
    cli(*command, "--seeds", 3, "--split", "test").ok()
    cli(*command).ok()
    assert given == [(["history=on,off"], tmp_path, 3, "test"), (["history=on,off"], tmp_path, 1, "validation")]


def test_tables_are_wider_in_a_pipe(capsys, monkeypatch):
    table = Table(*("a long title" for _ in range(10)))
    monkeypatch.delenv("COLUMNS", raising=False)
    display(table)
    assert "a long title" in capsys.readouterr().out
    monkeypatch.setenv("COLUMNS", "80")
    display(table)
    narrow = capsys.readouterr().out
    assert "a long title" not in narrow and max(map(len, narrow.splitlines())) <= 80


@pytest.mark.slow
def test_a_table_of_long_settings_cuts_no_words(cli, tmp_path, monkeypatch):
    over = ("history=on,off", "loss.weight=0.5", "optimizer.discriminator.learning_rate=0.002")
    words = ["ablate", "--plugin", TOY, "--run", tmp_path / "out", *flags(*QUICK)]
    words += [word for axis in over for word in ("--over", axis)]
    monkeypatch.delenv("COLUMNS", raising=False)
    wide = cli(*words).ok().out
    assert "optimizer.discriminator.learning_rate" in wide and "\u2026" not in wide
    monkeypatch.setenv("COLUMNS", "80")
    narrow = cli(*words).ok().out
    assert max(map(len, narrow.splitlines()[:-1])) <= 80 and "\u2026" not in narrow


def test_a_run_resumes_by_its_folder_alone_with_its_own_settings(cli, tmp_path):
    run = tmp_path / "a run"
    cli("fit", "--plugin", TOY, "--run", run, *flags(*QUICK, "loss.weight=3.0")).ok()
    done = cli("fit", "--run", run, "--resume", "--trust").ok()
    assert "was complete already" in done.out and done.out.endswith(f"synthreal evaluate '{run}' --trust\n")
    cli("fit", "--run", run, "--resume", "--set", "schedule.steps=8").ok()
    shown = tomllib.loads((run / "config.toml").read_text())
    assert (shown["loss"]["weight"], shown["schedule"]["steps"]) == (3.0, 8)
    assert json.loads((run / "log.jsonl").read_text().splitlines()[-1])["step"] == 13


def test_the_default_folder_resumes_too(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = cli("fit", "--plugin", TOY, "--resume").complaint()
    assert "runs/toy: holds no run" in message
    cli("fit", "--plugin", TOY, *flags(*QUICK)).ok()
    cli("fit", "--plugin", TOY, "--resume", "--set", "schedule.steps=7").ok()  # the other settings are the run's
    assert len((tmp_path / "runs/toy/log.jsonl").read_text().splitlines()) == 12


def test_a_warning_is_printed_once_on_stderr(cli, tmp_path):
    rates = ("optimizer.discriminator.learning_rate=0.05", "optimizer.refiner.learning_rate=1e-9")
    settings = ("schedule.steps=100", *rates)
    done = cli("fit", "--plugin", TOY, "--run", tmp_path / "run", *flags(*QUICK, "history.size=64", *settings)).ok()
    assert [done.err.count(f": {kind}:") for kind in ("saturated discriminator", "few real images")] == [1, 1]


def test_a_package_in_the_working_directory_is_a_plugin(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    (tmp_path / "mydomains").mkdir()
    (tmp_path / "mydomains/discs.py").write_text(TOY.read_text())
    assert tomllib.loads(cli("show", "--plugin", "mydomains.discs").ok().out)["plugins"] == ["mydomains.discs"]


def test_two_plugins_and_a_data_set_of_the_second(cli, tmp_path):
    (tmp_path / "more.py").write_text(
        "import synthreal, toy\nfrom dataclasses import replace\n"
        "@synthreal.hookimpl\ndef synthreal_datasets():\n    yield replace(toy.synthreal_datasets()[0], name='rings')\n"
    )
    text = cli("show", "--plugin", TOY, "--plugin", tmp_path / "more.py", "--set", "data.simulated=rings").ok().out
    assert tomllib.loads(text)["plugins"] == [str(TOY), str(tmp_path / "more.py")]
