"""MATLAB files: nested fields, damaged files that end or occupy scipy's reader, bombs, other processes."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from synthreal import UserError
from synthreal.data import matlab, read_matlab


@pytest.fixture
def day(tmp_path: Path) -> Path:
    path = tmp_path / "day.mat"
    random = np.random.default_rng(0)
    eye = {"gaze": random.normal(size=(5, 3)), "image": random.integers(0, 256, (5, 36, 60), dtype=np.uint8)}
    savemat(path, {"data": {"left": eye}, "xyz": random.normal(size=(3, 2, 4)).astype(">f4"), "name": "words"})
    return path


def error(path: Path, *names: str) -> str:
    with pytest.raises(UserError) as caught:
        read_matlab(path, names or ("xyz",), remedy="restore it")
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and message.endswith("; restore it") and "\n" not in message
    return message


def test_arrays_are_those_of_scipy(day):
    from scipy.io import loadmat

    content = loadmat(day)
    found = read_matlab(day, ["xyz", "data.left.image", "data.left.gaze"], remedy="restore it")
    left = content["data"][0, 0]["left"][0, 0]
    for name, expected in {
        "xyz": content["xyz"],
        **{f"data.left.{key}": left[key] for key in left.dtype.names},
    }.items():
        assert found[name].dtype == expected.dtype
        np.testing.assert_array_equal(found[name], expected)


def test_missing_files_fields_and_text_are_named(day, tmp_path):
    assert "No such file" in error(tmp_path / "none.mat")
    assert "not a regular file" in error(tmp_path)
    assert "has no field data.right.gaze" in error(day, "xyz", "data.right.gaze")
    assert "has no field xyz.left" in error(day, "xyz.left")
    for name in ("name", "data", "data.left"):
        assert f"field {name} does not hold numbers" in error(day, name)


def test_one_child_reads_many_files_and_is_replaced_after_a_broken_one(day, tmp_path):
    def child() -> int:
        read_matlab(day, ["xyz"], remedy="restore it")
        return matlab._CHILDREN[os.getpid()].process.pid

    first = child()
    assert child() == first
    (tmp_path / "broken.mat").write_bytes(day.read_bytes()[:-3000])
    error(tmp_path / "broken.mat")
    assert child() != first


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), 11)", "time.sleep(60)", "os._exit(0)", "print('?', flush=True)"])
def test_a_child_that_dies_or_hangs_costs_one_file(day, monkeypatch, tmp_path, end):
    """A stand-in for scipy's reader behaves as it does on the worst files."""
    (tmp_path / "scipy").mkdir()
    (tmp_path / "scipy/__init__.py").touch()
    (tmp_path / "scipy/io.py").write_text(f"import os, time\n\ndef loadmat(*a, **k):\n    {end}\n    return {{}}\n")
    with monkeypatch.context() as patch:
        patch.setattr(matlab, "_CHILDREN", {})
        patch.setattr(matlab, "READ_SECONDS", 1.0)
        patch.syspath_prepend(tmp_path)
        message = error(day)
    assert "not a readable MATLAB file" in message
    expected = {"os.kill(os.getpid(), 11)": "SIGSEGV", "time.sleep(60)": "not read within 1 s"}
    assert expected.get(end, "ended with") in message
    assert read_matlab(day, ["xyz"], remedy="restore it")


def bomb(path: Path, size: int) -> None:
    """A file of a few megabytes at most whose compressed element holds ``size`` zeros as a column of bytes."""
    name = b"xyz".ljust(8, b"\0")
    head = struct.pack("<IIII", 6, 8, 9, 0) + struct.pack("<IIii", 5, 8, size, 1) + struct.pack("<II", 1, 3) + name
    packer = zlib.compressobj()
    parts = [packer.compress(struct.pack("<II", 14, len(head) + 8 + size) + head + struct.pack("<II", 2, size))]
    parts += [packer.compress(bytes(2**20)) for _ in range(size >> 20)]
    body = b"".join(parts) + packer.flush()
    header = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
    path.write_bytes(header + struct.pack("<II", 15, len(body)) + body)


def test_a_compressed_bomb_is_refused_in_the_child(tmp_path, monkeypatch):
    monkeypatch.setattr(matlab, "MEMORY", 2**27)
    bomb(tmp_path / "small.mat", 2**20)
    assert read_matlab(tmp_path / "small.mat", ["xyz"], remedy="restore it")["xyz"].shape == (2**20, 1)
    bomb(tmp_path / "bomb.mat", 2**28)
    assert (tmp_path / "bomb.mat").stat().st_size < 2**22
    assert "not a readable MATLAB file" in error(tmp_path / "bomb.mat")


SCRIPT = """
import os, sys
from pathlib import Path
from synthreal.data import read_matlab
os.chdir("/")
print(read_matlab(Path(sys.argv[1]), ["xyz"], remedy="")["xyz"].shape)
child = os.fork()
if child == 0:
    sys.exit(read_matlab(Path(sys.argv[1]), ["xyz"], remedy="")["xyz"].shape != (3, 2, 4))
print(os.waitpid(child, 0)[1], read_matlab(Path(sys.argv[1]), ["xyz"], remedy="")["xyz"].shape)
"""


def test_a_script_without_a_main_guard_and_its_forked_process_read_files(day, tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    path = {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", tmp_path / "script.py", day],
        capture_output=True, text=True, env={**os.environ, **path}, timeout=120,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("(3, 2, 4)\n0 (3, 2, 4)\n", "")


def test_threads_take_turns(day):
    found: list[tuple[int, ...]] = []

    def read() -> None:
        found.extend(read_matlab(day, ["data.left.image"], remedy="")["data.left.image"].shape for _ in range(5))

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [(5, 36, 60)] * 20
