"""What the documents say works: Python blocks run, command lines parse, links lead somewhere, hooks are described.

A Python block runs in a folder of its own. One that starts with ``# needs a run`` finds a trained run as ``runs/gaze``
there (a toy run, so it must not rely on the size of the images); ``# needs a run and LIBRARY`` is skipped where that is
not installed, and Ray's, which leaves processes behind, runs in a process of its own. One that defines hooks is also
fitted for two steps. Every ``synthreal ...`` line of a bash block must parse, behind ``torchrun`` too; ``fit`` and
``show`` lines must also resolve.
"""

from __future__ import annotations

import dataclasses
import gc
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from vision import torchvision_or_skip

from synthreal import spec
from synthreal.cli import app
from synthreal.config import RunConfig
from synthreal.hooks import hookspecs

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted(path for pattern in ("*.md", "plugins/*.md", "plugins/*/*.md") for path in ROOT.glob(pattern))
COMMANDS = typer.main.get_command(app).commands
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def fences(language: str) -> list[tuple[str, str]]:
    """(where, text) of every fenced block of a language."""
    found = []
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        for match in FENCE.finditer(text):
            if match[1] == language:
                found.append((f"{shown(path)}:{text[: match.start()].count(chr(10)) + 1}", match[2]))
    return found


def lines() -> list[tuple[str, str]]:
    """(where, command) of every command line in bash and unmarked blocks, continued lines joined."""
    found = []
    for where, text in fences("bash") + fences(""):
        for line in text.replace("\\\n", " ").splitlines():
            command = line.partition("  #")[0].strip()
            if command and not command.startswith("#"):
                found.append((f"{where} {command[:40]}", command))
    return found


PYTHON, LINES = fences("python"), lines()


