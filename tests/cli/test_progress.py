"""What is told on stderr as work goes on."""

from __future__ import annotations

from rich.console import Console

from synthreal.cli import progress


def test_refining_and_assembling_have_a_line_each(capsys):
    with progress.refining() as (refined, assembled):
        for done in range(4):
            refined(done, 3)
        for done in range(1, 6):
            assembled(done, 5)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" images/s")[0].rpartition(" ")[0] for line in lines[:1]] == ["refining 3/3"]
    assert lines[1].startswith("assembling 5/5 ") and "images" not in lines[1] and len(lines) == 2


def test_the_second_bar_of_a_terminal_begins_below_the_first(monkeypatch, capsys):
    monkeypatch.setattr(progress, "Console", lambda **more: Console(force_terminal=True, width=120, **more))
    with progress.refining() as (refined, assembled):
        refined(3, 3)
        assembled(5, 5)
    out = capsys.readouterr().err
    assert 0 <= out.find("3/3") < out.find("assembling") < out.rfind("5/5")


def test_it_is_told_ten_times_a_second_at_most_and_at_the_end(monkeypatch):
    told = []
    count = progress._rated(lambda done, total, note: told.append(done), "")
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    for done in range(1, 101):
        now = done / 64
        count(done, 100)
    assert told == [*range(1, 100, 7), 100]


def test_the_rate_and_the_time_left_are_readable_at_any_size(monkeypatch):
    notes = []
    for seconds in (0.2, 4, 400):
        count = progress._rated(lambda done, total, note: notes.append(note), " images")
        for now, done in ((0.0, 0), (seconds, 300)):
            monkeypatch.setattr(progress.time, "monotonic", lambda now=now: now)
            count(done, 900)
    monkeypatch.undo()
    assert notes[::2] == [""] * 3
    assert notes[1::2] == [
        "1,500 images/s, 0:00:00 left",
        "75 images/s, 0:00:08 left",
        "0.75 images/s, 0:13:20 left",
    ]


def test_processes_but_the_first_are_silent(capsys):
    with progress.refining(1) as (refined, assembled):
        refined(1, 1)
        assembled(1, 1)
    assert capsys.readouterr().err == ""
