"""Finding labels: what they are follows from where they are and what stands there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synthreal.data.find_labels import find_labels
from synthreal.errors import UserError


def pictures(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((6, 8), np.uint8)).save(root / name)
    return root


def table(path, header, *rows):
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


@pytest.fixture
def two(tmp_path):
    """Four renders and two photographs without labels, under different names."""
    renders = pictures(tmp_path / "renders", *(f"{number}.png" for number in range(4)))
    return renders, pictures(tmp_path / "test", "a.png", "b.png")


@pytest.fixture
def folders(tmp_path):
    renders = pictures(tmp_path / "renders", *(f"{name}/{number}.png" for name in "abc" for number in range(3)))
    return renders, pictures(tmp_path / "test", "a/0.png", "c/1.png")


def test_class_folders_of_the_renders_are_the_classes(folders):
    found = find_labels(*folders)
    assert found.simulated.kind == "folders" and found.simulated.classes == ("a", "b", "c")
    assert found.test == found.simulated and (found.mean, found.warnings) == ((), ())
    assert "3 classes (a, b, c); 9 renders, 2 test photographs" in found.line


def test_numbers_as_names_of_folders_are_classes(tmp_path):
    renders = pictures(tmp_path / "renders", *(f"{name}/{number}.png" for name in (20, 100) for number in range(2)))
    assert find_labels(renders, pictures(tmp_path / "test", "20/0.png")).simulated.classes == ("100", "20")


@pytest.mark.parametrize("beside", [True, False])
def test_columns_of_numbers_are_regressed(two, beside, monkeypatch):
    renders, test = two
    rows = [f"{number}.png,{number},{-10 * number}" for number in range(4)]
    if beside:  # a file in each folder, named by the command as it is called there
        table(renders / "labels.csv", "file,x,y", *rows)
        table(test / "labels.csv", "file,x,y", "a.png,1,1", "b.png,2,3")
        monkeypatch.chdir(renders.parent)
        found = find_labels(renders, test, Path("renders/labels.csv"))
        assert find_labels(renders, test, Path("labels.csv")) == found
        assert found.test.file == str(test / "labels.csv")
    else:  # one for both
        all_rows = [f"renders/{row}" for row in rows] + ["test/a.png,1,1", "test/b.png,2,3"]
        found = find_labels(renders, test, table(renders.parent / "all.csv", "file,x,y", *all_rows))
        assert found.test.file == found.simulated.file == str(renders.parent / "all.csv")
    assert found.simulated.columns == ("x", "y") and found.simulated.values == 2 and not found.simulated.classes
    assert found.mean == (1.5, -15.0)
    assert found.deviation == pytest.approx((1.118, 11.18), rel=1e-3)
    assert "2 numbers (x, y)" in found.line and found.warnings == ()


def test_a_column_of_words_is_classified_and_label_chooses_columns(two):
    renders, test = two
    rows = [f"{number}.png,{number},{'cat' if number % 2 else 'dog'},{number**2}" for number in range(4)]
    file = table(renders / "labels.csv", "file,x,kind,y", *rows)
    table(test / "labels.csv", "file,kind,x,y", "a.png,cat,1,1", "b.png,dog,2,2")
    words = find_labels(renders, test, file, ("kind",))
    assert words.simulated.classes == ("cat", "dog") and words.test.columns == ("kind",)
    numbers = find_labels(renders, test, file, ("y", "x"))
    assert numbers.simulated.columns == ("y", "x") and numbers.mean == (3.5, 1.5)


def test_a_column_with_words_among_numbers_is_of_words(two):
    renders, test = two
    file = table(renders / "l.csv", "file,size", "0.png,10", "1.png,10", "2.png,XL", "3.png,XL")
    table(test / "l.csv", "file,size", "a.png,10")
    found = find_labels(renders, test, file)
    assert found.simulated.classes == ("10", "XL")
    assert any("1 of 2 pictures in" in warning and "b.png: no row in" in warning for warning in found.warnings)


def test_fields_of_sidecars_are_numbers_or_words(two):
    renders, test = two
    for number in range(4):
        tree = {"eye": {"gaze": [number, 2 * number, 1 / (1 + number)]}, "kind": "cat" if number % 2 else "dog"}
        (renders / f"{number}.json").write_text(json.dumps(tree))
    for name in "ab":
        (test / f"{name}.json").write_text('{"eye": {"gaze": [1, 2, 3]}, "kind": "dog"}')
    numbers = find_labels(renders, test, None, ("eye.gaze",))
    assert (numbers.simulated.kind, numbers.simulated.values) == ("sidecars", 3) and len(numbers.mean) == 3
    assert find_labels(renders, test, None, ("kind",)).simulated.classes == ("cat", "dog")
    with pytest.raises(UserError, match=r"numbers in other columns; choose one kind with --label"):
        find_labels(renders, test, None, ("eye.gaze", "kind"))


def test_what_has_no_label_or_no_picture_is_counted(folders):
    renders, test = folders
    pictures(renders, "lone.png")
    warnings = find_labels(renders, test).warnings
    assert len(warnings) == 1 and "1 of 10 pictures" in warnings[0] and "lies in no class folder" in warnings[0]
    rows = [f"{name}/{number}.png,{number}" for name in "abc" for number in range(3)]
    file = table(renders / "l.csv", "file,x", *rows, "d/0.png,3", "d/1.png,4")
    table(test / "l.csv", "file,x", "a/0.png,1", "c/1.png,2")
    warnings = find_labels(renders, test, file).warnings
    assert any("2 of 11 rows have no picture: d/0.png, d/1.png" in warning for warning in warnings)


ROWS = [f"{number}.png,{number},{'cat' if number % 2 else 'dog'}" for number in range(4)]
TESTS = ["a.png,1,cat", "b.png,2,dog"]


@pytest.mark.parametrize(
    ("header", "rows", "tests", "names", "part"),
    [
        ("file,x,kind", ROWS, TESTS, (), "words in kind, numbers in other columns; choose one kind with --label"),
        ("file,x,kind", ROWS, TESTS, ("size",), "no column 'size'; choose of x, kind with --label"),
        ("file,x,kind", ROWS, TESTS, ("file", "x"), "words in file"),
        ("name,x,kind", ROWS, TESTS, (), "no column 'file'"),
        ("file,x,kind", [f"z{row}" for row in ROWS], TESTS, (), "not one of its 4 pictures has a label"),
        ("file,x,kind", ROWS, [f"z{row}" for row in TESTS], ("x",), "not one of its 2 pictures has a label"),
        ("file,x,kind", ROWS, ["a.png,cat,cat"], ("x",), "not one label of its pictures can be used"),
        ("file,x,kind", ROWS, ["a.png,1,cow"], ("kind",), "has the class cow, which"),
        ("file,x,kind", [f"{n}.png,5,cat" for n in range(4)], TESTS, ("x",), "x is 5 for every render"),
        ("file,x,kind", [f"{n}.png,5,cat" for n in range(4)], TESTS, ("kind",), "all labelled pictures have the class"),
        ("file,x,kind", [f"{n}.png,5,k{n}" for n in range(4)], TESTS, ("kind",), "4 different words (k0, k1, k2, ...)"),
        ("file,x,kind", [f"{n}.png,nan,cat" for n in range(4)], TESTS, ("x",), "not one label of its pictures"),
        ("file,x,kind", [f"{n}.png,a{n % 2},b" for n in range(4)], TESTS, (), "2 columns of words (x, kind); choose"),
    ],
)
def test_tables_that_cannot_be_used_are_an_error(two, header, rows, tests, names, part):
    renders, test = two
    file = table(renders / "l.csv", header, *rows)
    table(test / "l.csv", header, *tests)
    with pytest.raises(UserError) as error:
        find_labels(renders, test, file, names)
    assert part in str(error.value)


def test_a_row_for_a_render_and_a_photograph_is_an_error(tmp_path):
    renders, test = (pictures(tmp_path / name, *(f"{n}.png" for n in range(4))) for name in ("renders", "test"))
    file = table(renders / "labels.csv", "file,x", *(f"{n}.png,{n}" for n in range(4)))
    with pytest.raises(UserError, match=r"the row of 0\.png is for a picture in .*renders and for one in .*test; give"):
        find_labels(renders, test, file)


def test_other_labels_that_cannot_be_used_are_an_error(two, folders, tmp_path):
    renders, test = folders
    plain = pictures(tmp_path / "plain", "0.png", "1.png")
    one = pictures(tmp_path / "one", "a/0.png", "a/1.png")
    cases = {
        (renders, tmp_path / "nowhere", None, ()): "nowhere: no such folder; correct --test",
        (tmp_path / "nowhere", test, None, ()): "nowhere: no such folder; correct --simulated",
        (plain, test, None, ()): "lies in no class folder; give each class a folder",
        (renders, plain, None, ()): "plain: not one of its 2 pictures has a label",
        (one, test, None, ()): "all labelled pictures have the class a; give two",
        (renders, pictures(tmp_path / "more", "a/0.png", "z/0.png"), None, ()): "has the class z, which",
        (renders, test, tmp_path / "no.csv", ()): "no.csv: no such file, nor",
        (renders, test, tmp_path, ()): "cannot be read",
        (renders, test, None, ("gaze",)): "no 0.json beside it; correct --label",
    }
    for arguments, part in cases.items():
        with pytest.raises(UserError) as error:
            find_labels(*arguments)
        assert part in str(error.value), arguments


def test_a_field_that_is_a_word_here_and_a_number_there_is_an_error(two):
    renders, test = two
    for number in range(4):
        (renders / f"{number}.json").write_text(json.dumps({"kind": "cat" if number else 3}))
    (test / "a.json").write_text('{"kind": "cat"}')
    with pytest.raises(UserError, match=r"kind is a word for .*1\.png \(cat\) and a number for others"):
        find_labels(renders, test, None, ("kind",))


def test_names_that_no_configuration_can_hold_are_an_error(tmp_path):
    renders = pictures(tmp_path / "renders", *(f"{name}/{number}.png" for name in ("a", "b\x1b") for number in "01"))
    with pytest.raises(UserError, match=r"b\\x1b: is not UTF-8 or has control characters"):
        find_labels(renders, pictures(tmp_path / "test", "a/0.png"))
