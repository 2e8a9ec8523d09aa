"""A job: continued after whatever stopped it, to the same bits; never mixed with another; nothing half-written."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from quick import files

from synthreal.bulk import packs, pictures
from synthreal.bulk.job import WorkFolder
from synthreal.bulk.refine import refine_bulk
from synthreal.data.pack import Pack, PackWriter
from synthreal.errors import UserError
from synthreal.spec import Skipped

refine_module = sys.modules["synthreal.bulk.refine"]
N = 43  # five blocks of eight and a part of one


class Stopped(BaseException):
    """As Ctrl-C."""


def stop_at(images):
    def told(done, total):
        if done >= images:
            raise Stopped

    return told


@pytest.fixture
def folder_of(tmp_path):
    def make(n=N):
        root, rng = tmp_path / "in", np.random.default_rng(0)
        root.mkdir()
        for index in range(n):
            Image.fromarray(rng.integers(0, 256, (12, 16 + index % 2), np.uint8)).save(root / f"{index:03d}.png")
            (root / f"{index:03d}.json").write_text(str(index))
        return root

    return make


@pytest.fixture(params=["pack", "folder"])
def source(request, pack_of, folder_of):
    return pack_of(N) if request.param == "pack" else folder_of()


def content(path: Path) -> dict[str, bytes]:
    return {name: (path / name).read_bytes() for name in files(path)} if path.is_dir() else {"": path.read_bytes()}


@pytest.mark.parametrize("images", [9, 20, 43])
def test_a_stopped_job_continues_to_the_same_bits(noisy, source, tmp_path, small_blocks, images):
    refine_bulk(noisy, source, tmp_path / "whole", seed=4)
    with pytest.raises(Stopped):
        refine_bulk(noisy, source, tmp_path / "out", seed=4, on_progress=stop_at(images))
    parts = WorkFolder(tmp_path / "out")
    before = parts.done()
    assert len(before) >= images // 8 - 1 and not (tmp_path / "out").exists()
    told = []
    refine_bulk(noisy, source, tmp_path / "out", seed=4, on_progress=lambda *counts: told.append(counts))
    assert told[0][0] >= min(8 * len(before), N) and told[-1] == (N, N)
    assert content(tmp_path / "out") == content(tmp_path / "whole")
    assert not parts.path.exists()


def test_stopped_before_a_block_was_finished_nothing_is_left(noisy, source, tmp_path, small_blocks):
    beside = set(tmp_path.iterdir())
    with pytest.raises(Stopped):
        refine_bulk(noisy, source, tmp_path / "out", on_progress=stop_at(1))
    assert set(tmp_path.iterdir()) == beside


@pytest.mark.parametrize("where", ["assemble", "before the rename", "after the rename"])
def test_stopped_at_the_end_it_continues(noisy, source, tmp_path, small_blocks, monkeypatch, where):
    refine_bulk(noisy, source, tmp_path / "whole")

    def stop(*args, **more):
        raise Stopped

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        if where == "assemble":
            patch.setattr(pictures.Pictures, "assemble", stop)
            patch.setattr(packs.PackWriter, "_complete", stop)
        elif where == "before the rename":
            patch.setattr(Path, "replace", _stopping(Path.replace, tmp_path / "out"))
        else:
            patch.setattr(WorkFolder, "discard", stop)
        refine_bulk(noisy, source, tmp_path / "out")
    assert (tmp_path / "out.parts").exists()
    done = refine_bulk(noisy, source, tmp_path / "out")
    assert done.refined == N and done.done == ("before" if where == "after the rename" else "refined")
    assert content(tmp_path / "out") == content(tmp_path / "whole")
    assert not (tmp_path / "out.parts").exists()


def _stopping(replace, at):
    def stop(self, target):
        if Path(target) == at:
            raise Stopped
        return replace(self, target)

    return stop


def test_killed_it_continues_to_the_same_bits(noisy, pack_of, tmp_path):
    source = pack_of(N)
    script = f"""
import os, signal
from synthreal.bulk import packs
from synthreal.bulk.refine import refine_bulk
packs.PackSource.block_size = lambda self, batch, size: 8
def told(done, total):
    if done >= 30: os.kill(os.getpid(), signal.SIGKILL)
