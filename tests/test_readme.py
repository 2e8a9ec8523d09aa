"""The documents are correct: blocks run, command lines parse, links resolve, and all hooks are described.

Documents are the README, the pages in ``docs/`` and the READMEs of plugins and benchmarks. Every Python and bash block
runs in its own folder, or says in its first line what it needs:

- ``# needs a run``: it runs with a trained run in ``runs/gaze``. This is a toy run, so the block must not depend on the
  size of the images. ``# needs a run and LIBRARY`` is skipped if the library is not installed; blocks with Ray, which
  leaves processes behind, run in a subprocess.
- ``# needs two folders``: a bash block runs with pictures in ``renders`` and ``photographs``.
- ``# needs`` anything else (minutes, data, a GPU): the commands of a bash block are parsed and not run. ``fit`` and
  ``show`` lines of a plugin must also resolve.

A Python block that defines hooks is also trained for two steps.
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
import tomllib
from pathlib import Path

import pytest
import typer
from renders import folder, photograph
from vision import torchvision_or_skip

from synthreal import spec
from synthreal.cli import app
from synthreal.config import RunConfig
from synthreal.hooks import hookspecs

ROOT = Path(__file__).resolve().parent.parent
PATTERNS = ("*.md", "plugins/*.md", "plugins/*/*.md", "benchmarks/*.md", "docs/**/*.md")
DOCUMENTS = sorted(path for pattern in PATTERNS for path in ROOT.glob(pattern))
PAGES = [path for path in DOCUMENTS if ROOT / "docs" in path.parents]
LANGUAGES = {"python", "bash", "text", "toml"}
COMMANDS = typer.main.get_command(app).commands
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NEEDS = re.compile(r"# needs (.+)$", re.MULTILINE)
A_RUN = re.compile(r"a run(?: and (\w+))?")


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def fences(language: str) -> list[tuple[str, str]]:
    """(where, text) of every fenced block of a language."""
    blocks = []
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        for match in FENCE.finditer(text):
            if match[1] == language:
                blocks.append((f"{shown(path)}:{text[: match.start()].count(chr(10)) + 1}", match[2]))
    return blocks


def lines() -> list[tuple[str, str]]:
    """(where, command) of every command line in bash."""
    return [(f"{where} {command[:40]}", command) for where, text in fences("bash") for command in commands_of(text)]


def commands_of(text: str) -> list[str]:
    """The command lines of a block, continued lines joined."""
    found = [line.partition("  #")[0].strip() for line in text.replace("\\\n", " ").splitlines()]
    return [command for command in found if command and not command.startswith("#")]


def needs_of(text: str) -> str | None:
    """What a block needs, by its first line."""
    found = NEEDS.match(text)
    return found and found[1]


PYTHON, BASH, LINES = fences("python"), fences("bash"), lines()


@pytest.fixture
def block_folder(tmp_path, toy_run, monkeypatch):
    """The working directory of a block, with a trained run in it."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(toy_run, tmp_path / "runs/gaze")
    yield tmp_path
    gc.collect()  # close files that a block left open here and not during another test


def block(where, text):
    return pytest.param(text, id=where, marks=[pytest.mark.slow] if "needs a run and ray" in text else [])


@pytest.mark.parametrize("text", [block(*fence) for fence in PYTHON])
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # webdataset leaves shards open
def test_python_blocks_run(block_folder, cli, monkeypatch, text):
    needs = A_RUN.fullmatch(needs_of(text) or "")
    if needs is None:
        assert needs_of(text) is None, "a Python block needs a run, with or without a library, or nothing"
        shutil.rmtree(block_folder / "runs")
    elif needs[1] == "torchvision":
        torchvision_or_skip()
    elif needs[1]:
        pytest.importorskip(needs[1])
    if needs and needs[1] == "ray":
        environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": ":".join(filter(None, sys.path))}
        done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
        return
    names = {"__name__": "block"}
    exec(compile(text, "block", "exec"), names)
    monkeypatch.chdir(ROOT)
    for name in [name for name in names if name.startswith("test_")]:
        names[name](*([block_folder] if "tmp_path" in names[name].__code__.co_varnames[:1] else []))
    monkeypatch.chdir(block_folder)
    if "@synthreal.hookimpl" in text or "@hookimpl" in text:
        (block_folder / "domain.py").write_text(text)
        short = "schedule={refiner_steps=1, discriminator_steps=0, steps=1, batch=4}"
        cli("fit", "--plugin", "domain.py", "--run", "run", "--set", short, "--set", "history.size=8").ok()
        assert (block_folder / "run/refiner.safetensors").is_file()


