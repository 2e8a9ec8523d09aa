"""Loading plugins by entry point, module or file, and the errors of plugins that do not load."""

from __future__ import annotations

import os
import sys
import types
from importlib import metadata

import pytest
from quick import TOY

from synthreal.errors import UserError
from synthreal.hooks.catalog import Catalog, inventory
from synthreal.hooks.discovery import Origin, available, canonical, origin_of, plugin_manager, version_of

HOOK = "@hookimpl\ndef {}:\n    return ()\n"
HEAD = "import synthreal\nfrom synthreal import *\nfrom synthreal.config import *\n"


def plugin(tmp_path, body, name="domain.py"):
    path = tmp_path / name
    path.write_text(HEAD + body)
    return str(path)


def test_a_module_of_a_package_is_a_plugin(tmp_path, monkeypatch):
    (tmp_path / "somepackage").mkdir()
    (tmp_path / "somepackage/__init__.py").touch()
    (tmp_path / "somepackage/domain.py").write_text(TOY.read_text())
    monkeypatch.syspath_prepend(tmp_path)
    catalog = Catalog.of(["somepackage.domain"])
    assert catalog.evaluator("pointer").name == "pointer"
    assert catalog.origins[1] == Origin("somepackage.domain", "somepackage", "source")


def test_a_bare_name_is_the_module_with_that_suffix(tmp_path, monkeypatch):
    (tmp_path / "synthreal_byrule.py").write_text(TOY.read_text())
    monkeypatch.syspath_prepend(tmp_path)
    catalog = Catalog.of(["byrule"])
    assert catalog.origins[1].distribution == "synthreal-byrule"
    assert catalog.recipe().recipe == "toy"


class Point:
    """An entry point of an installed distribution."""

    group = "synthreal"

    def __init__(self, name, value):
        self.name, self.value = name, value
        self.dist = types.SimpleNamespace(name=f"dist-{name}", version="1.2.3")


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Two installed plugins, of which one is broken."""
    (tmp_path / "good_domain.py").write_text(TOY.read_text())
    (tmp_path / "bad_domain.py").write_text("raise RuntimeError('boom')\n")
    monkeypatch.syspath_prepend(tmp_path)
    points = [Point("good", "good_domain"), Point("bad", "bad_domain")]
    monkeypatch.setattr(metadata, "entry_points", lambda group: [point for point in points if point.group == group])


def test_an_entry_point_names_a_plugin_and_its_distribution(installed):
    catalog = Catalog.of(["good"])
    assert catalog.origins[1] == Origin("good", "dist-good", "1.2.3")
    assert available() == ["bad", "good"]


def test_a_broken_plugin_breaks_nothing_that_does_not_name_it(installed):
    Catalog.of(["good"])
    assert "bad_domain" not in sys.modules
    rows = {row["plugin"]: row for row in inventory()}
    assert list(rows) == ["synthreal", "bad", "good"]
    assert (rows["bad"]["distribution"], rows["bad"]["version"]) == ("dist-bad", "1.2.3")
    assert "boom" in rows["bad"]["error"] and rows["bad"]["registers"] == {}
    assert rows["good"]["error"] is None
    assert rows["good"]["registers"]["datasets"][:2] == ["discs simulated", "photographs real"]
    assert rows["good"]["registers"]["networks"] == ["refiner tint"]
    assert rows["synthreal"]["registers"]["features"][0] == "identity"


def test_a_manager_is_new_each_call_and_holds_each_plugin_once():
    one, other = plugin_manager([str(TOY), str(TOY)]), plugin_manager([])
    assert len(one.get_plugins()) == 2 and len(other.get_plugins()) == 1


def test_the_errors_of_a_file_name_it(tmp_path):
    for number, (body, message) in enumerate(
        [
            ("def broken(:\n", r"does not import: .*line 4"),
            ("import a_module_nobody_has\n", r"does not import: No module named 'a_module_nobody_has'"),
            ("from synthreal import Nothing\n", "does not import: cannot import name 'Nothing'"),
            (HOOK.format("synthreal_dataset()"), "unknown hook 'synthreal_dataset'.*the hooks are synth"),
            (HOOK.format("synthreal_datasets(config)"), "config.*the hooks are synthreal_datasets"),
            ("def synthreal_datasets():\n    return ()\n", "synthreal_datasets is not marked as a hook"),
        ]
    ):
        path = plugin(tmp_path, body, f"domain{number}.py")
        with pytest.raises(UserError, match=message) as error:
            Catalog.of([path])
        assert path in str(error.value) and "<module" not in str(error.value)


def test_an_error_in_a_plugins_own_code_keeps_its_traceback(tmp_path):
    with pytest.raises(ZeroDivisionError):
        Catalog.of([plugin(tmp_path, "1 / 0\n")])
    mended = plugin(tmp_path, "@hookimpl\ndef synthreal_recipes():\n    return {}\n")
    assert len(Catalog.of([mended]).origins) == 2  # the broken module is not cached


def test_a_missing_plugin_names_a_remedy():
    with pytest.raises(UserError, match=r"'nosuch' is not installed \(installed: .*\); pip install synthreal-nosuch"):
        Catalog.of(["nosuch"])
    with pytest.raises(UserError, match=r"'gazes' is not installed .*; did you mean 'gaze'\? If not, pip install"):
        Catalog.of(["gazes"])
    with pytest.raises(UserError, match=r"missing/domain\.py: no such file; give the path"):
        Catalog.of(["missing/domain.py"])
    for name in ("no.such.module", "json.nosuch", ".relative", "a..b", "tests/toy", ""):
        with pytest.raises(UserError, match=f"plugin '{name}' is not installed"):
            Catalog.of([name])


def test_a_plugin_whose_import_is_missing_names_it(tmp_path, monkeypatch):
    (tmp_path / "synthreal_needy.py").write_text("import a_module_nobody_has\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match="plugin needy does not import: No module named 'a_module_nobody_has'"):
        Catalog.of(["needy"])


def test_versions_and_names(tmp_path, monkeypatch):
    assert version_of("numpy") == metadata.version("numpy")
    assert version_of("no-such-distribution") == "source"
    monkeypatch.chdir(tmp_path)
    assert canonical("a/b.py") == str(tmp_path / "a/b.py")
    assert canonical("gaze") == "gaze"
    assert origin_of("synthreal").distribution == "synthreal"


def test_a_file_whose_name_is_not_utf_8_is_loaded(tmp_path):
    """A run refuses to record it; see the configuration."""
    path = tmp_path / os.fsdecode(b"d\xff.py")
    try:
        path.write_text("loaded = True")
    except OSError:
        pytest.skip("this file system allows UTF-8 only")
    assert plugin_manager([str(path)]).get_plugin(str(path)).loaded