refine_bulk({str(noisy)!r}, {str(source)!r}, {str(tmp_path / "out.h5")!r}, batch_size=4, threads=1, on_progress=told)
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    parts = WorkFolder(tmp_path / "out.h5")
    assert 0 < len(parts.done()) < 6
    refine_bulk(noisy, source, tmp_path / "out.h5")
    assert not parts.path.exists()
    refine_bulk(noisy, source, tmp_path / "whole.h5", batch_size=4, threads=1)
    assert Pack(tmp_path / "out.h5").sha256() == Pack(tmp_path / "whole.h5").sha256()


def test_a_finished_job_run_again_does_nothing(plain, source, tmp_path, small_blocks, monkeypatch):
    refine_bulk(plain, source, tmp_path / "out", batch_size=2)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    monkeypatch.setattr(refine_module, "load_refiner", None)
    done = refine_bulk(plain, source, tmp_path / "out")
    assert (done.done, done.refined) == ("before", N)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


CHANGES = [
    ({"seed": 1}, "--seed 0, not 1"),
    ({"limit": 42}, "another number of images"),
    ({"batch_size": 3}, "--batch-size 2, not 3"),
    ({"precision": "bfloat16"}, "--precision float32, not bfloat16"),
    ({"threads": 2}, "--threads 1, not 2"),
    ({"tile": "none"}, "--tile 1024, not none"),
    ({"samples": 2}, "--samples 1, not 2"),
]


@pytest.mark.parametrize(("change", "says"), CHANGES)
def test_another_setting_is_another_job(noisy, source, tmp_path, small_blocks, change, says):
    asked = {"batch_size": 2, "threads": 1}
    with pytest.raises(Stopped):
        refine_bulk(noisy, source, tmp_path / "out", **asked, on_progress=stop_at(30))
    line = rf"out\.parts: holds an interrupted job with {says}; finish it as it was begun, or begin again with --over"
    with pytest.raises(UserError, match=line):
        refine_bulk(noisy, source, tmp_path / "out", **{**asked, **change})
    told = []
    refine_bulk(noisy, source, tmp_path / "out", on_progress=lambda *counts: told.append(counts))
    assert told[0][0] >= 16  # it continued, and what is not named is as it was
    with pytest.raises(UserError, match=rf"out: already exists \(made with {says}\); .*--overwrite"):
        refine_bulk(noisy, source, tmp_path / "out", **{**asked, **change})
    before = content(tmp_path / "out")
    refine_bulk(noisy, source, tmp_path / "out", **{**asked, **change}, overwrite=True)
    assert content(tmp_path / "out").keys() == before.keys() or change.keys() & {"samples", "limit"}
    assert content(tmp_path / "out") != before or change.keys() & {
        "batch_size",
        "threads",
        "tile",
    }  # which do not show here


def test_another_input_or_refiner_is_another_job(noisy, pack_of, tmp_path, small_blocks):
    run = shutil.copytree(noisy, tmp_path / "run")
    with pytest.raises(Stopped):
        refine_bulk(run, pack_of(N), tmp_path / "out", on_progress=stop_at(30))
    with pytest.raises(UserError, match="interrupted job with an input that has changed since, or another one"):
        refine_bulk(run, pack_of(N, seed=1), tmp_path / "out")
    with pytest.raises(UserError, match="interrupted job with another number of images"):
        refine_bulk(run, pack_of(N + 1), tmp_path / "out")
    refine_bulk(run, pack_of(N, name="other.h5"), tmp_path / "out", overwrite=True)
    weights = (run / "refiner.safetensors").read_bytes()
    (run / "refiner.safetensors").write_bytes(weights[:-1] + bytes([weights[-1] ^ 1]))
    with pytest.raises(UserError, match=r"out: already exists \(made with another refiner\)"):
        refine_bulk(run, tmp_path / "other.h5", tmp_path / "out")


