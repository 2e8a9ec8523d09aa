"""Labels of pictures at reading time: every picture has one, or is skipped with the reason."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from synthreal.data.picture_labels import PictureLabels
from synthreal.data.pictures import PicturesOptions, labelled_dataset, read_pictures
from synthreal.data.source import read_samples
from synthreal.errors import UserError
from synthreal.hooks.catalog import Catalog
from synthreal.spec import ImageSpec, LabelSpec, Sample

WORDS = {"kind": "table", "columns": ("kind",), "classes": ("cat", "dog")}


def pictures(root, *names, size=(6, 8)):
    for value, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full(size, value, np.uint8)).save(root / name)


def read(root, crop=(6, 8), **labels):
    """The labels of all pictures, and the reasons of those that are skipped, by value of the pixels and by name."""
    found, skipped = {}, {}
    for item in read_pictures(PicturesOptions(root=str(root), crop=crop, labels=labels)):
        if isinstance(item, Sample):
            ((name, value),) = item.labels.items()
            found[int(item.image.max())] = (name, value.dtype.name, value.tolist())
        else:
            skipped[item.path.rpartition("/")[2]] = item.reason
    return found, skipped


def test_the_first_folder_is_the_class(tmp_path):
    pictures(tmp_path, "cat/0.png", "dog/below/1.png", "2.png", "cow/3.png")
    found, skipped = read(tmp_path, kind="folders", classes=("cat", "dog"))
    assert found == {0: ("class", "int64", 0), 1: ("class", "int64", 1)}
    assert "no class folder" in skipped["2.png"] and "'cow' is none of the 2 classes" in skipped["3.png"]


def test_classes_count_in_the_order_given_and_may_be_called_none_or_1(tmp_path):
    pictures(tmp_path, "1/0.png", "none/1.png")
    found, _ = read(tmp_path, kind="folders", classes=("none", "1"))
    assert [value for _, _, value in found.values()] in ([0, 1], [1, 0]) and found[0][2] == 1
    assert PictureLabels(kind="folders", classes=(None, "1")).classes == ("none", "1")  # as config.toml is read


@pytest.mark.parametrize(
    "text",
    [
        "file,x,y\n0.png,1,2.5\n1.png,-3e1,4\n",
        "\ufefffile,x,y\r\n0.png,1,2.5\r\n1.png,-3e1,4\r\n",
        "file;x;y\n0.png;1;2,5\n1.png;-3e1;4\n",
        "x, file ,y\n\n1,./0.png,2.5\n-3e1,1.png,4\n",
        '"file","x","y"\n"0.png","1","2.5"\n"1.png","-3e1","4"',
        "file,x,y,z\n0.png,1,2.5,a\n1.png,-3e1,4,\n",
        "file,x,y\nD/0.png,1,2.5\nD/1.png,-3e1,4\n",
        "file,x,y\nD\\0.png,1,2.5\nD\\1.png,-3e1,4\n",
    ],
)
def test_tables_of_many_programs_are_read(tmp_path, text):
    root = tmp_path / "renders"
    pictures(root, "0.png", "1.png")
    inside = "D" not in text
    file = (root if inside else tmp_path) / "labels.csv"
    file.write_text(text.replace("D", "renders"), encoding="utf-8", newline="")
    found, skipped = read(root, kind="table", file=str(file), columns=("x", "y"), values=2)
    assert found == {0: ("values", "float32", [1.0, 2.5]), 1: ("values", "float32", [-30.0, 4.0])}
    assert not skipped


def test_paths_from_the_root_come_before_paths_from_the_table(tmp_path):
    root = tmp_path / "renders"
    pictures(root, "0.png", "sub/1.png")
    (tmp_path / "all.csv").write_text(f"file,x\n0.png,7\nrenders/0.png,8\n{root}/sub/1.png,9\n")
    found, _ = read(root, kind="table", file=str(tmp_path / "all.csv"), columns=("x",), values=1)
    assert {picture: value for picture, (_, _, value) in found.items()} == {0: [7.0], 1: [9.0]}


def test_a_picture_without_a_usable_label_is_skipped_with_the_reason(tmp_path):
    names = [f"{number}.png" for number in range(7)]
    pictures(tmp_path, *names)
    cells = {"0.png": "2", "1.png": "", "2.png": "nan", "3.png": "1e99", "4.png": "cat", "6.png": "1_0"}
    (tmp_path / "l.csv").write_text("file,x\n" + "".join(f"{name},{cell}\n" for name, cell in cells.items()))
    found, skipped = read(tmp_path, kind="table", file=str(tmp_path / "l.csv"), columns=("x",), values=1)
    assert found == {0: ("values", "float32", [2.0])}
    for name, part in {
        "1.png": "l.csv, line 3: column 'x' is empty",
        "2.png": "NaN or infinite",
        "3.png": "NaN or infinite",
        "4.png": "'cat' is not a number",
        "5.png": "no row in",
        "6.png": "'1_0' is not a number",
    }.items():
        assert part in skipped[name]


def test_fields_of_sidecars_are_numbers_lists_or_words(tmp_path):
    trees = [
        {"eye": {"gaze": [0.5, [1]]}, "kind": "cat"},
        {"eye": {"gaze": [[0.5, 1.0]]}, "kind": " dog "},
        {"eye": {"gaze": [1, 2, 3]}, "kind": "cow"},
        {"eye": {"gaze": None}, "kind": 3},
        {"eye": {"gaze": [float("nan"), 1]}, "kind": True},
        {"eye": [1, 2], "kind": ""},
        [],
    ]
    pictures(tmp_path, *(f"{number}.png" for number in range(9)))
    for number, tree in enumerate(trees):
        (tmp_path / f"{number}.json").write_text(json.dumps(tree))
    (tmp_path / "7.json").write_text("{")
    found, skipped = read(tmp_path, kind="sidecars", columns=("eye.gaze",), values=2)
    assert found == {1: ("values", "float32", [0.5, 1.0])}
    for name, part in {
        "0.png": "neither numbers nor a word",
        "2.png": "3 numbers, not 2",
        "3.png": "neither numbers nor a word",
        "4.png": "NaN or infinite",
        "5.png": "no field 'eye.gaze'",
        "6.png": "no field 'eye.gaze'",
        "7.png": "7.json is not JSON",
        "8.png": "no 8.json beside it",
    }.items():
        assert part in skipped[name], name
    found, skipped = read(tmp_path, kind="sidecars", columns=("kind",), classes=("cat", "dog"))
    assert {picture: value for picture, (_, _, value) in found.items()} == {0: 0, 1: 1}
    assert "'cow' is none of the 2 classes" in skipped["2.png"] and "(3,) is none of" in skipped["3.png"]
    assert all("neither numbers nor a word" in skipped[name] for name in ("4.png", "5.png"))


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"", "no row"),
        (b"file,kind\n", "no row"),
        (b"name,kind\n0.png,cat\n", "no column 'file' in its first line (name, kind)"),
        (b"file\n0.png\n", "add columns"),
        (b"file,kind,kind\n0.png,cat,dog\n", "two columns have one name"),
        (b"file,kind,\n0.png,cat,\n", "has none"),
        (b"file,kind\n0.png,cat,dog\n", "line 2: 3 cells under a header of 2"),
        (b"file,kind\n,cat\n", "line 2: no file"),
        (b'file,kind\n"0.png,cat\n', "not CSV"),
        ("file,kind\n0.png,K\u00e4tzchen\n".encode("latin-1"), "is not UTF-8; save it as CSV in UTF-8"),
        ("file,kind\n0.png,cat\n".encode("utf-16"), "is not UTF-8"),
        (b"file,kind\n0.png,cat\n./0.png,dog\n", "line 3: ./0.png has other labels in line 2"),
        (b"file,size\n0.png,cat\n", "no column 'kind'; choose of size with --label"),
    ],
)
def test_a_bad_table_is_an_error(tmp_path, content, part):
    pictures(tmp_path, "0.png")
    (tmp_path / "l.csv").write_bytes(content)
    with pytest.raises(UserError) as error:
        read(tmp_path, file=str(tmp_path / "l.csv"), **WORDS)
    assert part in str(error.value) and "l.csv" in str(error.value)


def test_a_table_that_is_gone_is_an_error_and_a_repeated_row_is_not(tmp_path):
    pictures(tmp_path, "0.png")
    with pytest.raises(UserError, match=r"l\.csv: cannot be read"):
        read(tmp_path, file=str(tmp_path / "l.csv"), **WORDS)
    (tmp_path / "l.csv").write_text("file,kind\n0.png,dog\n0.png,dog\n")
    assert read(tmp_path, file=str(tmp_path / "l.csv"), **WORDS)[0] == {0: ("class", "int64", 1)}


def test_not_one_label_is_an_error(tmp_path):
    pictures(tmp_path, "0.png", "1.png")
    with pytest.raises(UserError, match="lies in no class folder"):
        read(tmp_path, kind="folders", classes=("cat", "dog"))


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "folders"},
        {"kind": "folders", "values": 1},
        {"kind": "folders", "columns": ("a",), "classes": ("a", "b")},
        {"kind": "folders", "classes": ("a", "a")},
        {"kind": "folders", "classes": ("a", "b"), "file": "a.csv"},
        {"kind": "table", "columns": ("a",), "values": 1},
        {"kind": "table", "file": "a.csv", "values": 1},
        {"kind": "sidecars", "columns": ("a",), "values": 1, "classes": ("a", "b")},
        {"kind": "sidecars", "columns": ("a", "b"), "classes": ("a", "b")},
        {"kind": "sidecars", "columns": ("a", "a"), "values": 2},
        {"kind": "names", "classes": ("a", "b")},
    ],
)
def test_settings_that_contradict_each_other_are_refused(fields):
    with pytest.raises(ValidationError):
        PictureLabels(**fields)


def ramp(height, width):
    return (np.arange(height)[:, None] + 2 * np.arange(width)[None]).astype(np.uint8)


def test_a_labelled_window_is_the_middle_of_the_whole_picture(tmp_path):
    (tmp_path / "cat").mkdir()
    Image.fromarray(ramp(20, 40)).save(tmp_path / "cat/0.png")

    def window(crop):
        labels = {"kind": "folders", "classes": ("cat", "dog")}
        (item,) = read_pictures(PicturesOptions(root=str(tmp_path), crop=crop, labels=labels))
        return item.image[0].astype(int)

    np.testing.assert_array_equal(window((20, 40)), ramp(20, 40))
    np.testing.assert_array_equal(window((20, 30)), ramp(20, 40)[:, 5:35])  # the evenly cut one, not a random place
    half = window((10, 20))
    assert half.min() <= 3 and half.max() >= ramp(20, 40).max() - 3  # both ends of the picture
    assert window((40, 80)).shape == (40, 80)


@pytest.mark.parametrize("change", [{"crops": 2}, {"scale": 6}])
def test_labels_allow_no_part_of_a_picture(change):
    with pytest.raises(ValidationError, match="a window shows its whole picture; set crops=1 and scale=none"):
        PicturesOptions(root="a", crop=(6, 8), labels={"kind": "folders", "classes": ("a", "b")}, **change)


def test_the_first_pictures_are_of_all_classes(tmp_path):
    pictures(tmp_path, *(f"{name}/{number}.png" for name in ("cat", "dog") for number in range(20)))
    options = PicturesOptions(root=str(tmp_path), crop=(6, 8), labels={"kind": "folders", "classes": ("cat", "dog")})
    order = [int(item.labels["class"]) for item in read_pictures(options)]
    assert 3 <= sum(order[:20]) <= 17 and sum(order) == 20
    assert order == [int(item.labels["class"]) for item in read_pictures(options)]


@pytest.mark.parametrize("role", ["simulated", "real_labelled", "validation", "test", "real"])
def test_the_labels_of_the_data_set_follow_from_its_options(tmp_path, role):
    pictures(tmp_path, "cat/0.png", "dog/1.png")
    options = PicturesOptions(root=str(tmp_path), crop=(6, 8), labels={"kind": "folders", "classes": ("cat", "dog")})
    spec = labelled_dataset(Catalog.of(()).dataset("pictures", role), options)
    assert spec.available_labels == (() if role == "real" else (LabelSpec("class", (), "index", ("cat", "dog")),))
    assert len(list(read_samples(spec, options, ImageSpec(channels=1, height=6, width=8)))) == 2
    assert labelled_dataset(spec, PicturesOptions(root="a", crop=(6, 8))) is spec
