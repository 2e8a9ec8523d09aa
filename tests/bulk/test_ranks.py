"""Several processes: the same bits as one, and nobody waits for the dead."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from PIL import Image

from synthreal.bulk import ranks
from synthreal.bulk.job import ExecutionSettings, Job, JobSpec, Parts
from synthreal.bulk.progress import JobProgress
from synthreal.bulk.ranks import Beat, Watch, sign
from synthreal.bulk.refine import refine_bulk
from synthreal.data.pack import Pack
from synthreal.distributed.rank import Rank
from synthreal.errors import UserError


def test_the_environment_says_who_this_is(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert Rank.here() == Rank(0, 1, 0)
    monkeypatch.setenv("WORLD_SIZE", "4")  # somebody's, for something else
    assert Rank.here() == Rank(0, 1, 0)
    for name, word in (("RANK", "3"), ("WORLD_SIZE", "4"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, word)
    assert Rank.here() == Rank(3, 4, 1)
    for word in ("4", "-1", "x"):
        monkeypatch.setenv("RANK", word)
        with pytest.raises(UserError, match=rf"RANK={word}, WORLD_SIZE=4, LOCAL_RANK=1: no number of a process"):
            Rank.here()


def test_who_shows_signs_of_life_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(ranks, "_BEAT", 0.02)
    with Beat(tmp_path / "parts", Rank(1, 2)):
        watch, end = Watch(tmp_path / "parts", 1, patience=1.0), time.monotonic() + 1.5
        while time.monotonic() < end:
            watch.check()
            time.sleep(0.02)
    assert not sign(tmp_path / "parts", 1).exists()
    sign(tmp_path / "parts", 1).write_text("an old sign")
    watch = Watch(tmp_path / "parts", 1, patience=0.2)
    with pytest.raises(UserError, match=r"process 1 gave no sign of life for 0 s; .*run the same command again"):
        while True:
            watch.check()
            time.sleep(0.02)


def test_a_process_alone_leaves_no_sign(tmp_path):
    with Beat(tmp_path / "parts", Rank()):
        pass
    assert not (tmp_path / "parts").exists()


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_two_processes_make_what_one_makes(noisy, pack_of, tmp_path, small_blocks, monkeypatch, order):
    source = pack_of(43)
    refine_bulk(noisy, source, tmp_path / "one.h5", seed=1)
    here, done, errors, told = threading.local(), {}, [], {0: [], 1: []}
    monkeypatch.setattr(Rank, "here", classmethod(lambda cls: cls(here.number, 2, here.number)))

    def process(number):
        here.number = number
        try:
            tell = lambda *counts: told[number].append(counts)  # noqa: E731
            done[number] = refine_bulk(noisy, source, tmp_path / "two.h5", seed=1, on_progress=tell)
        except BaseException as error:
            errors.append(error)

    threads = []
    for number in order:
        threads.append(threading.Thread(target=process, args=(number,)))
        threads[-1].start()
        time.sleep(0.3)
    for thread in threads:
        thread.join(120)
    assert not errors
    assert (done[0].refined, done[0].done, done[1].done) == (43, "refined", "share")
    assert (tmp_path / "two.h5").read_bytes() == (tmp_path / "one.h5").read_bytes()
    assert not (tmp_path / "two.h5.parts").exists()
    assert told[0][-1] == (43, 43)  # of all, not of its own share
    assert told[0] == sorted(set(told[0])) and told[1] == []


def test_a_tally_counts_own_images_and_others_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules["synthreal.bulk.progress"], "_LOOK", 0.0)
    how = ExecutionSettings(1, 1, 1, 4, "float32", 1, None, False, "cpu", "2")
    job, told = Job(JobSpec("pack", 10, "", "", 0, 1, None), how), []
    with Parts(tmp_path / "out") as parts:
        parts.claim()
        parts.begin(job)
        parts.part(job, 0).touch()  # of an earlier run, this process's
        tally = JobProgress(parts, job, Rank(0, 2), lambda *counts: told.append(counts))
        tally.add(1)
        parts.part(job, 1).touch()
        tally.add(1)
        tally.look({0, 1, 2})
        tally.look({0, 1, 2})
    assert told == [(4, 10), (5, 10), (10, 10)]


def test_waiting_for_a_process_that_died_ends_and_its_work_is_done_next_time(
    noisy, pack_of, tmp_path, small_blocks, monkeypatch
):
    source = pack_of(43)
    monkeypatch.setattr(ranks, "PATIENCE", 0.3)
    for number in (0, 1):
        monkeypatch.setattr(Rank, "here", classmethod(lambda cls, number=number: cls(number, 2, number)))
        if number == 1:
            monkeypatch.setattr(sys.modules["synthreal.bulk.refine"], "_BORN", time.time())
            parts = Parts(tmp_path / "out.h5")
            assert parts.done(parts.read()) == {0, 2, 4}
            assert refine_bulk(noisy, source, tmp_path / "out.h5").done == "share"
            assert parts.done(parts.read()) == set(range(6))
            continue
        with pytest.raises(UserError, match="process 1 gave no sign of life"):
            refine_bulk(noisy, source, tmp_path / "out.h5")
    monkeypatch.setattr(Rank, "here", classmethod(lambda cls: cls()))
    refine_bulk(noisy, source, tmp_path / "out.h5")
    refine_bulk(noisy, source, tmp_path / "one.h5")
    assert Pack(tmp_path / "out.h5").sha256() == Pack(tmp_path / "one.h5").sha256()


def test_without_a_plan_of_process_0_nobody_waits_for_ever(noisy, pack_of, tmp_path, monkeypatch):
    monkeypatch.setattr(ranks, "PATIENCE", 0.3)
    monkeypatch.setattr(Rank, "here", classmethod(lambda cls: cls(1, 2, 1)))
    with pytest.raises(UserError, match="process 0 gave no sign of life"):
        refine_bulk(noisy, pack_of(5), tmp_path / "out.h5")


def test_a_plan_that_cannot_be_made_leaves_nothing(plain, pack_of, tmp_path, monkeypatch):
    source = pack_of(5)
    monkeypatch.setattr(Rank, "here", classmethod(lambda cls: cls(0, 2, 0)))
    with pytest.raises(UserError, match="takes no noise maps"):
        refine_bulk(plain, source, tmp_path / "out.h5", samples=2)
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.slow
def test_torchrun(noisy, tmp_path):
    (tmp_path / "in").mkdir()
    for index in range(20):
        pixels = np.random.default_rng(index).integers(0, 256, (40, 300), np.uint8)  # several blocks
        Image.fromarray(np.repeat(pixels, 60, axis=0)).save(tmp_path / "in" / f"{index:02d}.png")
    refine_bulk(noisy, tmp_path / "in", tmp_path / "one", threads=1)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "synthreal"]
    command += ["refine", str(noisy), str(tmp_path / "in"), str(tmp_path / "two"), "--threads", "1"]
    ended = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == f"{tmp_path / 'two'}: 20 refined images\n"
    for path in (tmp_path / "one").iterdir():
        assert (tmp_path / "two" / path.name).read_bytes() == path.read_bytes()
    assert sorted(found.name for found in tmp_path.iterdir()) == ["in", "one", "one.job.json", "two", "two.job.json"]
