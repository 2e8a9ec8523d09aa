"""The study: images and their order, answers stored once, and continuing after a restart."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
import torch
from small_study import is_real, level

from synthreal.errors import UserError
from synthreal.turing.answers import FILE
from synthreal.turing.study import UnknownImageError, rater_name


def seen(study, rater):
    """The levels of all images a rater judges, in order; every answer is "real"."""
    found, state = [], study.state(rater)
    while state.token is not None:
        found.append(level(study.png(state.token)))
        state = study.answer(state.token, "real")
    return found


def test_a_rater_judges_as_many_real_as_synthetic_images_and_each_once(make):
    found = seen(make(images=12), "Ada")
    assert len(found) == len(set(found)) == 24
    assert sum(value < 100 for value in found) == 12
    assert found != sorted(found)


def test_the_ten_examples_of_each_kind_are_nobodys_trials(make):
    study = make(images=30)  # all that is left
    real, synthetic = ({level(study.png(token)) for token in study.examples(kind)} for kind in (True, False))
    assert len(real) == len(synthetic) == 10
    assert max(real) < 100 <= min(synthetic)
    found = seen(study, "Ada")
    assert len(found) == 60 and not set(found) & (real | synthetic)


def test_images_and_order_depend_on_rater_and_seed(make, tmp_path):
    found = []
    for folder, seed, rater in (("a", 0, "Ada"), ("a", 0, "Bob"), ("b", 1, "Ada")):
        (tmp_path / folder).mkdir(exist_ok=True)
        found.append(seen(make(tmp_path / folder, images=10, seed=seed), rater))
    assert len({frozenset(order) for order in found}) == 3
    truths = [tuple(value < 100 for value in order) for order in found]
    assert len(set(truths)) == 3


def test_truth_does_not_follow_from_the_place_in_the_order(make, tmp_path):
    """Over many raters every place holds a real image about half of the time."""
    study = make(images=2)
    counts = Counter()
    for rater in range(200):
        for place, (real, _) in enumerate(study.sequence(f"rater {rater}")):
            counts[place] += real
    assert all(70 < counts[place] < 130 for place in range(4))


def test_tokens_are_long_random_and_new_after_a_restart(make):
    tokens = []
    for _ in range(2):
        study = make()
        tokens += [study.state("Ada").token, study.state("Bob").token, *study.examples(True), *study.examples(False)]
        with pytest.raises(UnknownImageError):
            study.png("x" * 22)
    assert len(set(tokens)) == len(tokens)
    assert min(map(len, tokens)) >= 22


def test_an_answer_counts_once_however_often_it_is_sent(make, recorded):
    study = make()
    first = study.state("Ada").token
    assert study.state(" Ada ").token == first  # in every tab
    after = study.answer(first, "real")
    assert (after.done, after.total) == (1, 6)
    assert study.answer(first, "real") == after  # a double click
    assert study.answer(first, "synthetic") == after  # another tab that still shows the first image
    (line,) = recorded()
    assert line["answer"] == "real"
    later = study.answer(after.token, "real")
    assert study.answer(first, "synthetic") == later and len(recorded()) == 2


def test_a_line_records_trial_answer_and_study(make, recorded, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("synthreal.turing.study.time", SimpleNamespace(monotonic=lambda: now[0]))
    study = make(against="simulated", images=5, seed=3)
    state = study.state("Ada")
    now[0] += 60  # the page stood in a background tab
    real = is_real(study.png(state.token))
    now[0] += 30
    study.png(state.token)  # the rater came back and the page was loaded again
    now[0] += 1.5
    study.answer(state.token, "synthetic")
    (line,) = recorded()
    when = datetime.fromisoformat(line.pop("time"))
    assert abs((datetime.now(UTC) - when).total_seconds()) < 60 and when.utcoffset().total_seconds() == 0
    assert line == {
        "rater": "Ada",
        "trial": 1,
        "truth": "real" if real else "simulated",
        "answer": "synthetic",
        "seconds": 1.5,
        "against": "simulated",
        "images": 5,
        "seed": 3,
    }


def test_a_restarted_server_continues_the_study(make, recorded, tmp_path):
    whole = seen(make(tmp_path), "Ada")
    (tmp_path / FILE).unlink()
    found = []
    for _ in whole:  # a new server for every image
        study = make(tmp_path)
        state = study.state("Ada")
        assert state.done == len(found)
        found.append(level(study.png(state.token)))
        study.answer(state.token, "real")
    assert found == whole
    assert make(tmp_path).state("Ada").token is None
    assert [line["trial"] for line in recorded()] == [1, 2, 3, 4, 5, 6]


def test_another_seed_size_or_kind_is_another_session(make):
    seen(make(), "Ada")
    assert make().state("Ada").done == 6
    for other in ({"seed": 1}, {"images": 4}, {"against": "simulated"}):
        assert make(**other).state("Ada").done == 0


def test_two_servers_on_one_run_share_their_raters(make, recorded):
    one, other = make(), make()
    mine, theirs = one.state("Ada").token, other.state("Ada").token
    one.answer(mine, "real")
    assert other.answer(theirs, "synthetic").done == 1  # the same trial: answered already
    assert [line["answer"] for line in recorded()] == ["real"]
    other.answer(other.state("Ada").token, "real")
    assert one.state("Ada").done == 2


def test_many_processes_write_whole_lines(tmp_path):
    code = """
