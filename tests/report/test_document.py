"""The page: its content, what it reports as missing, escaping, and the file it is written to."""

from __future__ import annotations

import json
import os
import re
import shutil
from base64 import b64decode
from html.parser import HTMLParser
from pathlib import Path

import pytest
from run_log import QUALITY, edit_log

import synthreal
from synthreal import errors
from synthreal.errors import UserError
from synthreal.hooks.discovery import version_of
from synthreal.report import charts, facts
from synthreal.report.document import write_report
from synthreal.report.record import read_record
from synthreal.results.tables import evaluation_tables

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

VOID = {"meta", "link", "img", "input", "br"}


class Parsed(HTMLParser):
    """Tags with their attributes and visible text by section; every tag is closed."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.open, self.texts, self.section = [], [], {}, ""
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag == "section":
            self.section = dict(attributes)["id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.texts[self.section] = " ".join((self.texts.get(self.section, "") + " " + data).split())

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def plain(monkeypatch):
    """Pages with empty charts, which are faster to write."""
    monkeypatch.setattr(charts, "draw", lambda chart: "data:,")


def parse_page(run, **more):
    return Parsed(write_report(run, **more).read_text(encoding="utf-8"))


def test_the_page_of_a_complete_run(full):
    page = parse_page(full)
    assert set(page.texts) == {
        "", "pictures", "losses", "quality", "drift", "arms", "data", "warnings", "again", "configuration",
    }  # fmt: skip
    assert all(text in page.texts[""] for text in ("toy", "11 of 11", "refined against simulated", "landmark shift"))
    sheets = [image for image in page.all("img") if "data-sheet" in image]
    assert [sheet["data-sheet"] for sheet in sheets] == ["step 2", "step 5", "step 8", "step 11"]
    assert ["hidden" in sheet for sheet in sheets] == [True, True, True, False]
    assert b64decode(sheets[0]["src"].partition(",")[2]) == (full / "sheets/step-00000002.png").read_bytes()
    assert "Moved most" in page.texts["drift"] and "cached estimator" in page.texts["drift"]
    assert QUALITY["rule"] in page.texts["quality"] and "Circle: the best step" in page.texts["quality"]
    for table in evaluation_tables(read_record(full).evaluations[0]):
        assert table.title in page.texts["arms"]
        assert all(text in page.texts["arms"] for row in (table.columns, *table.rows, table.notes) for text in row)
    assert "1x12x16 uint8, a disc on grey" in page.texts["data"] and "radius = 2.5" in page.texts["data"]
    assert "synthreal fit --plugin" in page.texts["again"]
    assert "width = 4" in page.texts["configuration"] and version_of("torch") in page.texts["configuration"]
    drawings = [image for image in page.all("img") if image["src"].startswith("data:image/svg")]
    assert len(drawings) == 4 + 6 + 2 and all(image["alt"] for image in drawings)
    assert synthreal.report.write_report is write_report


def test_the_same_run_gives_the_same_bytes(full):
    first = write_report(full).read_bytes()
    assert write_report(full).read_bytes() == first


def test_missing_parts_are_reported_with_the_command_that_produces_them(run, plain):
    shutil.rmtree(run / "sheets")
    (run / "refiner.safetensors").unlink()
    page = parse_page(run)
    assert "quality" not in page.texts
    assert "no contact sheet yet" in page.texts["pictures"] and page.all("input") == []
    assert "Not evaluated yet" in page.texts["arms"] and "synthreal evaluate run" in page.texts["arms"]
    assert "refiner.safetensors: missing" in page.texts["drift"]
    assert page.texts["warnings"] == "Warnings None." and "Warnings (" not in page.texts[""]
    assert [title for title, *_ in facts.summary(read_record(run))] == ["steps"]


def test_a_run_without_its_plugin_has_a_page(run, plain):
    from quick import TOY

    path = run / "config.toml"
    path.write_text(path.read_text().replace(str(TOY), "/nowhere/domain.py"))
    page = parse_page(run)
    assert "/nowhere/domain.py' is not installed" in page.texts["drift"] and page.texts["losses"]


def test_paths_that_are_not_utf_8_are_shown_escaped(full, cli):
    odd = Path(os.fsdecode(b"r\xffn"))
    try:
        full.rename(odd)
    except OSError:
        pytest.skip("this file system allows UTF-8 only")
    done = cli("report", odd).ok()
    assert done.out == "r\\udcffn/report.html: open it in a browser\n"
    assert "r\\udcffn" in (odd / "report.html").read_text(encoding="utf-8")


def test_a_run_with_one_simulated_image_has_a_page(run, plain):
    path = run / "config.toml"
    path.write_text(re.sub(r"(?<=\[data.simulated\]\n)((?:.*\n)*?)count = 40", r"\1count = 1", path.read_text()))
    assert "fewer than two simulated images" in parse_page(run).texts["drift"]


def test_the_summary(full):
    path = full / "evaluation.json"
    tree = json.loads(path.read_text())
    refined = tree["arms"]["refined"]
    refined["error_px"].update(mean=3.0, std=0.25)
    refined["against_simulated"] = {"difference": -1.0, "interval": [-1.5, -0.5], "p": 1e-9}
    tree["arms"]["simulated"]["error_px"]["mean"] = 4.0
    path.write_text(json.dumps({**tree, "runs": ["run", "other run"]}))
    steps, change, shift = facts.summary(read_record(full))
    assert steps[:2] == ("steps", "11 of 11") and steps[2].endswith(" images/s")
    assert change[1:] == ("-25 % (-38 to -12)", "error_px 4.00 → 3.00 ± 0.25, p 1.0e-09")
    assert shift[0] == "landmark shift" and shift[1].endswith(" px")


def test_the_runs_of_an_evaluation_of_several(full, plain):
    path = full / "evaluation.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "runs": ["run", "other run"]}))
    assert "Runs: run, other run." in parse_page(full).texts["arms"]


def test_warnings_that_differ_in_numbers_are_merged(full, plain):
    def warn(line):
        if line["step"] in (4, 6, 9):
            line["warnings"] = [f"identity refiner: mean is 0.00{line['step']}"]
        if line["step"] == 7:
            line["warnings"] = ["data.real: 1 unreadable"]

    edit_log(full, warn)
    path = full / "evaluation.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "warnings": ["data.test: unreadable"]}))
    with (full / "log.jsonl").open("a") as log:
        log.write('{"st')
    assert facts.warnings(read_record(full)) == [
        ("identity refiner: mean is 0.009", "3 times, steps 4 to 9"),
        ("data.real: 1 unreadable", "step 7"),
        ("data.test: unreadable", "test evaluation"),
        ("log.jsonl: the last line is incomplete and was ignored", "this page"),
    ]
    page = parse_page(full)
    assert "data.test: unreadable (test evaluation)" in page.texts["warnings"]
    assert "Warnings (4)" in page.texts[""]


def test_quality_without_its_file_or_its_rule(full, plain):
    (full / "quality.json").write_text('{"simulated": {}}')
    assert "Circle" not in parse_page(full).texts["quality"]
    (full / "quality.json").unlink()
    assert "KID to real images" in parse_page(full).texts["quality"]


def test_images_are_counted_in_the_cache(full):
    import numpy as np
    from toy import IMAGE

    from synthreal.data.writer import PackWriter
    from synthreal.spec import Skipped

    (full / "data").mkdir(exist_ok=True)
    with PackWriter(full / "data/real.h5", image=IMAGE, labels=(), role="real", name="crops") as writer:
        writer.append(np.zeros((7, 1, 12, 16), np.uint8), {})
        writer.skip(Skipped("a.png", "truncated"))
    rows = {role: images for role, _, images, _ in facts.data_rows(read_record(full))}
    assert rows["real"] == "7, 1 unreadable skipped" and rows["simulated"] == "40"
    (full / "data/real.h5").write_text("damaged")
    assert facts.data_rows(read_record(full))[1][2] == "200"


EVIL = "<script>alert(1)</script>\"'&{{ 7 * 7 }}"


def test_text_is_escaped(full):
    evil = Path("a<b>&'c")
    shutil.move(full, evil)
    path = evil / "evaluation.json"
    tree = json.loads(path.read_text().replace("within_1px", "within_<b>_1px"))
    tree["test"]["name"] = EVIL
    tree["warnings"] = [EVIL]
    tree["arms"]["refined"]["curve"]["unit"] = "<i>deg</i>"
    tree["arms"]["<u>own</u>"] = tree["arms"]["refined"]
    path.write_text(json.dumps(tree))
    (evil / "quality.json").write_text(json.dumps({"rule": EVIL}))
    edit_log(evil, lambda line: line.update(warnings=[f"{EVIL} twice"]))
    text = (evil / "config.toml").read_text().replace('meaning = "a disc on grey"', f"meaning = '''{EVIL}'''")
    (evil / "config.toml").write_text(text + '"{{<em>}}" = "<h6>"\n')
    page = parse_page(evil)
    names = {tag for tag, _ in page.tags}
    assert len(page.all("script")) == 1 and not names & {"b", "i", "u", "em", "h6"}
    for section in ("arms", "warnings", "quality", "data"):
        assert EVIL.replace("  ", " ") in page.texts[section], section
    assert "<u>own</u>" in page.texts["arms"]


def test_the_page_loads_nothing(full):
    path = write_report(full)
    page, text = Parsed(path.read_text()), path.read_text()
    for tag, attributes in page.tags:
        for name in ("src", "href", "action", "srcset"):
            assert attributes.get(name, "#").startswith(("data:", "#")), (tag, attributes)
    assert "@import" not in text and "url(" not in text and "http:" not in text and "https:" not in text
    (policy,) = [meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; img-src data:;")


def test_a_failed_write_preserves_the_old_page(full, plain, monkeypatch):
    before = write_report(full).read_bytes()
    edit_log(full, lambda line: line.update(warnings=["new"]))
    monkeypatch.setattr(os, "fsync", lambda handle: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(UserError, match=r"run/report\.html: cannot write \(No space left"):
        write_report(full)
    assert (full / "report.html").read_bytes() == before
    assert not list(full.glob("*.partial"))


def test_the_target(full, plain):
    assert write_report(full) == full / "report.html"
    assert write_report(full, out="here.html") == Path("here.html")
    Path("mine.txt").write_text("mine")
    for out, said in {
        "nowhere/a.html": "nowhere is not a folder",
        "run": "is a folder",
        "mine.txt": "exists and is no HTML page",
    }.items():
        with pytest.raises(UserError, match=said):
            write_report(full, out=out)
    assert Path("mine.txt").read_text() == "mine"


@pytest.mark.parametrize("library", ["jinja2", "matplotlib", "tensorboard"])
def test_a_missing_library_is_reported_with_its_extra(full, plain, monkeypatch, cli, library):
    find_spec = errors.find_spec
    monkeypatch.setattr(errors, "find_spec", lambda name: None if name == library else find_spec(name))
    extra = "tensorboard" if library == "tensorboard" else "report"
    line = cli("report", full, "--tensorboard", "events").complaint()
    assert f"needs {library}; pip install 'synthreal[{extra}]'" in line
    assert not Path("events").exists() and not (full / "report.html").exists()
    if library == "tensorboard":
        cli("report", full).ok()


def test_the_command(full, plain, cli):
    done = cli("report", full).ok()
    assert done.out == "run/report.html: open it in a browser\n" and "refining 40 images" in done.err
    first = (full / "report.html").read_bytes()
    cli("report", full, "--out", "a.html", "--device", "cpu").ok()
    assert Path("a.html").read_bytes() == first
    assert "'tpu'" in cli("report", full, "--device", "tpu").complaint()