def runs_here(text: str) -> bool:
    needs = needs_of(text)
    return needs is None or needs == "two folders" or A_RUN.fullmatch(needs) is not None


@pytest.mark.parametrize("text", [pytest.param(text, id=where) for where, text in BASH if runs_here(text)])
def test_bash_blocks_run(block_folder, cli, text):
    needs = needs_of(text)
    if needs == "two folders":
        folder(block_folder / "renders", 24, (48, 64))
        folder(block_folder / "photographs", 24, (48, 64), photograph, suffix="jpg")
    if needs is None or A_RUN.fullmatch(needs) is None:
        shutil.rmtree(block_folder / "runs")
    elif library := A_RUN.fullmatch(needs)[1]:
        pytest.importorskip(library)
    for command in commands_of(text):
        words = shlex.split(command)
        assert words[0] == "synthreal", "only such commands run here; say in the first line what the block needs"
        done = cli(*words[1:])
        assert done.code == 0 or (words[1] == "check" and done.code == 1), done.err


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.toml")), ids=shown)
def test_the_command_in_an_example_configuration_works(path, cli, monkeypatch, tmp_path):
    (command,) = re.findall(r"^#\s+(synthreal .*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert f"--config {shown(path)}" in command
    test_command_lines_work(command, cli, monkeypatch, tmp_path)


def parsed(words: list[str]) -> None:
    command = COMMANDS[words[0]]
    command.make_context(words[0], list(words[1:]))


@pytest.mark.parametrize("command", [command for _, command in LINES], ids=[where for where, _ in LINES])
def test_command_lines_work(command, cli, monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    words = shlex.split(command)
    if words[0] == "torchrun":
        words = words[words.index("synthreal") :]
    if words[0] == "synthreal":
        parsed(words[1:])
        if words[1] in ("fit", "show") and "--simulated" not in words:  # tests/cli/test_folders.py has such folders
            arguments = [word for word in words[2:] if word != "--resume"]
            for option in ("--run", "--log"):
                if option in arguments:
                    del arguments[arguments.index(option) : arguments.index(option) + 2]
            if pack := re.search(r'"[\w-]+\.h5"', command):  # that an earlier command of the page writes
                cli("prepare", "simulator", tmp_path / "eyes.h5", "--plugin", "gaze", "--limit", 4).ok()
                arguments = [word.replace(pack[0], f'"{tmp_path / "eyes.h5"}"') for word in arguments]
            cli("show", *arguments).ok()
    elif words[0] == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert {word for word in words[1:] if "=" not in word} <= set(targets), f"make has {targets}"
    elif words[:2] == ["python", "-m"]:
        assert importlib.util.find_spec(words[2]) is not None
    elif words[0] == "python":
        assert (ROOT / words[1]).is_file()
    else:
        assert words[0] in ("pip", "git", "cd", "."), f"unknown command {words[0]}"


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


def test_links_and_images_exist():
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
        thing
        for thing in vars(spec).values()
        if dataclasses.is_dataclass(thing) and thing.__module__.startswith(spec.__name__)
    ]
    assert len(specs) == 9
    for thing in specs:
        (section,) = [text for text in sections if text.startswith(f"**`{thing.__name__}`**")]
        described = set(re.findall(r"`([a-z_]+)`", section))
        assert {field.name for field in dataclasses.fields(thing)} <= described, thing.__name__
    assert set(RunConfig.model_fields) - {"recipe", "plugins", "image"} <= words
    assert set(spec.ROLES) <= words


def test_every_command_is_in_the_readme_or_on_a_page():
    text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *PAGES))
    for command in COMMANDS:
        assert f"synthreal {command}" in text, command


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_every_block_has_a_language_that_is_checked():
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        assert {match[1] for match in FENCE.finditer(text)} <= LANGUAGES, shown(path)
        if path in PAGES:  # such a block would escape
            assert not re.search(r"^[ >]+```", text, re.MULTILINE), f"{shown(path)}: an indented block"
    for where, text in fences("toml"):
        assert tomllib.loads(re.sub(r"<(\w+)>", r"\1", text)), where


def test_every_page_is_in_the_navigation():
    listed = re.findall(r": ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(path.relative_to(ROOT / "docs").as_posix() for path in PAGES)


def test_no_document_has_an_absolute_path():
    for path in DOCUMENTS:
        assert not re.search(r"(/home|/Users|/root|/work|/tmp)/\w", path.read_text(encoding="utf-8")), shown(path)


def test_the_documents_have_python_blocks_and_command_lines():
    assert len(PYTHON) >= 2 and len(LINES) >= 6
