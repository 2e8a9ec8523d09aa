"""The page as a file: what it holds, what it says is missing, and that nothing in it can do harm."""

from __future__ import annotations

import json
import os
import re
import shutil
from base64 import b64decode, b64encode
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from diary import QUALITY, edit

import synthreal
from synthreal.errors import UserError
from synthreal.report import document, facts
from synthreal.report.arms import arms_table, quality_table
from synthreal.report.document import write_report
from synthreal.report.record import read_record

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

PAGES = Path(document.__file__).parent
VOID = {"meta", "link", "img", "input", "br"}


class Parsed(HTMLParser):
    """Tags with their attributes, visible text by section, and whether what opens closes."""

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
    """Pages without charts, for tests of everything else."""
    monkeypatch.setattr(document, "draw", lambda panel, size: "<svg></svg>")


def written(run, **more):
    return Parsed(write_report(run, **more).read_text(encoding="utf-8"))


def test_a_page_of_a_whole_run(full):
    assert synthreal.report.write_report is write_report
    page = written(full)
    assert set(page.texts) == {
        "", "pictures", "losses", "quality", "drift", "arms", "data", "warnings", "again", "configuration",
    }  # fmt: skip
    assert "toy" in page.texts[""] and "11 of 11" in page.texts[""] and "labels move by" in page.texts[""]
    sheets = [image for image in page.all("img") if "data-sheet" in image]
    assert [sheet["data-sheet"] for sheet in sheets] == ["step 2", "step 5", "step 8", "step 11"]
    assert ["hidden" in sheet for sheet in sheets] == [True, True, True, False]
    assert b64decode(sheets[0]["src"].partition(",")[2]) == (full / "sheets/step-00000002.png").read_bytes()
    assert "Moved most" in page.texts["drift"] and "kept estimator" in page.texts["drift"]
    assert QUALITY["rule"] in page.texts["quality"]
    assert "Test: 15 real images (photographs)" in page.texts["arms"] and "a constant answer" in page.texts["arms"]
    assert "of the mean difference, bootstrap over images; p: Wilcoxon's test, which ranks" in page.texts["arms"]
    assert "Do labels survive?" in page.texts["arms"] and "reads a shift of exactly 2 px" in page.texts["arms"]
    assert "1x12x16 uint8, a disc on grey" in page.texts["data"] and "radius = 2.5" in page.texts["data"]
    assert "synthreal fit --plugin" in page.texts["again"]
    assert "width = 4" in page.texts["configuration"] and torch.__version__ in page.texts["configuration"]
    drawings = [tag for tag in page.all("svg") if "class" not in tag]
    assert len(drawings) == 4 + 6 + 2 * 2  # those of errors for wide and for narrow windows


def test_the_same_run_gives_the_same_bytes(full):
    first = write_report(full).read_bytes()
    assert write_report(full).read_bytes() == first


def test_what_is_missing_is_told_with_the_command_that_makes_it(run, plain):
    shutil.rmtree(run / "sheets")
    (run / "refiner.safetensors").unlink()
    page = written(run)
    assert "quality" not in page.texts
    assert "No sheet yet; the run draws one every" in page.texts["pictures"] and page.all("input") == []
    assert "Not judged yet" in page.texts["arms"] and "synthreal evaluate run" in page.texts["arms"]
    assert "refiner.safetensors: missing" in page.texts["drift"]
    assert page.texts["warnings"] == "Warnings None." and "Warnings (" not in page.texts[""]
    assert [card.title for card in facts.summary(read_record(run))] == ["steps"]


def test_without_its_plugin_a_run_still_has_a_page(run, plain):
    from quick import TOY

    path = run / "config.toml"
    path.write_text(path.read_text().replace(str(TOY), "/nowhere/domain.py"))
    page = written(run)
    assert "/nowhere/domain.py: no such file" in page.texts["drift"] and page.texts["losses"]


def test_an_evaluation_without_intervals(full, plain):
    path = full / "evaluation.json"
    tree = json.loads(path.read_text())
    for arm in tree["arms"].values():
        del arm["against_simulated"]
    path.write_text(json.dumps({**tree, "runs": ["run", "other run"]}))
    page = written(full)
    assert "An older evaluation without intervals" in page.texts["arms"]
    assert (
        "2 runs: run, other run. An older" in page.texts["arms"]
    )  # not behind the command, where it looks like a part
    assert "synthreal evaluate run 'other run' Images within" in page.texts["arms"]
    table = arms_table(read_record(full).evaluations[0])
    assert table.note == "" and table.rows[1].change.endswith(" %") and table.rows[1].p == ""


