"""Atomic files: whole or absent."""

from __future__ import annotations

import errno
import os
import resource
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from synthreal.errors import UserError
from synthreal.files import atomic_write, write_errors, write_text


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_text_is_written_and_replaced(tmp_path):
    write_text(tmp_path / "a.txt", "ä\n")
    write_text(tmp_path / "a.txt", "two")
    assert (tmp_path / "a.txt").read_bytes() == b"two"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt(), UserError("mine")])
def test_a_failing_block_leaves_the_old_file(tmp_path, error):
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(type(error)), atomic_write(tmp_path / "a.txt") as partial:
        partial.write_text("half")
        raise error
    assert (tmp_path / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize(("owner", "name"), [(os, "fsync"), (Path, "replace"), (Path, "write_text")])
def test_a_full_disk_leaves_the_old_file_and_one_line(tmp_path, monkeypatch, owner, name):
    write_text(tmp_path / "a.txt", "old")

    def full(*arguments, **more):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(owner, name, full)
    with pytest.raises(UserError, match=r"a\.txt: cannot write \(No space left on device\); free or choose another"):
        write_text(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_write_refused_by_the_kernel_is_one_line(tmp_path):
    """A limit on the size of files stands for a full disk: weights, checkpoints and sheets alike."""
    import torch
    from torch import nn

    from synthreal.inference.pretrained import write_refiner
    from synthreal.train import checkpoint
    from synthreal.train.contact_sheet import save_sheet

    network = nn.Linear(300, 300)
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(UserError, match=r"refiner\.safetensors: cannot write \(File too large\)"):
            write_refiner(tmp_path, network, step=1, kind="raw")
        with pytest.raises(UserError, match=r"step-00000001\.pt: cannot write \(File too large\)"):
            checkpoint.save(tmp_path, 1, {"refiner": network.state_dict()})
        with pytest.raises(UserError, match=r"a\.png: cannot write \(File too large\)"):
            save_sheet(tmp_path / "a.png", [("noise", torch.rand(9, 3, 100, 100))])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert names(tmp_path) == ["checkpoints"] and names(tmp_path / "checkpoints") == []


def test_content_and_name_are_synchronised_in_order(tmp_path, monkeypatch):
    order = []

    def fsync(handle):
        order.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")

    monkeypatch.setattr(os, "fsync", fsync)
    original = Path.replace
    monkeypatch.setattr(Path, "replace", lambda self, target: order.append("rename") or original(self, target))
    write_text(tmp_path / "a.txt", "x")
    assert order == ["file", "rename", "folder"]


def test_a_missing_folder_is_one_line_and_other_errors_pass(tmp_path):
    with pytest.raises(UserError, match=r"missing/a\.txt: cannot write \(No such file or directory\)"):
        write_text(tmp_path / "missing/a.txt", "x")
    with pytest.raises(ZeroDivisionError), write_errors(tmp_path):
        raise ZeroDivisionError


def test_temporary_files_of_killed_processes_are_replaced_but_not_those_of_living_ones(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True
    )
    killed, living = (tmp_path / f".a.txt.{pid}.partial" for pid in (ended.stdout.strip(), os.getppid()))
    other = tmp_path / f".b.txt.{ended.stdout.strip()}.partial"
    foreign = tmp_path / ".a.txt.download.partial"
    for path in (killed, living, other, foreign):
        path.write_text("half")
    write_text(tmp_path / "a.txt", "new")
    assert names(tmp_path) == sorted(["a.txt", living.name, other.name, foreign.name])