@pytest.fixture
def workplace(tmp_path, toy_run, monkeypatch):
    """An empty folder with a trained run in it."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(toy_run, tmp_path / "runs/gaze")
    yield tmp_path
    gc.collect()  # what a block leaves open is closed here, not in the middle of another test


def block(where, text):
    return pytest.param(text, id=where, marks=[pytest.mark.slow] if "needs a run and ray" in text else [])


@pytest.mark.parametrize("text", [block(*found) for found in PYTHON])
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # webdataset leaves shards open
def test_python_blocks_run(workplace, cli, monkeypatch, text):
    needs = re.match(r"# needs a run(?: and (\w+))?$", text, re.MULTILINE)
    if needs is None:
        shutil.rmtree(workplace / "runs")
    elif needs[1] == "torchvision":
        torchvision_or_skip()
    elif needs[1]:
        pytest.importorskip(needs[1])
    if needs and needs[1] == "ray":
        environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": ":".join(filter(None, sys.path))}
        ended = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, env=environment)
        assert ended.returncode == 0, ended.stderr
        return
    names = {"__name__": "block"}
    exec(compile(text, "block", "exec"), names)
    monkeypatch.chdir(ROOT)
    for name in [name for name in names if name.startswith("test_")]:
        names[name](*([workplace] if "tmp_path" in names[name].__code__.co_varnames[:1] else []))
    monkeypatch.chdir(workplace)
    if "@synthreal.hookimpl" in text or "@hookimpl" in text:
        (workplace / "domain.py").write_text(text)
        short = "schedule={refiner_steps=1, discriminator_steps=0, steps=1, batch=4}"
        cli("fit", "--plugin", "domain.py", "--run", "run", "--set", short, "--set", "history.size=8").ok()
        assert (workplace / "run/refiner.safetensors").is_file()


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.toml")), ids=shown)
def test_example_configurations_work_as_their_first_lines_say(path, cli, monkeypatch):
    (command,) = re.findall(r"^#\s+(synthreal .*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert f"--config {shown(path)}" in command
    test_command_lines_work(command, cli, monkeypatch)


def parsed(words: list[str]) -> None:
    command = COMMANDS[words[0]]
    command.make_context(words[0], list(words[1:]))


@pytest.mark.parametrize("command", [command for _, command in LINES], ids=[where for where, _ in LINES])
def test_command_lines_work(command, cli, monkeypatch):
    monkeypatch.chdir(ROOT)
    words = shlex.split(command)
    if words[0] == "torchrun":
        words = words[words.index("synthreal") :]
    if words[0] == "synthreal":
        parsed(words[1:])
        if words[1] in ("fit", "show"):
            kept = [word for word in words[2:] if word != "--resume"]
            if "--run" in kept:
                del kept[kept.index("--run") : kept.index("--run") + 2]
            cli("show", *kept).ok()
    elif words[0] == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert set(words[1:]) <= set(targets), f"make has {targets}"
    elif words[:2] == ["python", "-m"]:
        assert importlib.util.find_spec(words[2]) is not None
    else:
        assert words[0] in ("pip", "git", "cd", "."), f"what is {words[0]}?"


def test_commands_in_the_text_exist_with_their_options():
    checked = 0
    for path in DOCUMENTS:
        prose = FENCE.sub("", path.read_text(encoding="utf-8"))
        for span in re.findall(r"`(synthreal [^`]+|python -m [\w.]+)[^`]*`", prose):
            words = span.split()
            if words[0] == "python":
                assert importlib.util.find_spec(words[2]) is not None, (shown(path), span)
                continue
            if words[1].startswith("-"):
                continue
            assert words[1] in COMMANDS, (shown(path), span)
            options = {option for parameter in COMMANDS[words[1]].params for option in parameter.opts}
            assert {word for word in words if word.startswith("--")} <= options | {"--help"}, (shown(path), span)
            checked += 1
    assert checked > 0


def test_links_and_pictures_lead_somewhere():
    broken = []
    for path in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", FENCE.sub("", path.read_text(encoding="utf-8"))):
            if "://" not in target and not (path.parent / target).exists():
                broken.append(f"{shown(path)}: {target}")
    assert broken == []


def test_every_hook_is_in_the_authors_guide_and_has_a_docstring():
    guide = (ROOT / "plugins/README.md").read_text(encoding="utf-8")
    hooks = [name for name in vars(hookspecs) if name.startswith("synthreal_")]
    assert len(hooks) == 5
    for name in hooks:
        assert f"`{name}()`" in guide, name
        assert getattr(hookspecs, name).__doc__
    assert set(re.findall(r"`(synthreal_[a-z]+)\(\)`", guide)) == set(hooks)


def test_every_field_of_every_spec_is_in_the_authors_guide():
    guide = (ROOT / "plugins/README.md").read_text(encoding="utf-8")
    sections = re.split(r"(?=\*\*`\w+`\*\*)", guide)
    words = set(re.findall(r"`([a-z_]+)`", guide))
    specs = [
        thing for thing in vars(spec).values() if dataclasses.is_dataclass(thing) and thing.__module__ == spec.__name__
    ]
    assert len(specs) == 9
    for thing in specs:
        (section,) = [text for text in sections if text.startswith(f"**`{thing.__name__}`**")]
        described = set(re.findall(r"`([a-z_]+)`", section))
        assert {field.name for field in dataclasses.fields(thing)} <= described, thing.__name__
    assert set(RunConfig.model_fields) - {"recipe", "plugins", "image"} <= words
    assert set(spec.ROLES) <= words


def test_every_command_is_in_the_readme():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for command in COMMANDS:
        assert f"synthreal {command}" in readme, command


def test_no_document_names_a_path_of_a_machine():
    for path in DOCUMENTS:
        assert not re.search(r"(/home|/Users|/root|/work|/tmp)/\w", path.read_text(encoding="utf-8")), shown(path)


def test_there_is_something_to_check():
    assert len(PYTHON) >= 2 and len(LINES) >= 6
