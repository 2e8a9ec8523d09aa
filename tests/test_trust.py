"""A folder from a stranger executes no code, and leads no write anywhere else, unless the user trusts it."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from base64 import b64encode
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from quick import QUICK, TOY, flags
from torch import nn

import synthreal
from synthreal.config import FeatureConfig, SourceConfig
from synthreal.errors import UserError
from synthreal.evaluation.evaluate import evaluate
from synthreal.files import write_text
from synthreal.hooks.catalog import Catalog
from synthreal.inference.pretrained import read_config, write_config
from synthreal.report import write_report
from synthreal.turing.answers import Answers
from synthreal.turing.pictures import choose_images

pytestmark = pytest.mark.usefixtures("short_two_sample_tests")

PLUGINS = ("evil.py", "evilpackage.domain", "bare", "entry")
COMMANDS = {
    "evaluate": ("evaluate", "run"),
    "turing": ("turing", "run", "--port", 0, "--images", 2),
    "resume": ("fit", "--run", "run", "--resume"),
    "refine": ("refine", "tinted", "crops", "out"),
    "export": ("export", "tinted", "out.onnx"),
}


@pytest.fixture
def stranger(tmp_path, toy, toy_run, run_of, monkeypatch):
    """The working directory is a stranger's: runs whose plugin is code in it, which leaves the file ``executed``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    code = f"{TOY.read_text()}\n__import__('pathlib').Path({str(tmp_path / 'executed')!r}).touch()\n"
    (tmp_path / "evilpackage").mkdir()
    (tmp_path / "entry-1.dist-info").mkdir()
    (tmp_path / "entry-1.dist-info/METADATA").write_text("Name: entry\nVersion: 1\n")
    (tmp_path / "entry-1.dist-info/entry_points.txt").write_text("[synthreal]\nentry = evilentry\n")
    for name in ("evil.py", "evilpackage/domain.py", "synthreal_bare.py", "evilentry.py"):
        (tmp_path / name).write_text(code)
    shutil.copytree(toy_run, "run")
    shutil.copytree(run_of("refiner=tint"), "tinted")
    (tmp_path / "crops").mkdir()
    Image.fromarray(np.full((12, 16), 60, np.uint8)).save("crops/a.png")
    return tmp_path


def edit(run, **changes):
    """Change settings in the configuration of a run."""
    write_config(Path(run), read_config(Path(run)).model_copy(update=changes), {})


def name_plugin(plugin):
    """Let both runs name a plugin."""
    for run in ("run", "tinted"):
        edit(run, plugins=(plugin,))


@pytest.mark.parametrize("plugin", PLUGINS)
@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_runs_code_that_a_run_names(stranger, cli, command, plugin):
    name_plugin(plugin)
    line = cli(*COMMANDS[command]).complaint()
    assert repr(plugin) in line and "is not installed" in line and "--trust" in line
    assert not (stranger / "executed").exists()


@pytest.mark.parametrize("plugin", PLUGINS)
def test_the_report_says_that_it_has_not_run_the_code(stranger, cli, plugin):
    name_plugin(plugin)
    cli("report", "run").ok()
    assert not (stranger / "executed").exists()
    assert "--trust" in (stranger / "run/report.html").read_text()


@pytest.mark.parametrize("plugin", PLUGINS)
def test_no_function_runs_code_that_a_run_names(stranger, plugin):
    name_plugin(plugin)
    for call in (
        lambda: evaluate(["run"]),
        lambda: choose_images(Path("run"), against="refined", images=2, seed=0, device="cpu", on_refine=print),
        lambda: synthreal.Refine.from_pretrained("tinted"),
    ):
        with pytest.raises(UserError, match=r"is not installed.*trust=True"):
            call()
    write_report("run")
    assert not (stranger / "executed").exists()


def test_a_core_refiner_loads_no_plugin(stranger, cli):
    name_plugin("evil.py")
    synthreal.Refine.from_pretrained("run")
    cli("refine", "run", "crops", "out", "--trust").ok()
    assert not (stranger / "executed").exists()