def test_what_else_is_there_is_replaced_only_when_told(plain, source, tmp_path):
    target = tmp_path / "out"
    if source.is_dir():
        target.mkdir()
        (target / "mine.txt").write_text("mine")
    else:
        target.write_text("mine")
    with pytest.raises(UserError, match=r"out: already exists; delete it or choose another name, or give --overwrite"):
        refine_bulk(plain, source, target)
    assert [found.name for found in tmp_path.iterdir() if "parts" in found.name] == []
    refine_bulk(plain, source, target, overwrite=True)
    assert not (target / "mine.txt").exists() and len(content(target)) == (2 * N if source.is_dir() else 1)


def test_places_that_cannot_be(plain, source, tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    wrong, says = ("file", "is a file") if source.is_dir() else ("full", "is a folder")
    for target, line in [
        (source, "already exists"),
        (source / "below", "lies in|is not a folder"),
        (tmp_path, "lies in .*, or the other way round"),
        (tmp_path / "no" / "out", r"no is not a folder; make it first"),
        (tmp_path / wrong, says),
    ]:
        with pytest.raises(UserError, match=line):
            refine_bulk(plain, source, target, overwrite=target == tmp_path / wrong)
    (tmp_path / "out.parts").mkdir()
    (tmp_path / "out.parts" / "thesis.txt").write_text("x")
    with pytest.raises(UserError, match=r"out\.parts: is in the way and holds thesis\.txt, no job"):
        refine_bulk(plain, source, tmp_path / "out", overwrite=True)
    assert (tmp_path / "out.parts" / "thesis.txt").exists()


def test_a_run_is_never_replaced(plain, folder_of, tmp_path):
    source = folder_of(3)
    (tmp_path / "runs").mkdir()
    run = shutil.copytree(plain, tmp_path / "runs" / "a")
    for target in (run, run.parent):
        with pytest.raises(UserError, match=r"the refiner .* is there; choose another place"):
            refine_bulk(run, source, target, overwrite=True)
    assert (run / "refiner.safetensors").exists()
    refine_bulk(run, source, run / "out")


def test_an_empty_folder_is_a_place(plain, folder_of, tmp_path):
    (tmp_path / "out").mkdir()
    refine_bulk(plain, folder_of(3), tmp_path / "out")
    assert len(files(tmp_path / "out")) == 6


def test_two_processes_do_not_refine_into_one_place(plain, pack_of, tmp_path):
    with closing(WorkFolder(tmp_path / "out")) as work:
        work.claim()
        with pytest.raises(UserError, match=r"out: another process is refining into it"):
            refine_bulk(plain, pack_of(3), tmp_path / "out")
    refine_bulk(plain, pack_of(3), tmp_path / "out")


def test_the_plan_is_stored_and_a_damaged_one_is_told(plain, pack_of, tmp_path, small_blocks):
    source = pack_of(N)
    with pytest.raises(Stopped):
        refine_bulk(plain, source, tmp_path / "out", batch_size=4, on_progress=stop_at(30))
    path = tmp_path / "out.parts" / "job.json"
    record = json.loads(path.read_text())
    assert (
        record["settings"] | {"batch_size": 4, "block": 8, "precision": "float32", "device": "cpu"}
        == record["settings"]
    )
    record["settings"]["torch"] = "1.0"
    path.write_text(json.dumps(record))
    with pytest.raises(UserError, match=rf"interrupted job with PyTorch 1\.0, not {torch.__version__[:3]}"):
        refine_bulk(plain, source, tmp_path / "out")
    for damaged in (b"{", b"\xff"):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"job\.json: not the record of a job of this version"):
            refine_bulk(plain, source, tmp_path / "out")


def test_a_damaged_part_is_told(plain, source, tmp_path, small_blocks):
    with pytest.raises(Stopped):
        refine_bulk(plain, source, tmp_path / "out", on_progress=stop_at(40))
    part = sorted((tmp_path / "out.parts").glob("*.done"))[0]
    part.write_bytes(part.read_bytes()[:20])
    with pytest.raises(UserError, match=r"00000000\.done: damaged.*; delete it and run the same command again"):
        refine_bulk(plain, source, tmp_path / "out")
    part.unlink()
    refine_bulk(plain, source, tmp_path / "out")
    refine_bulk(plain, source, tmp_path / "whole")
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_versions_of_a_pack_are_rows_with_repeated_labels(noisy, pack_of, tmp_path, small_blocks):
    source = pack_of(N)
    done = refine_bulk(noisy, source, tmp_path / "out.h5", samples=3)
    refine_bulk(noisy, source, tmp_path / "once.h5")
    image, labels = Pack(tmp_path / "out.h5").read(slice(None))
    assert done.refined == len(image) == 3 * N
    np.testing.assert_array_equal(labels["count"], np.repeat(np.arange(N), 3))
    np.testing.assert_array_equal(image[::3], Pack(tmp_path / "once.h5").read(slice(None))[0])
    assert (image[::3] != image[1::3]).mean() > 0.1 and (image[1::3] != image[2::3]).mean() > 0.1


