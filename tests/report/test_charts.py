"""The charts: which ones a page has, and reproducible SVG."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from base64 import b64decode
from dataclasses import fields

import pytest
from run_log import edit_log

from synthreal.evaluation.training_sets import ARMS, TAUGHT
from synthreal.report import charts
from synthreal.report.charts import Chart, average_line, draw
from synthreal.report.record import read_record
from synthreal.results.schema import Evaluation
from synthreal.train.monitor import QualityReport

pytest.importorskip("matplotlib")


def chart(**more):
    return Chart("Title", {"refined": ([1, 2, 5, 9], [1.0, 3.0, 2.0, 4.0])}, **more)


def svg(url):
    head, _, body = url.partition(",")
    assert head == "data:image/svg+xml;base64"
    return b64decode(body).decode()


def test_equal_charts_give_equal_bytes_whatever_matplotlibrc_says():
    import matplotlib

    before = draw(chart())
    with matplotlib.rc_context({"axes.grid": False, "font.size": 30, "svg.hashsalt": None}):
        assert draw(chart()) == before
        assert matplotlib.rcParams["font.size"] == 30
    text = svg(before)
    ElementTree.fromstring(text)
    assert "dc:date" not in text


def test_labels_are_text_and_not_mathematics():
    lines = {"a <b> $c": ([1, 2], [1.0, 2.0]), "$d_$": ([1, 2], [2.0, 1.0])}
    ElementTree.fromstring(svg(draw(Chart("Title", lines, x_label="$x_$"))))


def test_every_part_of_a_chart_is_drawn():
    parts = {
        "x_label": "x", "y_label": "y", "level": ("level", 2.0), "edges": (3.0,), "best": (5.0, 2.0), "x_limit": 20,
    }  # fmt: skip
    drawings = [draw(chart()), *(draw(chart(**{name: value})) for name, value in parts.items())]
    assert len(set(drawings)) == 1 + len(parts)


def test_every_arm_has_its_own_colour_and_one_with_a_teacher_that_of_the_arm_in_front():
    def colours(arms):
        text = svg(draw(Chart("Title", {arm: ([1, 2], [1.0, 2.0]) for arm in arms})))
        return set(re.findall(r"stroke: (#[0-9a-f]{6})", text)) - {"#000000", "#b0b0b0"}

    assert len(colours(ARMS)) == len(ARMS) - len(TAUGHT)
    assert colours(["versions", "versions+teacher"]) == colours(["versions"])
    assert draw(Chart("Title", {"versions": ([1], [1.0])})) != draw(Chart("Title", {"versions+teacher": ([1], [1.0])}))


def test_the_charts_of_a_run(full):
    record = read_record(full)
    *losses, accuracy = charts.loss_charts(record)
    assert [one.title for one in losses] == [title for _, title, _ in charts.LOSSES]
    assert losses[1].level == ("D at chance", pytest.approx(0.6931, abs=1e-4))
    assert accuracy.edges == [3, 5] and list(accuracy.lines) == ["real", "refined"]
    assert accuracy.lines["real"][1] == [100 * value for value in record.series("accuracy_real")[1]]
    quality = {one.title: one for one in charts.quality_charts(record)}
    titles = dict(charts.QUALITIES)
    assert set(titles) == {field.name for field in fields(QualityReport)}
    assert list(quality) == [title for name, title in titles.items() if name != "shift_px"]  # the log has no shift
    assert quality[titles["kid"]].level == ("simulated", 0.4) and quality[titles["score"]].level is None
    assert quality[titles["kid"]].best == (9, pytest.approx(0.12))
    assert quality[titles["kid"]].description.endswith("refined from 0.28 to 0.08")
    (evaluation,) = record.evaluations
    errors, gains = charts.error_charts(evaluation)
    assert list(errors.lines) == list(evaluation.arms) and list(gains.lines) == ["refined"]
    assert errors.lines["refined"][1] == evaluation.arms["refined"].curve.percent
    assert errors.x_label == "error at most, px"


def test_an_adapted_lambda_has_a_chart(full):
    title = "Weight of the self-regularization loss (lambda)"
    assert title not in [one.title for one in charts.loss_charts(read_record(full))]
    edit_log(full, lambda line: line.update(loss_weight=2.0 * line["step"]) if line["phase"] == "game" else None)
    (found,) = [one for one in charts.loss_charts(read_record(full)) if one.title == title]
    steps, values = found.lines["lambda"]
    assert steps[0] == 6 and values == [2.0 * step for step in steps]


def evaluation(**arms):
    """An evaluation whose arms have these error curves, at thresholds 1, 2, ..."""
    found = {}
    for arm, percent in arms.items():
        curve = {"metric": "error_px", "threshold": range(1, len(percent) + 1), "percent": percent, "unit": "px"}
        found[arm] = {"error_px": {"mean": 1.0}, "curve": curve if percent else None}
    return Evaluation(
        runs=("run",), split="test", test={"name": "photographs", "n": 9}, preservation=None,
        constant={"error_px": 2.0}, primary="error_px", arms=found,
    )  # fmt: skip


def test_error_curves_end_where_every_arm_has_99_per_cent():
    found = evaluation(simulated=(20, 50, 98.9, 99, 100, 100), refined=(30, 99, 100, 100, 100, 100))
    assert [one.x_limit for one in charts.error_charts(found)] == [4, 4]
    assert [one.x_limit for one in charts.error_charts(evaluation(simulated=(20, 50, 60)))] == [3]
    assert list(charts.error_charts(evaluation(simulated=()))) == []


def test_differences_of_error_curves_from_simulated():
    found = evaluation(simulated=(20, 50, 99), refined=(30, 75, 99), real=(20, 48, 100))
    _, gains = charts.error_charts(found)
    assert {arm: y for arm, (_, y) in gains.lines.items()} == {"refined": [10, 25, 0], "real": [0, -2, 1]}
    assert gains.level == ("simulated", 0)


def test_a_run_without_quality_or_a_game(run):
    edit_log(run, lambda line: line.update(loss_adversarial=None, accuracy_real=None, accuracy_refined=None))
    record = read_record(run)
    assert [one.title for one in charts.loss_charts(record)] == ["Self-regularization loss", "Loss of D"]
    assert list(charts.quality_charts(record)) == []


def test_a_long_line_is_averaged():
    steps, values = list(range(1, 1201)), [float(step % 2) for step in range(1, 1201)]
    x, y = average_line(steps, values)
    assert len(x) == len(y) == charts.MOST_POINTS
    assert (x[0], x[-1]) == (3, 1200) and y[0] == pytest.approx(2 / 3)
    assert average_line(steps[:300], values[:300]) == (steps[:300], values[:300]) and average_line([], []) is None
