"""A new plugin is complete: its tests pass, it can be fitted at once, and it is tidy."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import synthreal
from synthreal.errors import UserError, WriteError
from synthreal.hooks.catalog import Catalog
from synthreal.hooks.resolve import configure
from synthreal.testing import new_plugin as module
from synthreal.testing.new_plugin import new_plugin

ROOT = Path(synthreal.__file__).resolve().parent.parent
SHORT = [
    *("--set", "schedule={refiner_steps=2, discriminator_steps=1, steps=3, batch=4}", "--set", "history.size=8"),
    *("--set", "data.simulated.count=40", "--set", "data.real.count=40", "--set", "quality.images=20"),
]


@pytest.fixture(scope="module")
def gauges(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("author") / "synthreal-gauges"
    new_plugin("gauges", folder)
    return folder


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_it_can_be_fitted_at_once(gauges):
    done = python(gauges, "-m", "synthreal", "fit", "--plugin", "gauges", *SHORT)
    assert done.returncode == 0, done.stderr
    assert (gauges / "runs/gauges/refiner.safetensors").is_file()


@pytest.mark.slow
def test_its_tests_pass(gauges):
    done = python(gauges, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider")
    assert done.returncode == 0, done.stdout
    assert "failed" not in done.stdout and "skipped" not in done.stdout


@pytest.mark.slow
def test_it_can_be_built_and_installed(gauges, tmp_path):
    pytest.importorskip("hatchling")
    pip = ["-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index", "--target", str(tmp_path)]
    done = python(gauges, *pip, str(gauges))
    assert done.returncode == 0, done.stderr
    (points,) = tmp_path.glob("synthreal_gauges-*.dist-info/entry_points.txt")
    assert "gauges = synthreal_gauges" in points.read_text()


def test_it_is_tidy(gauges):
    pytest.importorskip("ruff")
    for command in (("check", "--no-cache"), ("format", "--no-cache", "--check")):
        done = python(gauges, "-m", "ruff", command[0], "--config", str(ROOT / "pyproject.toml"), *command[1:], ".")
        assert done.returncode == 0, done.stdout


def test_its_name_is_everywhere_and_its_files_are_documented(gauges):
    files = [path for path in gauges.rglob("*") if path.is_file() and path.suffix in (".py", ".toml", ".md")]
    assert len(files) >= 11
    readme = (gauges / "README.md").read_text()
    for path in files:
        assert "PLUGIN" not in path.read_text() and "PLUGIN" not in str(path)
        if path.parent.name == "synthreal_gauges" and path.name != "__init__.py":
            assert f"synthreal_gauges/{path.name}" in readme
    assert 'name = "synthreal-gauges"' in (gauges / "pyproject.toml").read_text()


@pytest.mark.parametrize(
    "name", ["", "Gauges", "my-gauges", "7gauges", "a/b", "..", "x" * 41, "g_", "gaze", "synthreal"]
)
def test_names_that_are_none_or_taken(tmp_path, name):
    with pytest.raises(UserError, match=r"is no name|installed already"):
        new_plugin(name, tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["class", "torch", "classification", "folder", "resnet", "a__b7"])
def test_names_of_other_things_make_a_plugin_that_loads(tmp_path, monkeypatch, name):
    new_plugin(name, tmp_path / "new")
    monkeypatch.syspath_prepend(tmp_path / "new")
    catalog = Catalog.of([name])
    assert configure(catalog).recipe == name


def test_an_empty_folder_is_filled_and_others_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    assert tmp_path / "empty/pyproject.toml" in new_plugin("gauges", tmp_path / "empty")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("empty", "file", "link"):  # now "empty" is not
        with pytest.raises(UserError, match="--into"):
            new_plugin("gauges", tmp_path / name)
    assert new_plugin("gauges", tmp_path / "far/away")


def test_the_working_directory_is_filled_and_stays(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = tmp_path.stat().st_ino
    assert Path("pyproject.toml") in new_plugin("gauges", Path())
    assert (tmp_path / "synthreal_gauges/disc.py").is_file() and tmp_path.stat().st_ino == before
    assert not list(tmp_path.parent.glob(".*.partial"))


def test_an_existing_folder_is_filled_from_within_and_not_in_part(tmp_path, monkeypatch):
    """Its parent may be read-only, or on another file system."""
    folder = tmp_path / "empty"
    folder.mkdir()
    moved, replace = [], Path.replace

    def second_fails(source, target):
        assert source.is_relative_to(folder)
        if target.parent == folder:
            moved.append(target)
            if len(moved) == 2:
                raise OSError(28, "No space left on device")
        return replace(source, target)

    monkeypatch.setattr(Path, "replace", second_fails)
    with pytest.raises(WriteError, match="No space left"):
        new_plugin("gauges", folder)
    assert len(moved) == 2 and list(folder.iterdir()) == [] and list(tmp_path.iterdir()) == [folder]


def test_nothing_is_left_of_a_failed_write(tmp_path, monkeypatch):
    def fails(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_copy", fails)
    with pytest.raises(WriteError, match="No space left"):
        new_plugin("gauges", tmp_path / "new")
    assert list(tmp_path.iterdir()) == []
