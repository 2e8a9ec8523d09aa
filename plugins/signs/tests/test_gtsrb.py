"""The reader of GTSRB: layout, labels, split, framing, and broken files that are listed."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image
from signs_fixtures import HEADER, ROLES, read, write_class, write_gtsrb

from synthreal import Sample, Skipped, UserError
from synthreal_signs.geometry import GTSRB_CLASSES, SIZE
from synthreal_signs.gtsrb import GTSRBOptions, crop_square, read_gtsrb


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set that no test changes."""
    root = tmp_path_factory.mktemp("gtsrb")
    write_gtsrb(root)
    return root


@pytest.fixture
def own(small: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    shutil.copytree(small, tmp_path / "own")
    return tmp_path / "own"


def _folder(root: Path, number: int = 0) -> Path:
    return root / f"GTSRB/Final_Training/Images/{number:05d}"


def _items(root: Path, role: str = "test") -> tuple[list[Sample], dict[str, str]]:
    """Samples, and the reasons of skipped files by name."""
    samples, skipped = [], {}
    for item in read_gtsrb(GTSRBOptions(root=root), role):  # type: ignore[arg-type]
        if isinstance(item, Skipped):
            skipped[Path(item.path).name] = item.reason
        else:
            samples.append(item)
    return samples, skipped


def _tracks(root: Path) -> dict[str, set[int]]:
    """The tracks of the labelled roles."""
    return {role: {int(one.labels["track"]) for one in read(root, role)} for role in ROLES if role != "real"}


def _tested(root: Path) -> Path:
    """A photograph of the role test in the folder of class 0, of 29x30 px."""
    track = min(_tracks(root)["test"])
    return _folder(root) / f"{track:05d}_00000.ppm"


def test_images_and_labels(small: Path) -> None:
    samples = read(small, "real_labelled")
    assert len(samples) == 8 * 3 * 2  # half of six tracks
    for sample in samples:
        assert sample.image.shape == (3, SIZE, SIZE) and sample.image.dtype == np.uint8
        assert {name: (value.shape, value.dtype) for name, value in sample.labels.items()} == {
            "class": ((), np.int64),
            "track": ((), np.int64),
        }
        assert GTSRB_CLASSES[sample.labels["class"]] == sample.labels["track"] // 100_000
    assert Counter(int(sample.labels["class"]) for sample in samples) == dict.fromkeys(range(8), 6)
    assert len({int(sample.labels["track"]) for sample in samples[:24]}) == 24  # one of each track first


def test_unlabelled_images_are_those_of_the_upper_bound(small: Path) -> None:
    hidden, labelled = read(small, "real"), read(small, "real_labelled")
    assert all(not sample.labels for sample in hidden)
    assert all((one.image == other.image).all() for one, other in zip(hidden, labelled, strict=True))


def test_no_track_is_in_two_roles_and_every_photograph_is_in_one(small: Path) -> None:
    tracks = _tracks(small)
    assert {role: len(found) for role, found in tracks.items()} == {"real_labelled": 24, "validation": 8, "test": 16}
    assert len(set().union(*tracks.values())) == sum(map(len, tracks.values())) == 8 * 6
    assert sum(len(read(small, role)) for role in tracks) == len(list(small.rglob("*.ppm")))


def test_another_photograph_of_a_track_joins_its_role(small: Path, own: Path) -> None:
    path = _tested(own)
    name = path.name.replace("_00000", "_00007")
    shutil.copy(path, path.with_name(name))
    with path.with_name("GT-00000.csv").open("a") as table:
        table.write(f"{name};29;30;5;5;24;25;0\r\n")
    assert _tracks(own) == _tracks(small)
    assert len(read(own, "test")) == len(read(small, "test")) + 1


@pytest.mark.parametrize("place", ["", "GTSRB", "GTSRB/Final_Training", "GTSRB/Final_Training/Images"])
def test_root_may_be_any_folder_on_the_way(small: Path, place: str) -> None:
    assert len(read(small / place)) == 8 * 2 * 2


@pytest.mark.parametrize("place", ["gtsrb/GTSRB/Training", "gtsrb/Final_Training/Images"])
def test_other_layouts(own: Path, tmp_path: Path, place: str) -> None:
    """torchvision's, and that of a subset of the official one."""
    (root := tmp_path / "other" / place).parent.mkdir(parents=True)
    _folder(own).parent.rename(root)
    assert len(read(tmp_path / "other")) == 8 * 2 * 2


def test_other_classes_are_not_read(small: Path, own: Path) -> None:
    write_class(_folder(own).parent, 6)
    assert len(read(own)) == len(read(small))


def _sign_px(image: np.ndarray) -> int:
    """Height in px of the bright square in an image ``(3, 32, 32)``."""
    return int((image[:, :, SIZE // 2].mean(axis=0) > 130).sum())


@pytest.mark.parametrize(("size", "box"), [(30, (5, 5, 25, 25)), (48, (5, 5, 43, 43)), (120, (10, 10, 110, 110))])
def test_a_sign_is_framed_alike_with_and_without_tables(tmp_path: Path, size: int, box: tuple[int, ...]) -> None:
    """The authors left a tenth of the sign around it, at least 5 px."""
    pixels = np.full((size, size, 3), 20, np.uint8)
    pixels[box[1] : box[3], box[0] : box[2]] = 240
    framed = []
    for table in (True, False):
        images = write_gtsrb(tmp_path / str(table), tracks=3, frames=1, table=table)
        for path in images.rglob("*.ppm"):
            Image.fromarray(pixels).save(path)
        for path in images.rglob("*.csv"):
            path.write_text(path.read_text().replace("29;30;5;5;24;25", ";".join(map(str, (size, size, *box)))))
        framed += [read(tmp_path / str(table), margin=margin)[0].image for margin in (0.1, 0.3)]
    assert [_sign_px(image) for image in framed] == [pytest.approx(32 / (1 + 2 * m), abs=1) for m in (0.1, 0.3)] * 2
    np.testing.assert_array_equal(framed[:2], framed[2:])


def test_the_margin_matters(small: Path) -> None:
    tight, wide = (_sign_px(read(small, margin=margin)[0].image) for margin in (0.0, 0.5))
    assert (tight, wide) == (SIZE, SIZE // 2)


def test_a_sign_at_an_edge_keeps_its_centre_and_shape() -> None:
    """Beyond the edge, the edge is repeated."""
    pixels = np.zeros((60, 80, 3), np.uint8)
    pixels[:, :40] = 200
    image = crop_square(pixels, (0.0, 30.0), 40.0)
    assert (image == 200).all()
    image = crop_square(pixels, (40.0, 0.0), 40.0)
    assert (image[:, :, :14] == 200).all() and (image[:, :, 18:] == 0).all()


def test_a_long_photograph_is_not_distorted(own: Path) -> None:
    for path in own.rglob("*.csv"):
        path.unlink()
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[10:30, 20:40] = 255
    for path in own.rglob("*.ppm"):
        Image.fromarray(pixels).save(path)
    image = read(own)[0].image[0] > 127
    assert image.any(axis=0).sum() == image.any(axis=1).sum() == pytest.approx(SIZE * 20 / 60, abs=1)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:500])


def _grey(path: Path) -> None:
    with Image.open(path) as picture:
        picture.convert("L").save(path, format="PPM")


def _other_size(path: Path) -> None:
    with Image.open(path) as picture:
        picture.resize((50, 50)).save(path)


def _huge(path: Path) -> None:
    path.write_bytes(b"P6 2000 2000 255\n")


def _tiny(path: Path) -> None:
    Image.new("RGB", (1, 1)).save(path)


def _folder_of_that_name(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _outside(path: Path) -> None:
    _edit(path, "5;5;24;25", "5;5;30;25")


def _no_area(path: Path) -> None:
    _edit(path, "5;5;24;25", "24;5;24;25")


def _unlisted(path: Path) -> None:
    table = path.with_name(f"GT-{path.parent.name}.csv")
    table.write_text("\n".join(line for line in table.read_text().splitlines() if not line.startswith(path.name)))


def _edit(path: Path, old: str, new: str) -> None:
    table = path.with_name(f"GT-{path.parent.name}.csv")
    text = table.read_text()
    (line,) = (line for line in text.splitlines() if line.startswith(path.name))
    assert old in line
    table.write_text(text.replace(line, line.replace(old, new)))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (_empty, "cannot identify"),
        (_truncated, "truncated"),
        (_grey, "not a colour photograph"),
        (_other_size, "50x50 px, but 29x30 in GT-00000.csv"),
        (_huge, "2000x2000 px; photographs of GTSRB have 15 to 250 px"),
        (_tiny, "1x1 px; photographs of GTSRB have 15 to 250 px"),
        (_folder_of_that_name, "not a regular file"),
        (Path.unlink, "missing"),
        (_outside, "outside the photograph"),
        (_no_area, "empty"),
        (_unlisted, "does not list it"),
    ],
)
def test_a_broken_photograph_is_listed(own: Path, damage: Callable[[Path], None], reason: str) -> None:
    samples, _ = _items(own)
    path = _tested(own)
    damage(path)
    left, skipped = _items(own)
    assert list(skipped) == [path.name] and reason in skipped[path.name]
    assert len(left) == len(samples) - 1
    assert all(not _items(own, role)[1] for role in ROLES if role != "test")


def test_other_files_are_listed_in_every_role(own: Path) -> None:
    folder = _folder(own)
    names = ["00000_00000 (1).ppm", "00000_00000.png", "notes.txt", "GT-00001.csv"]
    for name in names:
        (folder / name).write_bytes((folder / "00000_00000.ppm").read_bytes())
    (folder / ".hidden").touch()
    for role in ROLES:
        samples, skipped = _items(own, role)
        assert sorted(skipped) == sorted(names) and samples
        assert all("TTTTT_FFFFF.ppm" in reason for reason in skipped.values())


def test_a_frame_under_two_names_is_read_once(own: Path, small: Path) -> None:
    path = _tested(own)
    shutil.copy(path, path.with_suffix(".PPM"))
    samples, skipped = _items(own)
    assert list(skipped.values()) == ["the same frame as 00000_00000.PPM".replace("00000_00000", path.stem)]
    assert len(samples) == len(read(small))


def test_rows_of_tracks_that_are_not_there_are_ignored(own: Path, small: Path) -> None:
    """A part of GTSRB may keep the whole tables."""
    with (_folder(own) / "GT-00000.csv").open("a") as table:
        table.write("00099_00000.ppm;29;30;5;5;24;25;0\r\n")
    assert len(read(own)) == len(read(small))


def _refusal(root: Path) -> str:
    with pytest.raises(UserError) as caught:
        list(read_gtsrb(GTSRBOptions(root=root), "test"))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def _replace(old: str, new: str) -> Callable[[Path], None]:
    def change(table: Path) -> None:
        text = table.read_text()
        assert old in text
        table.write_text(text.replace(old, new, 1))

    return change


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (_replace("Roi.X1;", ""), "has no column Roi.X1"),
        (_replace(";0\n", ";3\n"), "line 2 has ClassId 3 in the folder of class 0"),
        (_replace("5;5;24;25", "5;5;24"), "line 2 does not hold 7 whole numbers"),
        (_replace("5;5;24;25", "5;5;x;25"), "line 2 does not hold 7 whole numbers"),
        (_replace("00000_00001", "00000_00000"), "a second time"),
        (_empty, "has no column Filename"),
        (lambda table: table.write_bytes(HEADER.encode() + b"\n\xff;1"), "cannot be read as CSV"),
        (Path.unlink, "has no GT-00000.csv, but other classes have one"),
    ],
)
def test_a_broken_table_is_refused(own: Path, change: Callable[[Path], None], problem: str) -> None:
    change(_folder(own) / "GT-00000.csv")
    line = _refusal(own)
    assert problem in line and "restore it" in line


