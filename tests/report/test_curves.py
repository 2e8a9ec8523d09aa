"""Charts: which there are, the same bytes every time, colours and ids of the page."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import fields
from pathlib import Path

import pytest
from diary import edit

from synthreal.evaluation.training_sets import ARMS
from synthreal.report import curves, panels
from synthreal.report.curves import Curve, Panel
from synthreal.report.record import read_record
from synthreal.results.schema import Evaluation
from synthreal.train.monitor import QualityReport

pytest.importorskip("matplotlib")

CSS = (Path(curves.__file__).parent / "page.css").read_text()


def panel(**more):
    line = Curve("a line", [1, 2, 5, 9], [1.0, 3.0, 2.0, 4.0], "accent")
    return Panel("one", "Title", "described", [line], **more)


def test_the_same_panel_is_the_same_bytes():
    assert curves.draw(panel()) == curves.draw(panel())


def test_a_drawing_is_sound_and_names_nothing_but_its_own():
    other = Curve("other", [1, 9], [0.5, 0.2], "series-3", dash=(4, 2))
    rich = Panel(
        "one", "Title", "described", [*panel().curves, other], x_label="a <b> $c$", levels=((2.5, "level"),),
        edges=(3,), best=(5, 2.0), y_limits=(0, 5), x_limits=(0, 10),
    )  # fmt: skip
    svg = curves.draw(rich)
    ElementTree.fromstring(svg)
    assert "a &lt;b&gt; $c$" in svg  # text stays text, and no mathematics
    assert not re.search(r"#[0-9a-f]{6}\b", svg) and "<style" not in svg and "<metadata" not in svg
    used = set(re.findall(r"var\(--([\w-]+)\)", svg))
    assert {"accent", "series-3", "quiet", "line", "ink"} <= used
    ids = re.findall(r'\bid="([^"]+)"', svg)
    assert ids and len(set(ids)) == len(ids) and all(name.startswith("one-") for name in ids)
    assert set(re.findall(r"(?:href=\"|url\()#([^\")]+)", svg)) <= set(ids)


@pytest.mark.parametrize(
    "more",
    [
        {"x_label": "other"},
        {"y_label": "other"},
        {"levels": ((2.0, "level"),)},
        {"edges": (3.0,)},
        {"best": (5.0, 2.0)},
        {"x_limits": (0, 20)},
        {"y_limits": (0, 20)},
    ],
    ids=lambda more: next(iter(more)),
)
def test_every_part_of_a_panel_changes_the_drawing(more):
    assert curves.draw(panel(**more)) != curves.draw(panel())


def test_a_thicker_line_lies_above_the_others():
    lines = [Curve(name, [1, 2], [1.0, 2.0], name, width=width) for name, width in (("thick", 2.6), ("thin", 1.8))]
    drawn = re.findall(r"var\(--(thick|thin)\)", curves.draw(Panel("one", "Title", "described", lines)))
    assert list(dict.fromkeys(drawn)) == ["thin", "thick"]


def test_a_users_matplotlibrc_changes_nothing():
    import matplotlib

    before = curves.draw(panel())
    with matplotlib.rc_context({"axes.grid": False, "font.size": 30, "svg.fonttype": "path"}):
        assert curves.draw(panel()) == before
        assert matplotlib.rcParams["font.size"] == 30


def test_the_panels_of_a_run(full):
    record = read_record(full)
    losses = {one.name: one for one in panels.loss_panels(record)}
    assert list(losses) == ["loss_regularization", "loss_adversarial", "loss_discriminator", "accuracy"]
    assert losses["accuracy"].edges == [3, 5]
    assert [label for label, _, _ in losses["accuracy"].legend] == ["real", "refined", "D guesses"]
    assert losses["accuracy"].curves[0].y == [100 * value for value in record.series("accuracy_real")[1]]
    assert losses["loss_adversarial"].levels[0][0] == pytest.approx(0.6931, abs=1e-4)
    quality = {one.name: one for one in panels.quality_panels(record)}
    names = ("kid", "sliced_wasserstein", "spectrum", "change", "diversity", "score")
    assert list(quality) == [f"quality-{name}" for name in names]
    assert {*names, "shift_px"} == {
        field.name for field in fields(QualityReport)
    }  # all that a look sees; no shift in this log
    assert quality["quality-kid"].levels == ((0.4, "simulated"),) and quality["quality-score"].levels == ()
    assert quality["quality-kid"].best == (9, pytest.approx(0.12))
    assert "best at step 9" in quality["quality-kid"].described
    (found,) = record.evaluations
    errors = panels.error_panel(found)
    assert [curve.label for curve in errors.curves] == list(found.arms)
    assert errors.curves[1].y == found.arms["refined"].curve.percent
    assert errors.x_label == "error at most, px"


def judged(**arms):
    """An evaluation whose arms have these curves, at thresholds from 1."""
    found = {}
    for arm, percent in arms.items():
        curve = {"metric": "error_px", "threshold": range(1, len(percent) + 1), "percent": percent, "unit": "px"}
        found[arm] = {"error_px": {"mean": 1.0}, "curve": curve if percent else None}
    return Evaluation(
        runs=("run",), split="test", test={"name": "photographs", "n": 9}, preservation=None, constant={},
        primary="error_px", arms=found,
    )  # fmt: skip


def test_errors_have_a_row_of_their_own_that_ends_where_every_arm_is_through():
    errors = panels.error_panel(judged(simulated=(20, 50, 98.9, 99, 100, 100), refined=(30, 99, 100, 100, 100, 100)))
    assert errors.sizes == (curves.WIDE, curves.TALL) and errors.x_limits == (0, pytest.approx(4 * 1.02))
    assert panels.error_panel(judged(simulated=(20, 50, 60))).x_limits == (0, pytest.approx(3 * 1.02))
    assert panels.error_panel(judged(simulated=())) is None


def test_what_parts_the_arms_has_a_chart():
    found = judged(simulated=(20, 50, 99), refined=(30, 75, 99), real=(20, 48, 100))
    gains = panels.gain_panel(found)
    assert [(curve.label, list(curve.y)) for curve in gains.curves] == [("refined", [10, 25, 0]), ("real", [0, -2, 1])]
    assert gains.levels == ((0, "simulated"),) and gains.name == "gains-test" and gains.y_limits is None
    assert gains.described.endswith("refined +25 within 2; real -2 within 2")
    assert gains.curves[0].colour == panels.arm_curve("refined").colour
    assert panels.gain_panel(judged(simulated=(20, 50))) is None
    assert panels.gain_panel(judged(simulated=(), refined=(20, 50))) is None
    assert panels.gain_panel(judged(simulated=(20, 50, 60), refined=(20, 50))) is None


def test_every_size_is_a_drawing_of_its_own():
    small, wide, tall = (curves.draw(panel(), size) for size in (curves.SMALL, curves.WIDE, curves.TALL))
    assert 'viewBox="0 0 360 225"' in small and 'viewBox="0 0 720 330"' in wide and 'viewBox="0 0 360 330"' in tall
    ids = [set(re.findall(r'\bid="([^"]+)"', svg)) for svg in (small, wide, tall)]
    assert sum(map(len, ids)) == len(set.union(*ids))
    for size in (curves.WIDE, curves.TALL):
        assert CSS.count(f".drawing.{size.name} {{ display: ") >= 1


def test_a_run_without_quality_or_a_game(run):
    edit(run, lambda line: line.update(loss_adversarial=None, accuracy_real=None, accuracy_refined=None))
    record = read_record(run)
    assert [one.name for one in panels.loss_panels(record)] == ["loss_regularization", "loss_discriminator"]
    assert panels.quality_panels(record) == []


def test_a_long_log_is_drawn_as_means():
    x, y = list(range(1, 1002)), [float(step % 2) for step in range(1, 1002)]
    few, means = panels.thinned(x, y)
    assert len(few) == len(means) <= panels.MOST and few[-1] == 1001
    assert means[0] == pytest.approx(2 / 3) and few[0] == 3
    assert panels.thinned(x[:300], y[:300]) == (x[:300], y[:300]) and panels.thinned([], []) == ([], [])


def test_every_arm_looks_other_and_every_colour_is_in_both_schemes():
    looks = {arm: (panels.arm_curve(arm).colour, panels.arm_curve(arm).dash) for arm in (*ARMS, "somebody's own")}
    assert len({looks[arm] for arm in ARMS}) == len(ARMS)
    assert len({colour for colour, _ in (looks[arm] for arm in ARMS)}) == len(ARMS)
    whole = {arm for arm in ARMS if not looks[arm][1]}
    assert whole == {"simulated", "refined", "mixed"}  # who sees no colours has the dashes, of which each is another
    assert len({looks[arm][1] for arm in ARMS}) == len(ARMS) - len(whole) + 1
    for colour in {colour for colour, _ in looks.values()} | {curves.INK, curves.QUIET, curves.LINE, "accent"}:
        assert CSS.count(f"--{colour}:") == 2, colour