@pytest.mark.parametrize("plugin", PLUGINS)
@pytest.mark.parametrize(
    "command",
    [("evaluate", "run", "--arms", "refined"), ("report", "run"), ("refine", "tinted", "crops", "out")],
    ids=lambda words: words[0],
)
def test_trusted_code_runs(stranger, cli, command, plugin, monkeypatch):
    for module in ("evilpackage", "evilpackage.domain", "synthreal_bare", "evilentry"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    name_plugin(plugin)
    cli(*command, "--trust").ok()
    assert (stranger / "executed").exists()


def test_a_plugin_given_on_the_command_line_runs(stranger, cli):
    name_plugin("evil.py")
    line = cli("fit", "--plugin", "evil.py", "--run", "run", "--resume").complaint()
    assert "holds a run with another configuration: plugins" in line  # of which the checkpoint knows
    assert (stranger / "executed").exists()


@pytest.mark.parametrize("command", ["fit", "ablate", "show"])
def test_a_configuration_file_names_no_other_plugin(stranger, cli, command):
    name_plugin("evil.py")
    line = cli(command, "--plugin", TOY, "--config", "run/config.toml").complaint()
    assert "plugins is" in line and "--plugin" in line
    assert not (stranger / "executed").exists()


def test_modules_of_the_working_directory_shadow_nothing_and_are_not_listed(stranger):
    for name in ("typer", "torch", "pydantic", "pluggy", "h5py", "synthreal_gaze"):
        Path(f"{name}.py").write_text("open('executed', 'w')\n")
    paths = [str(Path(synthreal.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-m", "synthreal", "plugins", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0 and '"entry"' not in done.stdout, done
    assert not (stranger / "executed").exists()


class Payload:
    """Unpickling it runs a command."""

    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return open, (self.marker, "w")


@pytest.fixture
def program(stranger):
    """A program of torch.export with a payload in place of each of its pickles."""
    shapes = ({0: torch.export.Dim("batch")},)
    exported = torch.export.export(nn.Conv2d(1, 2, 3).eval(), (torch.rand(2, 1, 12, 16),), dynamic_shapes=shapes)
    torch.export.save(exported, "good.pt2")
    with zipfile.ZipFile("good.pt2") as good, zipfile.ZipFile("evil.pt2", "w") as evil:
        for name in good.namelist():
            content = good.read(name)
            if name.endswith(".pt"):
                content = pickle.dumps(Payload(stranger / "executed"), protocol=2)
            evil.writestr(name, content)
    return stranger / "evil.pt2"


@pytest.mark.filterwarnings("ignore")  # torch.export's own
def test_a_program_of_a_stranger_is_loaded_only_with_trust(program, stranger, cli):
    psi = f'features={{name="learned", options={{path="{program}"}}}}'
    command = ("--plugin", TOY, *flags(*QUICK, psi))
    for words in (("fit", *command, "--run", "new"), ("ablate", *command, "--over", "history=on,off")):
        assert "features.learned: " in (line := cli(*words).complaint()) and "--trust" in line
    edit("run", features=(FeatureConfig(name="learned", options={"path": str(program)}),))
    cli("evaluate", "run", "--arms", "refined").ok()  # needs no psi
    cli("report", "run").ok()
    cli("fit", "--run", "run", "--resume").complaint()
    assert not (stranger / "executed").exists()


@pytest.mark.filterwarnings("ignore")  # torch.export's own
def test_a_trusted_program_is_used(program, cli):
    psi = 'features={name="learned", options={path="good.pt2"}}'
    cli("fit", "--plugin", TOY, "--run", "new", *flags(*QUICK, psi), "--trust").ok()


def test_a_plugin_that_is_loaded_already_needs_no_trust(toy_run, toy):
    assert Catalog.of_run(read_config(toy_run), toy_run).origins == toy.origins


@pytest.mark.parametrize("name", [".lock", "log.jsonl", "checkpoints", "sheets"])
@pytest.mark.parametrize("resume", [False, True])
def test_fit_writes_through_no_link(stranger, cli, name, resume):
    mine = stranger / "mine"
    mine.mkdir()
    (mine / "file").write_text("mine")
    run = stranger / ("run" if resume else "new")
    run.mkdir(exist_ok=True)
    if resume and name == "checkpoints":
        (run / name).rename(mine / name)
        (run / name).symlink_to(mine / name)
    else:
        shutil.rmtree(run / name, ignore_errors=True) if (run / name).is_dir() else (run / name).unlink(missing_ok=True)
        (run / name).symlink_to(mine if name == "sheets" or name == "checkpoints" else mine / "file")
    before = sorted(mine.rglob("*"))
    settings = flags(*QUICK, "schedule.steps=8")
    line = cli("fit", "--plugin", TOY, "--run", run, *settings, *["--resume"] * resume).complaint()
    assert f"{run / name}: is a symbolic link" in line
    assert sorted(mine.rglob("*")) == before and (mine / "file").read_text() == "mine"


def test_evaluate_and_turing_write_through_no_link(stranger, cli):
    (stranger / "mine").mkdir()
    Path("run/estimators").symlink_to(stranger / "mine")
    assert "estimators: is a symbolic link" in cli("evaluate", "run", "--arms", "refined").complaint()
    Path("run/turing.jsonl").symlink_to(stranger / "mine/answers")
    with pytest.raises(UserError, match=r"turing\.jsonl: is a symbolic link"):
        Answers(Path("run/turing.jsonl")).prepare()
    assert not any((stranger / "mine").iterdir())


def test_an_ablation_writes_through_no_link(stranger, cli):
    (stranger / "mine").mkdir()
    Path("ablation").mkdir()
    Path("ablation/history=on").symlink_to(stranger / "mine")
    command = ("ablate", "--plugin", TOY, "--run", "ablation", "--over", "history=on,off", *flags(*QUICK))
    assert "history=on: is a symbolic link" in cli(*command).complaint()
    assert not any((stranger / "mine").iterdir())


def test_a_temporary_name_that_is_a_link_is_not_followed(tmp_path):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / f".a.txt.{os.getpid()}.partial").symlink_to("mine")
    write_text(tmp_path / "a.txt", "new")
    assert (tmp_path / "mine").read_text() == "mine"
    assert (tmp_path / "a.txt").read_text() == "new" and not (tmp_path / "a.txt").is_symlink()


def test_the_report_shows_no_file_that_a_sheet_links_to(stranger, cli):
    (stranger / "secret").write_text("secret")
    Path("run/sheets/step-99999999.png").symlink_to(stranger / "secret")
    Path("run/sheets/step-99999998.png").symlink_to("/dev/zero")
    cli("report", "run").ok()
    assert "99,999,99" not in Path("run/report.html").read_text()


@pytest.mark.parametrize("name", ["sheets", "sheets/step-99999999.png"])
def test_the_report_shows_no_sheet_behind_a_link(stranger, cli, name):
    (stranger / "private").mkdir()
    private = stranger / "private/step-99999999.png"
    Image.fromarray(np.full((12, 16), 77, np.uint8)).save(private)
    if name == "sheets":
        shutil.rmtree("run/sheets")
    (stranger / "run" / name).symlink_to(private.parent if name == "sheets" else private)
    cli("report", "run").ok()
    page = Path("run/report.html").read_text()
    assert b64encode(private.read_bytes()).decode() not in page and "sheets: 1 files are links" in page


def test_the_report_reads_images_outside_the_run_only_with_trust(stranger, cli):
    (stranger / "private").mkdir()
    for number in range(4):
        Image.fromarray(np.full((12, 16), 60 + number, np.uint8)).save(f"private/{number}.png")
    plain, folder = read_config(Path("run")), SourceConfig(name="folder", options={"root": str(stranger / "private")})
    data = plain.data.model_copy(update={"simulated": folder})
    edit("run", data=data, evaluation=plain.evaluation.model_copy(update={"evaluator": None}))

    def shown(*options):
        cli("report", "run", *options).ok()
        return "Moved most" in Path("run/report.html").read_text()

    shutil.rmtree("run/data", ignore_errors=True)
    assert not shown() and not Path("run/data").exists()
    assert "give --trust" in Path("run/report.html").read_text()
    assert shown("--trust")
    shutil.rmtree("private")
    assert shown()  # the pack of the run
    Path("run/data/simulated.h5").rename("mine.h5")
    edit(
        "run", data=plain.data.model_copy(update={"simulated": SourceConfig(name="pack", options={"path": "mine.h5"})})
    )
    assert not shown() and shown("--trust")
    edit("run", data=data)
    Path("run/data/simulated.h5").symlink_to(stranger / "mine.h5")
    assert not shown()


def test_the_size_of_images_is_bounded(stranger, cli):
    text = Path("run/config.toml").read_text()
    Path("run/config.toml").write_text(text.replace("width = 16\n", "width = 1000000000\n"))
    line = cli("export", "run", "out.onnx").complaint()
    assert "run/config.toml: ImageSpec is 12x1000000000 px" in line and not Path("out.onnx").exists()


@pytest.mark.parametrize("name", ["evil\0.py", "\x1b.py", "a" * 300 + ".py", "a" * 5000])
@pytest.mark.parametrize("trust", [False, True])
def test_names_of_plugins_that_are_no_names_are_one_line(stranger, cli, name, trust):
    text = Path("run/config.toml").read_text()
    start, end = text.index("plugins = ["), text.index("]", text.index("plugins = [")) + 1
    Path("run/config.toml").write_text(f"{text[:start]}plugins = [{json.dumps(name)}]{text[end:]}")
    line = cli("evaluate", "run", "--arms", "refined", *["--trust"] * trust).complaint()
    assert "plugin" in line and ("config.toml" in line or len(name) == 303)


@pytest.mark.parametrize("name", ["quality.json", "evaluation.json", "validation.json", "log.jsonl"])
def test_a_pipe_a_device_or_a_huge_file_in_a_run_is_one_line(stranger, cli, name):
    path = stranger / "run" / name
    for kind in ("pipe", "device", "huge"):
        path.unlink(missing_ok=True)
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "device":
            path.symlink_to("/dev/zero")
        else:
            with path.open("wb") as file:
                file.truncate(300 << 20)
        assert f"run/{name}: " in cli("report", "run").complaint()


def test_an_existing_page_that_is_a_device_is_refused(stranger, cli):
    Path("run/report.html").symlink_to("/dev/zero")
    assert "is no HTML page" in cli("report", "run").complaint()