def test_a_limit_takes_the_first(plain, pack_of, tmp_path):
    source = pack_of(N)
    refine_bulk(plain, source, tmp_path / "some.h5", limit=10)
    refine_bulk(plain, source, tmp_path / "all.h5", limit=1000)
    some, whole = (Pack(tmp_path / f"{name}.h5").read(slice(None)) for name in ("some", "all"))
    assert len(some[0]) == 10 and len(whole[0]) == N
    np.testing.assert_array_equal(some[0], whole[0][:10])
    np.testing.assert_array_equal(some[1]["count"], np.arange(10))


def test_ctrl_c_ends_in_one_line_that_says_how_to_continue(plain, pack_of, tmp_path, small_blocks, cli, monkeypatch):
    from contextlib import contextmanager

    from synthreal.cli import progress

    def interrupting(images):
        @contextmanager
        def refining(number):
            def told(done, total):
                if done >= images:
                    raise KeyboardInterrupt

            yield told, lambda done, total: None

        monkeypatch.setattr(progress, "refining", refining)

    source = pack_of(N)
    interrupting(30)
    ended = cli("refine", plain, source, tmp_path / "out.h5")
    assert ended.code == 130 and ended.out == "" and ended.err.count("\n") == 1
    assert f"are saved in {tmp_path / 'out.h5.parts'}; continue with the same command" in ended.err
    interrupting(1)
    ended = cli("refine", plain, source, tmp_path / "new.h5")
    assert ended.err == "stopped before anything was saved; run the same command to begin again\n"
    interrupting(1000)
    cli("refine", plain, source, tmp_path / "out.h5").ok()


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--batch-size", "0"], "--batch-size 0: give a number of at least 1, or auto"),
        (["--batch-size", "many"], "--batch-size many: give a number"),
        (["--tile", "-3"], "--tile -3: give a number of at least 1, or none"),
        (["--precision", "half"], "--precision half: choose auto, float32 or bfloat16"),
        (["--device", "tpu"], "device 'tpu' is none"),
    ],
)
def test_wrong_options_are_one_line(plain, pack_of, tmp_path, cli, flags, says):
    assert says in cli("refine", plain, pack_of(3), tmp_path / "out.h5", *flags).complaint()
    assert sorted(found.name for found in tmp_path.iterdir()) == ["in.h5"]


def test_the_command_with_every_option(noisy, pack_of, tmp_path, cli):
    source, out = pack_of(N), tmp_path / "out.h5"
    flags = ["--samples", 2, "--limit", 5, "--batch-size", 3, "--precision", "float32", "--threads", 1, "--tile", 99]
    assert cli("refine", noisy, source, out, *flags, "--seed", 1).ok().out == f"{out}: 10 refined images\n"
    how = Pack(out).options["job"]["settings"]
    assert how | {"batch_size": 3, "precision": "float32", "threads": 1, "tile": 99} == how
    assert "was complete already, 10 refined images" in cli("refine", noisy, source, out, *flags, "--seed", 1).ok().out
    cli("refine", noisy, source, out, "--overwrite").ok()
    assert len(Pack(out)) == N


def test_a_label_that_is_no_number_ends_the_job_before_it_is_copied(noisy, pack_of, tmp_path):
    source = pack_of(5)
    with h5py.File(source, "r+") as file:
        del file["labels/count"]
        file["labels/count"] = np.array([0, 1, 2, np.nan, 4], np.float32)
    with pytest.raises(UserError, match="label 'count' of image 3 is NaN or infinite"):
        refine_bulk(noisy, source, tmp_path / "out.h5")
    assert list(tmp_path.iterdir()) == [source]