def test_a_table_with_a_mark_of_unicode_is_read(own: Path, small: Path) -> None:
    table = _folder(own) / "GT-00000.csv"
    table.write_bytes(b"\xef\xbb\xbf" + table.read_bytes())
    assert len(read(own)) == len(read(small))


def test_too_few_tracks_are_refused(own: Path) -> None:
    for path in _folder(own, 3).glob("0000[1-5]_*.ppm"):
        path.unlink()
    assert "00003: holds 1 tracks" in _refusal(own)


def test_a_missing_class_is_refused(own: Path) -> None:
    shutil.rmtree(_folder(own, 7))
    assert "no folder 00007" in _refusal(own)


def test_two_copies_below_root_are_refused(own: Path) -> None:
    (own / "GTSRB/Training/00000").mkdir(parents=True)
    assert "set root to one of them" in _refusal(own)


def test_a_role_without_a_readable_photograph_is_refused(own: Path) -> None:
    for path in own.rglob("*.ppm"):
        _empty(path)
    assert "none of the 32 photographs of role test is readable" in _refusal(own)


def test_a_folder_without_classes_and_a_missing_one_are_refused(tmp_path: Path) -> None:
    assert "no class folders" in _refusal(tmp_path)
    assert "no such folder" in _refusal(tmp_path / "none")


@pytest.mark.slow
def test_a_part_of_gtsrb_is_read_whole(tmp_path: Path, samples: Callable[[str], Path]) -> None:
    """About 70 % of the tracks, without CSV files."""
    with ZipFile(samples("gtsrb.zip")) as archive:
        archive.extractall(tmp_path)
    counts = {role: len(read(tmp_path, role)) for role in ROLES}
    assert counts == {"real": 2940, "real_labelled": 2940, "validation": 1050, "test": 1980}
    assert _tracks(tmp_path)["test"].isdisjoint(_tracks(tmp_path)["validation"])
