"""Progress on stderr: bars on a terminal, lines elsewhere."""

from __future__ import annotations

from rich.console import Console

from synthreal.cli import progress
from synthreal.train.log import Report


def test_off_a_terminal_each_task_ends_with_a_line_and_prints_one_now_and_then(monkeypatch, capsys):
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    with progress.progress_bars() as show:
        for done in range(101):
            now = float(done)
            show("refining", done, 100)
        for done in range(1, 6):
            show("assembling", done, 5)
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == "" and [line.split()[1] for line in lines[:6]] == [f"{done}/100" for done in range(16, 97, 16)]
    assert lines[6].startswith("refining 100/100 ") and "it/s" in lines[6]
    assert lines[7].startswith("assembling 5/5") and len(lines) == 8


def test_on_a_terminal_each_task_has_a_bar(monkeypatch, capsys):
    monkeypatch.setattr(progress, "Console", lambda **more: Console(force_terminal=True, width=120, **more))
    with progress.progress_bars() as show:
        show("refining", 3, 3)
        show("assembling", 5, 5)
    out, err = capsys.readouterr()
    assert out == "" and 0 <= err.find("3/3") < err.find("assembling") < err.rfind("5/5")


def test_nothing_is_printed_when_not_visible(capsys):
    with progress.progress_bars(visible=False) as show:
        show("refining", 1, 1)
    assert capsys.readouterr().err == ""


def test_each_kind_of_warning_is_printed_once_whatever_its_numbers(capsys):
    shown = []
    printer = progress.ReportPrinter(lambda step, losses: shown.append(step))
    printer.warn("data.real: 5 of 1,000 images")
    for step in (10, 20):
        warnings = ("data.real: 5 of 1,000 images", "data.real: no pixel", f"collapse: {step} %")
        printer(Report(step, "game", None, None, None, None, None, None, 1.0, None, warnings))
    assert shown == [10, 20]
    assert capsys.readouterr().err.splitlines() == [
        "warning: step 0: data.real: 5 of 1,000 images",
        "warning: step 10: data.real: no pixel",
        "warning: step 10: collapse: 10 %",
    ]