import sys
from pathlib import Path
from synthreal.turing.answers import Answer, Answers
answers = Answers(Path(sys.argv[1]))
for trial in range(1, 81):
    for rater in (sys.argv[2], "shared"):
        answers.append(Answer(rater=rater * 9, trial=trial, truth="real", answer="real", seconds=1, time="",
                              against="refined", images=50, seed=0))
"""
    names = ("a", "b", "c")
    running = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path / FILE), name]) for name in names]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    lines = [json.loads(line) for line in (tmp_path / FILE).read_text().splitlines()]
    assert Counter(line["rater"] for line in lines) == dict.fromkeys([*(name * 9 for name in names), "shared" * 9], 80)


def test_a_cut_last_line_is_shown_again_and_does_not_damage_the_next(make, tmp_path):
    study = make()
    for _ in range(2):
        study.answer(study.state("Ada").token, "real")
    whole = (tmp_path / FILE).read_bytes()
    first = whole.index(b"\n") + 1
    for cut in range(first, len(whole) - 1, 7):
        (tmp_path / FILE).write_bytes(whole[:cut])
        again = make()
        assert again.state("Ada").done == whole[:cut].count(b"\n")
        after = again.answer(again.state("Ada").token, "synthetic")
        assert after.done == make().state("Ada").done == whole[:cut].count(b"\n") + 1
        good = [line for line in again.answers.read() if line.rater == "Ada"]
        assert [line.trial for line in good] == list(range(1, after.done + 1))
        assert good[0].answer == "real" and good[-1].answer == "synthetic"
        assert again.answers.damaged == (cut > first)


def test_a_complete_last_line_without_newline_is_an_answer(make, tmp_path, recorded):
    study = make()
    study.answer(study.state("Ada").token, "real")
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes()[:-1])
    again = make()
    assert again.state("Ada").done == 1
    assert again.answer(again.state("Ada").token, "synthetic").done == 2
    assert [line["answer"] for line in recorded()] == ["real", "synthetic"]


DAMAGE = [
    b"not json",
    b"[]",
    b"{}",
    b'{"rater": "Ada"}',
    b"\xff\xfe",
    b'{"rater":"A","trial":1,"truth":"refined","answer":"real","seconds":1,"time":"","against":"simulated",'
    b'"images":3,"seed":0}',
    b'{"rater":"A","trial":7,"truth":"real","answer":"real","seconds":1,"time":"","against":"refined",'
    b'"images":3,"seed":0}',
    rb'{"rater":"\u001b[2J","trial":1,"truth":"real","answer":"real","seconds":1,"time":"","against":"refined",'
    b'"images":3,"seed":0}',
]


def test_damaged_lines_are_counted_and_skipped(make, tmp_path):
    (tmp_path / FILE).write_bytes(b"\n".join(DAMAGE) + b"\n\n")
    study = make()
    assert study.answer(study.state("Ada").token, "real").done == 1
    assert len(study.answers.read()) == 1 and study.answers.damaged == len(DAMAGE)
    (tmp_path / FILE).unlink()  # a deleted file starts a new study
    assert study.state("Ada").done == 0 and study.answers.damaged == 0


def test_a_file_that_is_too_large_or_a_pipe_is_refused_before_the_first_answer(make, tmp_path, monkeypatch):
    study = make()
    study.answer(study.state("Ada").token, "real")
    monkeypatch.setattr("synthreal.turing.answers.MAX_ANSWERS_BYTES", 100)
    for use in (study.answers.prepare, study.answers.read):
        with pytest.raises(UserError, match=r"turing\.jsonl: cannot read \(it has more than .*; move it away"):
            use()
    (tmp_path / FILE).unlink()
    os.mkfifo(tmp_path / FILE)
    for use in (study.answers.prepare, study.answers.read):
        with pytest.raises(UserError, match=r"turing\.jsonl: cannot (write|read)"):
            use()


def test_answers_and_the_folder_of_a_new_file_are_synced(make, monkeypatch):
    synced, real = [], os.fsync

    def fsync(handle):
        synced.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    study = make()
    study.answers.prepare()
    assert synced == ["folder"]
    study.answer(study.state("Ada").token, "real")
    assert synced == ["folder", "file"]


def test_a_full_disk_is_an_error_and_the_answer_can_be_repeated(make, monkeypatch, tmp_path):
    study = make()
    token = study.state("Ada").token
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, line: write(handle, line[:9]))
    with pytest.raises(UserError, match=r"turing\.jsonl: cannot write .*only part"):
        study.answer(token, "real")
    monkeypatch.undo()
    assert study.state("Ada").done == 0
    assert study.answer(token, "real").done == 1
    assert make().state("Ada").done == 1


def test_names_are_printable_and_normalised(make):
    for given, name in (
        ("Ada", "Ada"),
        ("  Ada \t B ", "Ada B"),
        ("Jürgen 漢", "Jürgen 漢"),
        ("Zoe\u0308", "Zo\u00eb"),
    ):
        assert rater_name(given) == name
    for given in ("", "   ", "x" * 41, "a\x00b", "a\u200bb", "\u202eabc", "a\x1bb"):
        with pytest.raises(UserError, match="1 to 40 printable"):
            make().state(given)


def test_the_global_random_state_is_unchanged(make):
    before = torch.get_rng_state()
    seen(make(), "Ada")
    assert torch.equal(before, torch.get_rng_state())
