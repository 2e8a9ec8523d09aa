from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from synthreal_gaze.camera import CameraOptions, render_camera
from synthreal_gaze.compare import main, read_photographs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Crops of the camera domain of several sizes and modes."""
    crops = tmp_path / "crops"
    crops.mkdir()
    image = render_camera(CameraOptions(), 48, torch.Generator().manual_seed(5), "validation").image
    for k, pixels in enumerate((image[:, 0] * 255).round().byte().numpy()):
        picture = Image.fromarray(pixels)
        picture = picture.resize((60, 36)) if k % 3 == 0 else picture
        (picture.convert("RGB") if k % 5 == 0 else picture).save(crops / f"{k:02d}.png")
    return crops


def test_a_folder_is_read_as_grey_crops_and_unreadable_files_are_counted(folder):
    folder = folder.rename(folder.with_name("eyes \U0001f441"))
    (folder / "broken.png").write_bytes((folder / "01.png").read_bytes()[:200])
    image, skipped = read_photographs(folder)
    assert image.shape == (48, 1, 35, 55)
    assert skipped == 1
    with Image.open(folder / "01.png") as picture:
        assert np.array_equal((image[1, 0] * 255).round().byte().numpy(), np.asarray(picture))


def test_the_command_writes_a_sheet_and_prints_distances(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("synthreal_gaze.compare.DRAWN", 128)
    out = tmp_path / "sheet.png"
    assert main([str(folder), "--out", str(out), "--n", "12", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert set(said["distance"]) == {"simulator", "equalised simulator", "camera", "photographs"}
    assert said["n"]["photographs"] == 48
    means = {kind: value["mean"] for kind, value in said["distance"].items()}
    assert means["camera"] < means["equalised simulator"] < means["simulator"]
    assert means["camera"] < means["simulator"] / 2
    with Image.open(out) as sheet:
        assert sheet.width > 10 * 3 * 55
        assert sheet.height > 6 * 3 * 35  # two rows of each kind
    assert main([str(folder), "--out", str(out), "--json", "--seed", "1"]) == 0
    other = json.loads(capsys.readouterr().out)
    assert other["distance"] != said["distance"]
    assert main([str(folder), "--out", str(out), "--n", "4"]) == 0
    table = capsys.readouterr().out
    assert "camera / simulator" in table
    assert str(out) in table
    assert sorted(path.name for path in tmp_path.iterdir()) == ["crops", "sheet.png"]


@pytest.mark.parametrize("case", ["missing", "empty", "one", "n", "seed", "out"])
def test_a_user_error_is_one_line_on_stderr(case, folder, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "one").mkdir()
    (folder / "01.png").rename(tmp_path / "one" / "01.png")
    where, more, named = {
        "missing": (tmp_path / "nowhere", [], "nowhere"),
        "empty": (tmp_path / "empty", [], "give a folder of eye photographs"),
        "one": (tmp_path / "one", [], "one"),
        "n": (folder, ["--n", "0"], "--n"),
        "seed": (folder, ["--seed", "99999999999999999999"], "--seed"),
        "out": (folder, ["--out", str(tmp_path / "nowhere" / "sheet.png")], "nowhere"),
    }[case]
    assert main([str(where), *(more or ["--out", str(tmp_path / "sheet.png")])]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.strip().splitlines()) == 1
    assert named in said.err
    assert not (tmp_path / "sheet.png").exists()


def test_the_camera_is_at_most_half_as_far_from_photographs_as_the_simulator(samples, tmp_path, capsys):
    assert main([str(samples("mpiigaze_unlabelled")), "--out", str(tmp_path / "sheet.png"), "--json"]) == 0
    distance = json.loads(capsys.readouterr().out)["distance"]
    assert distance["camera"]["mean"] <= 0.5 * distance["simulator"]["mean"]
    assert distance["equalised simulator"]["mean"] <= 0.75 * distance["simulator"]["mean"]
