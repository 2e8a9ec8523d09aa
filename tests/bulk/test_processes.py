"""Several processes refine the same bits as one."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from PIL import Image
from quick import files

from synthreal.bulk.job import WorkFolder
from synthreal.bulk.refine import refine_bulk
from synthreal.distributed.processes import Processes
from synthreal.distributed.rank import Rank
from synthreal.errors import PeerError, UserError

refine_module = sys.modules["synthreal.bulk.refine"]


def test_the_rank_comes_from_the_environment(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert Rank.here() == Rank(0, 1, 0)
    monkeypatch.setenv("WORLD_SIZE", "4")  # without RANK it has another purpose
    assert Rank.here() == Rank(0, 1, 0)
    for name, word in (("RANK", "3"), ("WORLD_SIZE", "4"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, word)
    assert Rank.here() == Rank(3, 4, 1)
    monkeypatch.delenv("LOCAL_RANK")
    assert Rank.here() == Rank(3, 4, 3)  # one machine
    monkeypatch.setenv("LOCAL_RANK", "1")
    for word in ("4", "-1", "x"):
        monkeypatch.setenv("RANK", word)
        with pytest.raises(UserError, match=rf"RANK={word}, WORLD_SIZE=4, LOCAL_RANK=1"):
            Rank.here()


@dataclass(frozen=True)
class Member(Processes):
    """A thread in the role of a process."""

    shared: Any = None

    def wait(self):
        self.shared["barrier"].wait(60)

    def broadcast(self, value):
        if self.is_main:
            self.shared["value"] = value
        self.wait()
        value = self.shared["value"]
        self.wait()
        return value


@pytest.fixture
def together(monkeypatch):
    """``together(3, *arguments)``: the summaries of a job by three threads, and the progress reported to each."""
    here = threading.local()
    monkeypatch.setattr(
        refine_module, "process_group", contextmanager(lambda: (yield getattr(here, "member", Processes())))
    )
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)

    def refine(size, *arguments, **settings):
        done, reported, errors = {}, {rank: [] for rank in range(size)}, []
        shared = {"barrier": threading.Barrier(size)}

        def process(rank):
            here.member = Member(rank, size, shared=shared)
            try:
                report = lambda *counts: reported[rank].append(counts)  # noqa: E731
                done[rank] = refine_bulk(*arguments, **settings, on_progress=report)
            except BaseException as error:
                errors.append(error)
                shared["barrier"].abort()

        threads = [threading.Thread(target=process, args=(rank,)) for rank in range(size)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert not errors
        return done, reported

    return refine


@pytest.mark.parametrize(("kind", "size"), [("pack", 2), ("pack", 3), ("folder", 3), ("shards", 2)])
def test_several_processes_make_what_one_makes(noisy, source_of, tmp_path, small_blocks, together, kind, size):
    source = source_of(kind)
    refine_bulk(noisy, source, tmp_path / "one", seed=1, samples=2)
    done, reported = together(size, noisy, source, tmp_path / "two", seed=1, samples=2)
    assert (done[0].refined, done[0].done) == (86, "refined")
    assert all(done[rank].done == "share" for rank in range(1, size))
    assert files(tmp_path / "two") == files(tmp_path / "one")
    for name in files(tmp_path / "one"):
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
    if source.is_file():
        assert (tmp_path / "two").read_bytes() == (tmp_path / "one").read_bytes()
    assert not (tmp_path / "two.parts").exists()
    assert reported[0][-1] == (43, 43) and reported[0] == sorted(set(reported[0]))  # of all processes
    assert not any(reported[rank] for rank in range(1, size))
    again, _ = together(size, noisy, source, tmp_path / "two", seed=1, samples=2)
    assert {summary.done for summary in again.values()} == {"before"}


def test_the_work_of_a_process_that_died_is_done_next_time(noisy, pack_of, tmp_path, small_blocks, monkeypatch):
    source, out = pack_of(43), tmp_path / "out.h5"

    class Orphan(Member):
        def broadcast(self, value):
            return value

        def wait(self):
            raise PeerError("another process of this run is gone")

    with monkeypatch.context() as patch, pytest.raises(PeerError):
        patch.setattr(refine_module, "process_group", contextmanager(lambda: (yield Orphan(0, 2))))
        refine_bulk(noisy, source, out)
    assert WorkFolder(out).done() == {0, 2, 4}
    refine_bulk(noisy, source, out)
    refine_bulk(noisy, source, tmp_path / "one.h5")
    assert out.read_bytes() == (tmp_path / "one.h5").read_bytes()


@pytest.mark.slow
def test_torchrun(noisy, tmp_path):
    (tmp_path / "in").mkdir()
    for index in range(20):
        pixels = np.random.default_rng(index).integers(0, 256, (40, 300), np.uint8)  # several blocks
        Image.fromarray(np.repeat(pixels, 60, axis=0)).save(tmp_path / "in" / f"{index:02d}.png")
    refine_bulk(noisy, tmp_path / "in", tmp_path / "one", threads=1)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "synthreal"]
    command += ["refine", str(noisy), str(tmp_path / "in"), str(tmp_path / "two"), "--threads", "1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == f"{tmp_path / 'two'}: 20 refined images\n"
    for path in (tmp_path / "one").iterdir():
        assert (tmp_path / "two" / path.name).read_bytes() == path.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "one", "one.job.json", "two", "two.job.json"]
    refused = subprocess.run([*command, "--seed", "1"], capture_output=True, text=True, env=environment)
    assert refused.stderr.count("synthreal: ") == 1 and "already exists (made with --seed 0, not 1)" in refused.stderr
