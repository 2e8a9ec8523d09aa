"""The command ``check``: table, JSON and exit codes."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from quick import TOY


@pytest.fixture
def folders(tmp_path):
    """Two good sets of pictures."""
    for name, start in (("renders", 0), ("photos", 100)):
        (tmp_path / name).mkdir()
        for seed in range(start, start + 20):
            colours = np.random.default_rng(seed).normal(128, 50, (6, 8, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(colours).resize((48, 36)).save(tmp_path / name / f"{seed}.png")
    return tmp_path / "renders", tmp_path / "photos"


def test_good_sets_end_with_0(cli, folders):
    done = cli("check", *folders).ok()
    assert "Nothing is wrong" in done.out
    assert "warning" not in done.out and "checking" in done.err
    rows = {line.split()[0]: line.split()[1:] for line in done.out.splitlines() if line.split()}
    assert (rows["images"], rows["px"], rows["mode"]) == (["20", "20"], ["36x48", "36x48"], ["RGB", "RGB"])
    assert all(row not in rows for row in ("constant", "duplicates", "left", "labels"))
    result = json.loads(cli("check", *folders, "--json").ok().out)
    assert [found["images"] for found in result["sets"]] == [20, 20] and result["between"] == []


def test_what_is_wrong_ends_with_1(cli, folders):
    renders, photos = folders
    (renders / "[3] broken.png").write_bytes(b"x")
    (renders / "0.json").write_text('{"angle": 1.5}')
    Image.open(renders / "1.png").save(photos / "[1].bmp")
    done = cli("check", renders, photos)
    assert "Nothing is wrong" not in done.out
    assert done.code == 1
    text = " ".join(done.out.split())
    assert text.count("warning: ") == 2 and "[3] broken.png" in text and "[1].bmp = 1.png" in text
    assert "angle 1.5 to 1.5 (1 images)" in done.out
    assert cli("check", photos).code == 0
    found = cli("check", renders, photos, "--json")
    assert found.code == 1 and len(json.loads(found.out)["between"]) == 1


def test_bad_input_is_one_line_and_2(cli, folders, tmp_path):
    assert str(tmp_path / "none") in cli("check", folders[0], tmp_path / "none").complaint()


def test_plugin_compares_packs_with_its_recipe(cli, folders, tmp_path):
    cli("prepare", "photographs", tmp_path / "p.h5", "--plugin", TOY, "--role", "real", "--limit", 20).ok()
    cli("check", tmp_path / "p.h5", "--plugin", TOY).ok()
    assert "data.simulated" in cli("check", tmp_path / "p.h5", tmp_path / "p.h5", "--plugin", TOY).out
    assert "leave out --plugin" in cli("check", folders[0], "--plugin", TOY).complaint()
