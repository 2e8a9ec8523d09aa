"""Bad input of the NYU reader on the command line: one line, exit code 2, no output."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hand_fixtures import hand, to_xyz, write_nyu

Case = Callable[[Path], str]


def _joints(root: Path, **arrays: np.ndarray) -> str:
    from scipy.io import savemat

    savemat(root / "train/joint_data.mat", arrays)
    return "joint_data.mat"


def missing_root(root: Path) -> str:
    (root / "train").rename(root / "elsewhere")
    return "train: no such folder"


def missing_frame(root: Path) -> str:
    (root / "train/depth_2_0000002.png").unlink()
    return "depth_2_0000002.png: missing (1 of 6 frames are)"


def truncated_frame(root: Path) -> str:
    path = root / "train/depth_2_0000002.png"
    path.write_bytes(path.read_bytes()[:500])
    return "depth_2_0000002.png: not a readable frame"


def another_picture(root: Path) -> str:
    from PIL import Image

    Image.new("L", (640, 480)).save(root / "train/depth_1_0000001.png")
    return "depth_1_0000001.png: not a readable frame (a frame is 640x480 RGB, this is 640x480 L)"


def missing_joints(root: Path) -> str:
    (root / "train/joint_data.mat").unlink()
    return "joint_data.mat: cannot be read (No such file"


def no_matlab_file(root: Path) -> str:
    (root / "train/joint_data.mat").write_text("hello")
    return "joint_data.mat: not a readable MATLAB file"


def without_the_variable(root: Path) -> str:
    return _joints(root, joint_uvd=np.ones((3, 2, 36, 3))) and "has no field joint_xyz"


def of_one_camera(root: Path) -> str:
    uvd = np.ones((1, 2, 36, 3))
    return _joints(root, joint_uvd=uvd, joint_xyz=to_xyz(uvd)) and "joint_uvd is 1x2x36x3, not 3xNx36x3"


def with_nan(root: Path) -> str:
    uvd = np.full((3, 2, 36, 3), np.nan)
    return _joints(root, joint_uvd=uvd, joint_xyz=uvd) and "joint_uvd does not hold finite numbers"


def unequal(root: Path) -> str:
    return _joints(root, joint_uvd=np.ones((3, 2, 36, 3)), joint_xyz=np.ones((3, 3, 36, 3))) and "holds 2 frames"


def behind_the_camera(root: Path) -> str:
    return _joints(root, joint_uvd=np.zeros((3, 2, 36, 3)), joint_xyz=np.zeros((3, 2, 36, 3))) and "at depth 0"


def of_other_joints(root: Path) -> str:
    uvd = np.tile(hand(1, 1)[1], (3, 2, 1, 1))
    xyz = to_xyz(uvd)
    xyz[:, :, [3, 9]] = xyz[:, :, [9, 3]]
    return _joints(root, joint_uvd=uvd, joint_xyz=xyz) and "joint_uvd and joint_xyz are more than 5 mm apart"


def outside_the_frame(root: Path) -> str:
    uvd = np.tile(hand(1, 1)[1], (3, 2, 1, 1)) + np.array((0, 400, 0))
    return _joints(root, joint_uvd=uvd, joint_xyz=to_xyz(uvd)) and "0000001.png: not a readable frame (joint_uvd"


def of_another_hand(root: Path) -> str:
    uvd = np.tile(hand(1, 1)[1], (3, 2, 1, 1)) + np.array((180, 0, 0))
    return _joints(root, joint_uvd=uvd, joint_xyz=to_xyz(uvd)) and "depth is measured at 0 of the 36 joints"


CASES: list[Case] = [
    missing_root, missing_frame, missing_joints, no_matlab_file, without_the_variable, of_one_camera, with_nan, unequal,
    behind_the_camera, of_other_joints, outside_the_frame, of_another_hand, truncated_frame, another_picture,
]  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An intact data set of two frames."""
    folder = tmp_path_factory.mktemp("whole")
    write_nyu(folder, frames=2)
    return folder


def test_bad_files(whole, tmp_path, cli):
    for case in CASES:
        root = shutil.copytree(whole, tmp_path / case.__name__)
        named = case(root)
        ended = cli(
            "prepare", "nyu", tmp_path / "out.h5", "--plugin", "hands", "--role", "real", "--set", f"root={root}"
        )
        assert named in ended.complaint()
        assert not list(tmp_path.glob("*out.h5*"))


def test_bad_options(whole, tmp_path, cli):
    for setting, named in [
        ("views=[4]", "views: give different cameras out of 1, 2, 3"),
        ("views=[1, 1]", "views: give different cameras"),
        ("views=[]", "views"),
        ("frames=[3, 2]", "frames: give the first and the last frame"),
        ("frames=[0, 2]", "frames: give the first and the last frame"),
        ("frames=[2, 9]", "frames is [2, 9]"),
        ("cube_mm=0", "cube_mm"),
    ]:
        words = ["--set", f"root={whole}", "--set", setting]
        ended = cli("prepare", "nyu", tmp_path / "out.h5", "--plugin", "hands", "--role", "simulated", *words)
        assert named in ended.complaint()


def test_broken_frames_can_be_skipped_unless_all_are_broken(whole, tmp_path, cli):
    shutil.copytree(whole, tmp_path / "nyu")
    truncated_frame(tmp_path / "nyu")
    words = ["--plugin", "hands", "--role", "real", "--set", f"root={tmp_path / 'nyu'}", "--set", "skip_broken=true"]
    ended = cli("prepare", "nyu", tmp_path / "out.h5", *words).ok()
    assert "depth_2_0000002.png" in ended.out + ended.err
    for path in (tmp_path / "nyu/train").glob("depth_*.png"):
        path.unlink()
    assert "none of 6 depth frames is readable" in cli("prepare", "nyu", tmp_path / "none.h5", *words).complaint()
    assert not (tmp_path / "none.h5").exists()
