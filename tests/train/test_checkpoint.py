"""Checkpoints: atomic, unpickled by nobody, the newest two kept, whole or refused."""

from __future__ import annotations

import errno
import os
import pickle
from pathlib import Path

import pytest
import torch
from quick import files, fit_toy, same

from synthreal.device import resolve_device
from synthreal.errors import UserError
from synthreal.inference.pretrained import read_config
from synthreal.train import checkpoint
from synthreal.train.build import build_game


def test_a_state_restored_into_a_fresh_game_is_the_state(toy, toy_run):
    state = checkpoint.load(toy_run)
    game = build_game(read_config(toy_run), toy, resolve_device("cpu"))
    fresh = checkpoint.game_state(game)
    for part in ("refiner", "discriminator", "optimizer_refiner", "optimizer_discriminator", "average", "history"):
        assert not same(fresh[part], state[part])
    checkpoint.restore(game, state)
    restored = checkpoint.game_state(game)
    assert [part for part in restored if not same(restored[part], state[part])] == []


def test_the_newest_two_are_kept(tmp_path):
    for step in (5, 20, 9, 100):
        checkpoint.save(tmp_path, step, {})
    assert [path.name for path in checkpoint.checkpoints(tmp_path)] == ["step-00000020.pt", "step-00000100.pt"]


@pytest.fixture
def saved(toy, tmp_path):
    fit_toy(toy, tmp_path)
    return tmp_path


@pytest.mark.parametrize("keep", [0, 1, 100, -1])
def test_a_truncated_checkpoint_is_refused_in_one_line(saved, keep):
    path = checkpoint.checkpoints(saved)[-1]
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match=r"step-00000011\.pt: not a whole checkpoint .*delete it to resume") as error:
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
        torch.save({"step": 1, "refiner": Bomb(saved / "exploded")}, path)
    else:
        path.write_bytes(pickle.dumps({"step": 1, "refiner": Bomb(saved / "exploded")}, protocol=2))
    with pytest.raises(UserError, match="not a whole checkpoint"):
        checkpoint.load(saved)
    assert not (saved / "exploded").exists()


@pytest.mark.parametrize("part", ["refiner", "optimizer_refiner", "optimizer_discriminator", "average", "history"])
def test_every_part_is_needed(saved, part):
    path = checkpoint.checkpoints(saved)[-1]
    state = torch.load(path, weights_only=True)
    del state[part]
    torch.save(state, path)
    with pytest.raises(UserError, match=r"not a whole checkpoint \(parts of the state"):
        checkpoint.load(saved)


def test_the_last_checkpoint_has_none_before_it(saved):
    for path in checkpoint.checkpoints(saved)[:-1]:
        path.unlink()
    checkpoint.checkpoints(saved)[-1].write_bytes(b"")
    with pytest.raises(UserError, match="delete the run and fit again"):
        checkpoint.load(saved)


@pytest.mark.parametrize("content", [torch.zeros(3), {"step": 4}, {"model": torch.zeros(3)}])
def test_somebody_elses_file_is_refused(saved, content):
    torch.save(content, checkpoint.checkpoints(saved)[-1])
    with pytest.raises(UserError, match="not a whole checkpoint"):
        checkpoint.load(saved)


def test_without_a_checkpoint_there_is_nothing_to_resume(tmp_path):
    with pytest.raises(UserError, match="nothing to resume"):
        checkpoint.load(tmp_path)


@pytest.mark.parametrize("moment", ["write_bytes", "fsync", "rename"])
def test_a_full_disk_leaves_the_checkpoint_before(saved, monkeypatch, moment):
    before = {name: (saved / name).read_bytes() for name in files(saved)}

    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    owner, name = {"write_bytes": (Path, "write_bytes"), "fsync": (os, "fsync"), "rename": (Path, "replace")}[moment]
    monkeypatch.setattr(owner, name, full)
    with pytest.raises(UserError, match=r"step-00000099\.pt: cannot write \(No space left on device\); free"):
        checkpoint.save(saved, 99, {"a": torch.zeros(9)})
    monkeypatch.undo()
    assert before == {name: (saved / name).read_bytes() for name in files(saved)}