def test_the_table_holds_what_the_evaluation_found(full):
    tree = json.loads((full / "evaluation.json").read_text())
    mine = tree["arms"]["refined"]
    mine["error_px"].update(mean=3.0, std=0.25)
    mine["against_simulated"] = {"difference": -1.0, "interval": [-1.5, -0.5], "p": 1e-9}
    tree["arms"]["simulated"]["error_px"]["mean"] = 4.0
    tree["constant"]["error_px"] = 3.5
    (full / "evaluation.json").write_text(json.dumps(tree))
    table = arms_table(read_record(full).evaluations[0])
    assert table.metrics == ("error_px", "within_1px") and table.note
    simulated, refined, *_, constant = table.rows
    assert refined.cells[0] == "3.00 ± 0.25" and refined.change == "-25 % (-38 to -12)"
    assert refined.difference == "-1.00 (-1.50 to -0.50)" and refined.p == "1.0e-09"
    assert simulated.useless and not refined.useless and simulated.change == ""
    assert constant.cells[0] == "3.50" and constant.colour == ""
    cards = {card.title: card for card in facts.summary(read_record(full))}
    assert cards["simulated → refined"].figure == "-25 %"
    assert cards["simulated → refined"].remark == "error 4.00 → 3.00 ± 0.25 px"
    assert cards["95 % interval"].figure == "-38 to -12 %" and cards["95 % interval"].remark == "p = 1.0e-09"


def test_a_probability_too_small_for_a_number_and_an_error_of_nothing(full):
    path = full / "evaluation.json"
    tree = json.loads(path.read_text())
    tree["arms"]["refined"]["against_simulated"]["p"] = 0.0
    path.write_text(json.dumps(tree))
    cards = {card.title: card for card in facts.summary(read_record(full))}
    assert cards["95 % interval"].remark == "p < 1e-300"
    tree["arms"]["simulated"]["error_px"]["mean"] = 0.0
    path.write_text(json.dumps(tree))
    cards = {card.title: card for card in facts.summary(read_record(full))}
    assert cards["simulated → refined"].figure == "" and "95 % interval" not in cards


def test_no_number_is_minus_nothing(full):
    path = full / "evaluation.json"
    tree = json.loads(path.read_text())
    tree["arms"]["simulated"]["error_px"]["mean"] = 4.0
    tree["arms"]["refined"]["against_simulated"] = {"difference": -0.002, "interval": [-0.004, 0.2], "p": 0.5}
    path.write_text(json.dumps(tree))
    refined = arms_table(read_record(full).evaluations[0]).rows[1]
    assert (refined.change, refined.difference) == ("+0 % (+0 to +5)", "+0.00 (+0.00 to +0.20)")


APPRAISED = {
    "simulated": {"kid": 0.4, "two_sample": {"accuracy": 1.0, "correct": 500, "total": 500, "p": 3.1e-151}},
    "refined": {"kid": -0.0312, "kid_estimator": 0.25, "drift": {"error_px": 1.5, "within_1px": 40.0}},
    "real": {},
}


def test_the_table_without_labels(full, plain):
    path = full / "evaluation.json"
    tree = json.loads(path.read_text())
    path.write_text(json.dumps({key: value for key, value in tree.items() if key != "quality"}))
    assert "Without labels" not in written(full).texts["arms"]  # a file of an older version
    path.write_text(json.dumps({**tree, "quality": APPRAISED}))
    (found,) = read_record(full).evaluations
    table = quality_table(found)
    assert table.metrics == ("KID", "KID est", "told apart", "p", "drift")
    assert [(row.arm, row.cells) for row in table.rows] == [
        ("simulated", ("0.400", "-", "100.0 %", "3.1e-151", "-")),
        ("refined", ("-0.031", "0.250", "-", "-", "1.50")),
        ("real", ("-", "-", "-", "-", "-")),
    ]
    told = written(full).texts["arms"]
    for part in ("Without labels: how real, how true", "100.0 %", "-0.031", "50 % is guessing", "Drift: error_px"):
        assert part in told
    for nothing in (None, {}, {"refined": {}}):
        path.write_text(json.dumps({**tree, "quality": nothing}))
        assert quality_table(read_record(full).evaluations[0]) is None


def test_an_unfit_detector_is_told(full, plain):
    path = full / "evaluation.json"
    tree = json.loads(path.read_text())
    tree["preservation"]["control_px"] = 1.2
    path.write_text(json.dumps(tree))
    assert "1.20 px: it is off, do not trust this shift" in written(full).texts["arms"]


def test_warnings_are_collected_once_each(full, plain):
    def warn(line):
        if line["step"] in (4, 6, 9):
            line["warnings"] = [f"identity refiner: mean is 0.00{line['step']}"]
        if line["step"] == 7:
            line["warnings"] = ["data.real: 1 unreadable"]

    edit(full, warn)
    path = full / "evaluation.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "warnings": ["data.test: unreadable"]}))
    with (full / "log.jsonl").open("a") as log:
        log.write('{"st')
    assert [(one.text, one.when) for one in facts.warnings(read_record(full))] == [
        ("identity refiner: mean is 0.009", "3 times, steps 4 to 9"),
        ("data.real: 1 unreadable", "step 7"),
        ("data.test: unreadable", "test evaluation"),
        ("log.jsonl: its last line is cut and left out", "this page"),
    ]
    page = written(full)
    assert "data.test: unreadable (test evaluation)" in page.texts["warnings"]
    assert "Warnings (4)" in page.texts[""]  # at the top, where nobody has scrolled yet


