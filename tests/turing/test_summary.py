"""The paper's numbers from turing.jsonl, as sentences, a table and JSON."""

from __future__ import annotations

import json
import shlex

import pytest
from small_study import run_through

from synthreal.turing.answers import FILE, Answer, Answers
from synthreal.turing.summary import finished_answers, sentence, summarise


def paper(path, against="refined", images=50, matrix=((224, 276), (207, 293))):
    """Ten raters' answers as in the paper's Table 1: rows real and synthetic, columns chosen real and synthetic."""
    pairs = [
        (truth, choice)
        for truth, row in zip(("real", against), matrix, strict=True)
        for choice, number in zip(("real", "synthetic"), row, strict=True)
        for _ in range(number)
    ]
    with path.open("a") as file:
        for i, (truth, choice) in enumerate(pairs):
            answer = {
                "rater": f"subject {i % 10}",
                "trial": i // 10 + 1,
                "truth": truth,
                "answer": choice,
                "seconds": 2.0,
                "time": "2026-11-21T12:00:00+00:00",
                "against": against,
                "images": images,
                "seed": 0,
            }
            file.write(json.dumps(answer) + "\n")


@pytest.fixture
def table1(tmp_path):
    """The paper's study and its control."""
    paper(tmp_path / FILE)
    paper(tmp_path / FILE, "simulated", 10, ((79, 21), (17, 83)))
    return tmp_path


def test_the_papers_study_gives_the_papers_p(table1):
    result = summarise(Answers(table1 / FILE).read())
    total = result["total"]["refined"]
    assert total["confusion"] == {"real": {"real": 224, "synthetic": 276}, "refined": {"real": 207, "synthetic": 293}}
    assert (total["raters"], total["done"], total["total"], total["correct"]) == (10, 1000, 1000, 517)
    assert total["accuracy"] == 0.517
    assert total["p"] == pytest.approx(0.148, abs=5e-4)


def test_the_papers_control_gives_the_papers_p_and_is_not_mixed_with_the_study(table1):
    result = summarise(Answers(table1 / FILE).read())
    total = result["total"]["simulated"]
    assert (total["done"], total["correct"], total["accuracy"]) == (200, 162, 0.81)
    assert total["p"] == pytest.approx(9.9e-20, rel=0.01)
    assert set(total["confusion"]) == {"real", "simulated"}
    assert len(result["raters"]) == 20
    for against, images in (("refined", 50), ("simulated", 10)):
        mine = [entry for entry in result["raters"] if entry["against"] == against]
        assert sum(entry["correct"] for entry in mine) == result["total"][against]["correct"]
        assert all((entry["done"], entry["total"]) == (2 * images, 2 * images) for entry in mine)


def test_the_command_prints_it_as_json(table1, cli):
    result = json.loads(cli("turing", table1, "--summary", "--json").ok().out)
    assert result == summarise(Answers(table1 / FILE).read())
    assert set(result) == {"raters", "total"}
    shared = {"against", "done", "total", "confusion", "correct", "accuracy", "p"}
    assert all(set(entry) == {"rater", *shared} for entry in result["raters"])
    assert all(set(entry) == {"raters", *shared} for entry in result["total"].values())


def test_without_answers_the_error_names_the_command_to_serve(tmp_path, cli):
    folder = tmp_path / "Ada's run"
    folder.mkdir()
    line = cli("turing", folder, "--summary").complaint()
    assert shlex.split(line.partition("serve the study with: ")[2]) == ["synthreal", "turing", str(folder)]


def test_the_command_prints_it_as_a_table(table1, cli):
    text = cli("turing", table1, "--summary").ok().out
    for part in ("subject 0", "1000 of 1000", "51.7 %", "0.148", "200 of 200", "81.0 %", "9.9e-20", "truly refined"):
        assert part in text
    for number in (224, 276, 207, 293, 79, 21, 17, 83):
        assert f" {number} " in text


def test_damaged_lines_are_counted_on_stderr(table1, cli):
    with (table1 / FILE).open("a") as file:
        file.write("damaged\nunfinished")
    done = cli("turing", table1, "--summary", "--json").ok()
    assert done.err == f"{table1 / FILE}: 2 damaged lines skipped\n"
    assert json.loads(done.out)["total"]["refined"]["done"] == 1000


def test_names_are_not_markup_in_the_table(tmp_path, make, cli):
    run_through(make(), "[bold]x[/bold]", 3)
    assert "[bold]x[/bold]" in cli("turing", tmp_path, "--summary").ok().out


def test_an_unfinished_rater_counts_in_the_summary_and_not_on_the_pages(tmp_path, make):
    study = make()
    run_through(study, "Ada", 6)
    study.answer(study.state("Bob").token, "real")
    answers = study.answers.read()
    entries = {entry["rater"]: entry for entry in summarise(answers)["raters"]}
    assert (entries["Bob"]["done"], entries["Bob"]["total"]) == (1, 6)
    assert {answer.rater for answer in finished_answers(answers, against="refined")} == {"Ada"}
    assert finished_answers(answers, against="simulated") == []


def test_a_rater_of_two_sessions_has_one_entry(make):
    for seed, correct in ((0, 6), (1, 2)):
        study = make(seed=seed)
        run_through(study, "Ada", correct)
    (entry,) = summarise(study.answers.read())["raters"]
    assert (entry["done"], entry["total"], entry["correct"]) == (12, 12, 8)


def test_an_answer_is_correct_if_it_names_the_kind():
    given = {"rater": "A", "trial": 1, "seconds": 1, "time": "", "images": 1, "seed": 0}
    for against in ("refined", "simulated"):
        for truth in ("real", against):
            for choice in ("real", "synthetic"):
                answer = Answer(truth=truth, answer=choice, against=against, **given)
                assert answer.correct == ((truth == "real") == (choice == "real"))


@pytest.mark.parametrize(
    ("correct", "p", "parts"),
    [
        (52, 0.382, ["52 of 100", "52.0 %", "probability of 0.382", "no evidence that refined images can be told"]),
        (90, 1.5e-17, ["90.0 %", "only 1.5e-17", "refined images can be told from real ones"]),
        (10, 1.0, ["10.0 %", "1.000", "no evidence"]),
    ],
)
def test_the_sentence_follows_from_p(correct, p, parts):
    text = sentence({"against": "refined", "correct": correct, "done": 100, "accuracy": correct / 100, "p": p})
    assert all(part in text for part in parts)
    assert ("no evidence" in text) == (p >= 0.05)