def test_threads_of_the_job_are_torch_s(noisy, pack_of, tmp_path):
    before, told = torch.get_num_threads(), []
    try:
        refine_bulk(
            noisy,
            pack_of(5),
            tmp_path / "out.h5",
            threads=before + 1,
            on_progress=lambda *_: told.append(torch.get_num_threads()),
        )
    finally:
        torch.set_num_threads(before)
    assert set(told) == {before + 1}


@pytest.mark.parametrize("name", ["samples", "limit", "batch_size", "threads", "tile"])
@pytest.mark.parametrize("number", [0, -1])
def test_numbers_below_one_are_refused_from_python_too(noisy, pack_of, tmp_path, name, number):
    source = pack_of(3)
    with pytest.raises(UserError, match=rf"--{name.replace('_', '-')} {number}: give a number of at least 1"):
        refine_bulk(noisy, source, tmp_path / "out.h5", **{name: number})
    assert list(tmp_path.iterdir()) == [source]


def test_a_link_is_a_place_that_is_taken(plain, folder_of, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").symlink_to("elsewhere")
    source = folder_of(3)
    with pytest.raises(UserError, match=r"out: already exists; delete it or choose another name, or give --overwrite"):
        refine_bulk(plain, source, tmp_path / "out")
    refine_bulk(plain, source, tmp_path / "out", overwrite=True)
    assert not (tmp_path / "out").is_symlink() and len(files(tmp_path / "out")) == 6
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_folder_that_refine_has_not_made_is_kept_when_it_is_overwritten(plain, folder_of, tmp_path, cli):
    source, out = folder_of(3), tmp_path / "out"
    for number in ("", "-1"):
        shutil.rmtree(out, ignore_errors=True)
        (tmp_path / "out.job.json").unlink(missing_ok=True)
        out.mkdir()
        (out / "thesis.txt").write_text("precious")
        done = refine_bulk(plain, source, out, overwrite=True)
        assert done.aside == tmp_path / f"out.replaced{number}"
        assert (done.aside / "thesis.txt").read_text() == "precious" and not (out / "thesis.txt").exists()
    told = cli("refine", plain, source, out, "--overwrite", "--seed", 1).ok()  # its own is replaced
    assert told.err.count("out.replaced") == 0 and len(list(tmp_path.glob("out.replaced*"))) == 2
    (tmp_path / "out.job.json").unlink()
    told = cli("refine", plain, source, out, "--overwrite").ok()
    assert f"was no result of refine; what it held is in {tmp_path / 'out.replaced-2'}" in told.err


def test_a_name_of_another_kind_is_refused(plain, source, tmp_path):
    beside = set(tmp_path.iterdir())
    for name in ("out.tar", "out.h5")[: 1 + source.is_dir()]:
        with pytest.raises(
            UserError, match=rf"{name}: .*in.* is refined into a .*; choose a name without \.{name[4:]}"
        ):
            refine_bulk(plain, source, tmp_path / name)
    assert set(tmp_path.iterdir()) == beside


def test_a_refined_pack_says_what_its_source_says(plain, pack_of, tmp_path):
    source, item = tmp_path / "in.h5", Skipped("lost.png", "broken")
    given = Pack(pack_of(3, "raw.h5"))
    image, labels = given.read(slice(None))
    about = {"image": given.image, "labels": given.labels, "role": "simulated", "name": "toy"}
    with PackWriter(source, **about, versions={"toy": "1.2"}) as writer:
        writer.append(image, labels)
        writer.skip(item)
    refine_bulk(plain, source, tmp_path / "out.h5")
    header = Pack(tmp_path / "out.h5").header
    assert (header.versions, header.skipped) == ({"toy": "1.2"}, (item,))


def test_assembling_a_pack_is_told_block_by_block(plain, pack_of, tmp_path, small_blocks):
    told = []
    refine_bulk(plain, pack_of(N), tmp_path / "out.h5", on_assembly=lambda *counts: told.append(counts))
    assert told == [(done, N) for done in (8, 16, 24, 32, 40, 43)]