def test_quality_without_its_file_or_its_rule(full, plain):
    assert "Circled: the best step" in written(full).texts["quality"]
    (full / "quality.json").write_text('{"simulated": {}}')
    assert "Circled" not in written(full).texts["quality"]
    (full / "quality.json").unlink()  # as the page itself advises for a damaged one
    assert "KID to real images" in written(full).texts["quality"]


def test_images_that_were_read_are_counted(full):
    import numpy as np
    from toy import IMAGE

    from synthreal.data.pack import PackWriter
    from synthreal.spec import Skipped

    (full / "data").mkdir(exist_ok=True)
    with PackWriter(full / "data/real.h5", image=IMAGE, labels=(), role="real", name="crops") as writer:
        writer.append(np.zeros((7, 1, 12, 16), np.uint8), {})
        writer.skip(Skipped("a.png", "truncated"))
    rows = {row.role: row.images for row in facts.data(read_record(full))}
    assert rows["real"] == "7, 1 unreadable skipped" and rows["simulated"] == "40"
    (full / "data/real.h5").write_text("damaged")
    assert facts.data(read_record(full))[1].images == "200"


EVIL = "<script>alert(1)</script>\"'&{{ 7 * 7 }}"


def test_everything_is_escaped(full, monkeypatch):
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
    edit(evil, lambda line: line.update(warnings=[f"{EVIL} twice"]))
    text = (evil / "config.toml").read_text().replace('meaning = "a disc on grey"', f"meaning = '''{EVIL}'''")
    (evil / "config.toml").write_text(text + '"{{<em>}}" = "<h6>"\n')
    page = written(evil)
    names = {tag for tag, _ in page.tags}
    assert len(page.all("script")) == 1 and not names & {"b", "i", "u", "em", "h6"}
    for section in ("arms", "warnings", "quality", "data"):
        assert EVIL.replace("  ", " ") in page.texts[section], section
    assert "<u>own</u>" in page.texts["arms"]


def test_nothing_is_fetched_and_only_the_pages_own_script_runs(full):
    path = write_report(full)
    page, text = Parsed(path.read_text()), path.read_text()
    for tag, attributes in page.tags:
        for name in ("src", "href", "xlink:href", "action", "srcset"):
            assert attributes.get(name, "#").startswith(("data:", "#")), (tag, attributes)
    assert "@import" not in text and not re.search(r"url\((?!#)", text)
    assert set(re.findall(r"https?://[^\"' ]+", text)) == {"http://www.w3.org/1999/xlink"}  # a name, not an address
    (policy,) = [meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = b64encode(sha256(script.encode()).digest()).decode()
    assert "default-src 'none'" in policy and f"script-src 'sha256-{digest}'" in policy
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)


def test_it_looks_like_the_other_pages_of_the_house():
    def tokens(path):
        light, _, dark = path.read_text().partition("@media (prefers-color-scheme: dark)")
        return [dict(re.findall(r"--([\w-]+): (#\w+);", part)) for part in (light, dark)]

    house = tokens(PAGES.parent / "turing/pages/turing.css")
    for mine, theirs in zip(tokens(PAGES / "page.css"), house, strict=True):
        shared = {"paper", "card", "ink", "quiet", "line", "accent", "wrong"}
        assert {name: mine[name] for name in shared} == {name: theirs[name] for name in shared}


def test_the_file_is_whole_or_absent(full, plain, monkeypatch):
    before = write_report(full).read_bytes()
    edit(full, lambda line: line.update(warnings=["new"]))
    monkeypatch.setattr(os, "fsync", lambda handle: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(UserError, match=r"run/report\.html: cannot write \(No space left"):
        write_report(full)
    assert (full / "report.html").read_bytes() == before
    assert not list(full.glob("*.partial"))


def test_where_it_is_written(full, plain):
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
def test_a_missing_library_is_told_with_what_to_install(full, plain, monkeypatch, cli, library):
    there = document.find_spec
    monkeypatch.setattr(document, "find_spec", lambda name: None if name == library else there(name))
    extra = "tensorboard" if library == "tensorboard" else "report"
    line = cli("report", full, "--tensorboard", "events").complaint()
    assert library in line and f"pip install 'synthreal[{extra}]'" in line
    assert not Path("events").exists() and not (full / "report.html").exists()
    if library == "tensorboard":
        cli("report", full).ok()


def test_the_command_line(full, plain, cli):
    done = cli("report", full).ok()
    assert done.out == "run/report.html: open it in a browser\n" and "refining 40 images" in done.err
    first = (full / "report.html").read_bytes()
    cli("report", full, "--out", "a.html", "--device", "cpu").ok()
    assert Path("a.html").read_bytes() == first
    assert "'tpu'" in cli("report", full, "--device", "tpu").complaint()
