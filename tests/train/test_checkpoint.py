"""Checkpoints: written atomically, read without unpickling, complete or refused; the newest two are kept."""

from __future__ import annotations

import errno
import io
import os
import pickle
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from quick import files, same

from synthreal.device import resolve_device
from synthreal.errors import UserError
from synthreal.inference.pretrained import read_config
from synthreal.train import checkpoint
from synthreal.train.build import build_game


def test_restoring_into_a_new_game_gives_the_saved_state(toy, toy_run):
    state = checkpoint.load(toy_run)
    game = build_game(read_config(toy_run), toy, resolve_device("cpu"))
    fresh = checkpoint.game_state(game)
    for part in ("refiner", "discriminator", "optimizer_refiner", "optimizer_discriminator", "average", "history"):
        assert not same(fresh[part], state[part])
    checkpoint.restore(game, state)
    restored = checkpoint.game_state(game)
    assert [part for part in restored if not same(restored[part], state[part])] == []


def test_the_two_newest_checkpoints_are_kept(tmp_path):
    for step in (5, 20, 9, 100):
        checkpoint.save(tmp_path, step, {})
    assert [path.name for path in checkpoint.checkpoints(tmp_path)] == ["step-00000020.pt", "step-00000100.pt"]


def write(path, state):
    """Write a state as a checkpoint with the right checksum."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    path.write_bytes(checkpoint.add_checksum(buffer.getvalue()))


@pytest.fixture
def saved(toy_run, tmp_path):
    """A copy of the run that may be damaged."""
    return shutil.copytree(toy_run, tmp_path / "saved")


def test_a_truncated_checkpoint_is_refused_in_one_line(saved):
    path = checkpoint.checkpoints(saved)[-1]
    content = path.read_bytes()
    for length in (0, 1, 100, -1):
        path.write_bytes(content[:length])
        with pytest.raises(UserError, match=r"step-00000011\.pt: .*delete it to resume") as error:
            checkpoint.load(saved)
        assert "\n" not in str(error.value)


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", ["torch", "pickle"])
def test_nothing_is_unpickled(saved, protocol):
    path = checkpoint.checkpoints(saved)[-1]
    if protocol == "torch":
        write(path, {"step": 1, "refiner": Bomb(saved / "exploded")})
    else:
        path.write_bytes(pickle.dumps({"step": 1, "refiner": Bomb(saved / "exploded")}, protocol=2))
    with pytest.raises(UserError, match=path.name):
        checkpoint.load(saved)
    assert not (saved / "exploded").exists()


def test_a_checkpoint_without_one_of_its_parts_or_of_another_program_is_refused(saved):
    path = checkpoint.checkpoints(saved)[-1]
    state = torch.load(path, weights_only=True)
    parts = ("refiner", "optimizer_refiner", "optimizer_discriminator", "average", "history")
    incomplete = [{name: value for name, value in state.items() if name != part} for part in parts]
    for content in (*incomplete, torch.zeros(3), {"step": 4}, {"model": torch.zeros(3)}):
        write(path, content)
        with pytest.raises(UserError, match=path.name):
            checkpoint.load(saved)


def test_a_forged_pickle_is_refused_in_one_line(saved):
    path = checkpoint.checkpoints(saved)[-1]
    for program in (b"\x80\x02a.", b"\x80\x02t.", b"\x80\x02K\x01Q."):  # no list, no mark, no persistent id
        archive = io.BytesIO()
        with zipfile.ZipFile(path) as whole, zipfile.ZipFile(archive, "w") as forged:
            for name in whole.namelist():
                forged.writestr(name, program if name.endswith("data.pkl") else whole.read(name))
        path.write_bytes(checkpoint.add_checksum(archive.getvalue()))
        with pytest.raises(UserError, match=r"step-00000011\.pt: not a complete checkpoint") as error:
            checkpoint.load(saved)
        assert "\n" not in str(error.value)


def test_a_changed_bit_anywhere_is_refused(saved):
    path = checkpoint.checkpoints(saved)[-1]
    content = path.read_bytes()
    for position in (0, len(content) // 3, len(content) // 2, len(content) - 80, len(content) - 1):
        path.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
        with pytest.raises(UserError, match=r"checksum.*delete it to resume"):
            checkpoint.load(saved)
    path.write_bytes(content)
    torch.save(torch.load(path, weights_only=True), path)
    with pytest.raises(UserError, match="checksum"):
        checkpoint.load(saved)


def test_without_an_earlier_checkpoint_the_remedy_is_to_fit_again(saved, tmp_path):
    for path in checkpoint.checkpoints(saved)[:-1]:
        path.unlink()
    checkpoint.checkpoints(saved)[-1].write_bytes(b"")
    with pytest.raises(UserError, match="fit again"):
        checkpoint.load(saved)
    with pytest.raises(UserError, match=rf"{tmp_path}: nothing to resume"):
        checkpoint.load(tmp_path)


@pytest.mark.parametrize("moment", ["write_bytes", "fsync", "rename"])
def test_a_full_disk_leaves_the_earlier_checkpoints(saved, monkeypatch, moment):
    before = {name: (saved / name).read_bytes() for name in files(saved)}

    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    owner, name = {"write_bytes": (Path, "write_bytes"), "fsync": (os, "fsync"), "rename": (Path, "replace")}[moment]
    monkeypatch.setattr(owner, name, full)
    with pytest.raises(UserError, match=r"step-00000099\.pt: cannot write \(No space left on device\)"):
        checkpoint.save(saved, 99, {"a": torch.zeros(9)})
    monkeypatch.undo()
    assert before == {name: (saved / name).read_bytes() for name in files(saved)}
