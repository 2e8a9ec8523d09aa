"""The wheels install into a fresh virtual environment and run outside the source tree."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
from email.parser import Parser
from pathlib import Path
from zipfile import ZipFile

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
PLUGINS = ("gaze", "hands", "signs")
PROJECTS = {"synthreal": ROOT, **{f"synthreal_{name}": ROOT / "plugins" / name for name in PLUGINS}}


def test_the_projects_agree():
    root, *plugins = (tomllib.loads((path / "pyproject.toml").read_text())["project"] for path in PROJECTS.values())
    for plugin in plugins:
        assert plugin["version"] == root["version"]
        for key in ("license", "requires-python"):
            assert plugin[key] == root[key]
        assert plugin["urls"]["Homepage"] == root["urls"]["Homepage"]
        assert {line for line in root["classifiers"] if "Python" in line} <= set(plugin["classifiers"])
        assert "torch>=2.6" in plugin["dependencies"] and "torch>=2.6" in root["dependencies"]


def test_the_citation_is_that_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (found["title"], found["version"], found["license"]) == ("synthreal", project["version"], project["license"])
    assert found["repository-code"] == project["urls"]["Homepage"]
    assert found["authors"][0]["name"] in (ROOT / "LICENSE").read_text()
    assert found["references"][0]["url"] == "https://arxiv.org/abs/1612.07828"


def test_the_image_is_built_from_files_and_extras_that_exist_and_runs_as_a_user():
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    copied = {name for line in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE) for name in line.split()}
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert copied and all((ROOT / name).exists() and f"!{name}" in ignored for name in copied)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (wanted,) = re.findall(r'"\.\[(.+?)\]"', text)
    assert set(wanted.split(",")) <= extras.keys()
    assert all(f"./plugins/{name}" in text for name in PLUGINS)
    assert text.index("USER synthreal") < text.index('ENTRYPOINT ["synthreal"]')


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """The folder that ``make dist`` fills: source distributions, and wheels built from them."""
    pytest.importorskip("build")
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("dist")
    for project in PROJECTS.values():
        command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(project)]
        subprocess.run(command, check=True, capture_output=True)
    return folder


def files_of(folder: Path) -> set[str]:
    """Files of a package in the source tree, relative to the tree."""
    return {
        path.relative_to(folder.parent).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.mark.slow
@pytest.mark.parametrize("package", PROJECTS)
def test_distributions_contain_the_whole_package(dist, package):
    (wheel,), (source,) = dist.glob(f"{package}-*.whl"), dist.glob(f"{package}-*.tar.gz")
    expected = files_of(PROJECTS[package] / package)
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        fields = Parser().parsestr(archive.read(metadata).decode())
    assert expected <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert fields["License-Expression"] == "MIT" and "torch>=2.6" in fields.get_all("Requires-Dist")
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert expected | {"pyproject.toml", "README.md", "LICENSE"} <= names


@pytest.fixture(scope="module")
def installed(dist, tmp_path_factory):
    """``installed("synthreal", "plugins")``: run a program of a fresh environment that holds the wheels.

    The environment reads the other dependencies (torch and so on) from this interpreter's site-packages. A path line
    in a .pth file adds the folder without its own .pth files, so an editable install of the source tree stays out.
    """
    folder = tmp_path_factory.mktemp("fresh")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True)
    python = folder / "venv/bin/python"
    wheels = [str(path) for path in sorted(dist.glob("*.whl"))]
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps", "--no-index"]
    subprocess.run([*pip, *wheels], check=True, capture_output=True)
    (site,) = (folder / "venv/lib").glob("python*/site-packages")
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

    def run(program: str, *arguments: str) -> str:
        command = [str(folder / "venv/bin" / program), *arguments]
        ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    return run


@pytest.mark.slow
def test_wheels_run_outside_the_source_tree(installed):
    modules = ", ".join(PROJECTS)
    places = installed("python", "-c", f"import {modules}; print(*(m.__file__ for m in ({modules})))").split()
    assert all("/venv/lib/" in place for place in places), places
    plugins = installed("synthreal", "plugins")
    for name in PLUGINS:
        assert name in plugins
        assert tomllib.loads(installed("synthreal", "show", "--plugin", name))["data"]
    installed("synthreal", "plugins", "new", "gauges", "--into", "gauges")  # the wheel contains the template
    assert tomllib.loads(installed("python", "-c", "print(open('gauges/pyproject.toml').read())"))["project"]


@pytest.mark.slow
def test_a_report_is_written_outside_the_source_tree(installed):
    """A fit of two steps and its page, for which the wheel must contain templates and style sheet."""
    pytest.importorskip("matplotlib")
    short = ["schedule={refiner_steps=1, discriminator_steps=0, steps=1, batch=4, sheet_every=1}", "quality=none"]
    counts = [f"data.{role}.count=8" for role in ("simulated", "real")]
    settings = [word for setting in (*short, *counts, "history.size=8") for word in ("--set", setting)]
    installed("synthreal", "fit", "--plugin", "gaze", "--run", "run", *settings)
    installed("synthreal", "report", "run")
    page = installed("python", "-c", "print(open('run/report.html').read())")
    assert "<style" in page
