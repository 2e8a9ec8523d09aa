"""The commands of authors: plugins, plugins new and plugins check."""

from __future__ import annotations

import json

import pytest
from quick import TOY

from synthreal.testing.check import RULES


def test_check_prints_a_table_of_the_rules(cli):
    ended = cli("plugins", "check", TOY).ok()
    for rule in RULES:
        assert f" {rule} " in ended.out
    assert "keeps the rules" in ended.out


def test_check_of_a_first_party_domain(cli):
    outcomes = json.loads(cli("plugins", "check", "signs", "--json").ok().out)
    assert [outcome["rule"] for outcome in outcomes] == list(RULES)
    assert {outcome["status"] for outcome in outcomes} == {"ok"}


def test_check_exits_with_1_if_a_rule_is_broken(cli, tmp_path):
    path = tmp_path / "broken.py"
    path.write_text(TOY.read_text().replace("0.3 + 0.6 * mask", "0.3 + 0.9 * mask"))
    ended = cli("plugins", "check", path)
    assert ended.code == 1 and "breaks 2 of" in ended.out and "failed" in ended.out
    ended = cli("plugins", "check", path, "--json")
    broken = {outcome["rule"]: outcome["message"] for outcome in json.loads(ended.out) if outcome["status"] == "failed"}
    assert ended.code == 1 and broken.keys() == {"images", "game"} and "[0, 1]" in broken["images"]


def test_bad_input_of_check(cli, tmp_path):
    assert "faces" in cli("plugins", "check", "faces").complaint()
    downloads = tmp_path / "downloads.py"
    downloads.write_text('import urllib.request\n\nurllib.request.urlopen("http://example.org")\n')
    assert "example.org" in cli("plugins", "check", downloads).complaint()
    assert "--json" in cli("plugins", "--json", "check", TOY).complaint()


def test_new_writes_a_plugin_that_keeps_the_rules(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = cli("plugins", "new", "gauges").ok().out
    assert "pytest" in said and "synthreal fit --plugin gauges" in said
    assert (tmp_path / "synthreal-gauges/pyproject.toml").is_file()
    cli("plugins", "new", "gauges", "--into", "sub/mine").ok()
    monkeypatch.syspath_prepend(tmp_path / "sub/mine")
    assert "keeps the rules" in cli("plugins", "check", "gauges").ok().out


@pytest.mark.parametrize("name", ["Gauges", "gaze"])
def test_bad_input_of_new(cli, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    assert name in cli("plugins", "new", name).complaint()
    assert list(tmp_path.iterdir()) == []
