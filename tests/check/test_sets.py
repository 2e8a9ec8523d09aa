"""Two sets compared, and packs against a recipe."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageOps
from quick import TOY

from synthreal.bulk.prepare import prepare
from synthreal.check import check_sets
from synthreal.data.writer import write_pack
from synthreal.errors import UserError
from synthreal.hooks.catalog import Catalog
from synthreal.spec import ImageSpec, Sample


def scene(seed):
    colours = np.random.default_rng(seed).normal(128, 50, (6, 8, 3)).clip(0, 255).astype(np.uint8)
    return Image.fromarray(colours).resize((48, 36), Image.Resampling.BICUBIC)


def folder(path, seeds, change=lambda image: image, suffix="png", **options):
    path.mkdir()
    for seed in seeds:
        change(scene(seed)).save(path / f"{seed}.{suffix}", **options)
    return path


@pytest.fixture
def renders(tmp_path):
    return folder(tmp_path / "renders", range(20))


def test_two_good_sets(renders, tmp_path):
    photos = folder(tmp_path / "photos", range(100, 120), suffix="jpg")
    result = check_sets([renders, photos])
    assert result.between == () and result.findings == []
    assert [found.path for found in result.sets] == [str(renders), str(photos)]
    assert check_sets([renders]).sets == result.sets[:1]


def test_photographs_that_are_renders(renders, tmp_path):
    photos = folder(tmp_path / "photos", range(100, 120))
    scene(4).save(photos / "same.tif")
    scene(5).resize((96, 72)).save(photos / "near.jpg", quality=60)
    same, near = check_sets([renders, photos]).between
    assert same.startswith(f"{photos}: 1 of 22 images") and "same.tif = 4.png" in same and "equal" in same
    assert near.startswith(f"{photos}: 1 of 22 images") and "near.jpg = 5.png" in near and "equal" not in near
    assert check_sets([photos]).findings == []  # with one path only its own findings


def test_swapped_folders(renders, tmp_path):
    drawn = tmp_path / "drawn"
    drawn.mkdir()
    for level in range(9):
        Image.fromarray(np.kron([[level, 200], [120, 60]], np.ones((20, 20))).astype(np.uint8)).save(
            drawn / f"{level}.png"
        )
    assert any("swap the two" in line for line in check_sets([renders, drawn]).between)
    assert not any("swap the two" in line for line in check_sets([drawn, renders]).between)


def test_the_same_folder_twice(renders):
    (line,) = check_sets([renders, renders]).between
    assert "20 of 20 images" in line


@pytest.mark.parametrize(
    ("change", "word"),
    [(lambda image: image.point(lambda value: 200 + value // 8), "levels"), (ImageOps.invert, "negative")],
)
def test_photographs_whose_levels_differ_as_if_misread(tmp_path, change, word):
    def bright_below(image):
        return Image.blend(image, ImageOps.invert(Image.linear_gradient("L")).resize(image.size).convert("RGB"), 0.7)

    def dark(image):
        return bright_below(image).point(lambda value: value // 2)

    renders = folder(tmp_path / "renders", range(20), dark if word == "levels" else bright_below)
    photos = folder(tmp_path / "photos", range(100, 120), lambda image: change(bright_below(image)))
    (line,) = check_sets([renders, photos]).between
    assert line.startswith(f"{photos}: ") and word in line and str(renders) in line


def test_further_sets_are_checked_alone(renders, tmp_path):
    photos = folder(tmp_path / "photos", range(100, 120))
    result = check_sets([renders, photos, renders])
    assert len(result.sets) == 3 and result.findings == []


def test_roles_of_packs_in_the_wrong_order(tmp_path, renders):
    paths = {}
    for role in ("simulated", "real"):
        paths[role] = tmp_path / f"{role}.h5"
        prepare(Catalog.of([str(TOY)]), {"simulated": "discs", "real": "photographs"}[role], paths[role], limit=20)
    assert check_sets([paths["simulated"], paths["real"]]).findings == []
    (line,) = check_sets([paths["real"], paths["simulated"]]).between
    assert "roles real and simulated" in line
    assert any("roles" in line for line in check_sets([renders, paths["simulated"]]).between)


def test_packs_against_the_recipe_of_a_plugin(tmp_path, renders, toy):
    good = tmp_path / "good.h5"
    prepare(toy, "discs", good, limit=20)
    assert check_sets([good], catalog=toy).findings == []
    images = np.random.default_rng(0).integers(0, 255, (20, 1, 9, 9), dtype=np.uint8)
    bad = tmp_path / "bad.h5"
    write_pack(
        bad,
        [Sample(image) for image in images],
        image=ImageSpec(channels=1, height=9, width=9),
        labels=(),
        role="simulated",
        name="test",
        options={},
    )
    assert check_sets([bad]).findings == []
    (line,) = check_sets([bad], catalog=toy).sets[0].findings
    assert line.startswith(f"{bad}: ") and "1x9x9" in line and "1x12x16" in line
    (line,) = [line for line in check_sets([good, bad], catalog=toy).findings if "does not fit" in line]
    assert "data.real" in line
    with pytest.raises(UserError, match="folder"):
        check_sets([renders], catalog=toy)


def test_progress_names_the_path(renders):
    seen = []
    check_sets([renders], on_progress=lambda *found: seen.append(found))
    assert seen[-1] == (str(renders), 20, 20)
