"""Jobs: restarts give the same bits, jobs are never mixed, and settings hold for a whole job."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import closing, contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from quick import files

from synthreal.bulk import packs, pictures
from synthreal.bulk.job import WorkFolder
from synthreal.bulk.refine import refine_bulk
from synthreal.core.style_bank import StyleBank
from synthreal.data.pack import Pack
from synthreal.data.writer import PackWriter
from synthreal.errors import UserError
from synthreal.inference.pretrained import read_config_and_versions, read_styles, write_config, write_styles
from synthreal.spec import Skipped

N = 43  # five blocks of eight images and one of three
refine_module = sys.modules["synthreal.bulk.refine"]


class Stopped(BaseException):
    """Stands for Ctrl-C."""


def stop(*arguments, **more):
    raise Stopped


def stop_at(images):
    return lambda done, total: stop() if done >= images else None


def content(path: Path) -> dict[str, bytes]:
    return {name: (path / name).read_bytes() for name in files(path)} if path.is_dir() else {"": path.read_bytes()}


@pytest.fixture(params=["pack", "folder"])
def source(request, source_of):
    return source_of(request.param)


@pytest.mark.parametrize("kind", ["pack", "folder", "shards"])
@pytest.mark.parametrize("images", [30, 43])
def test_a_stopped_job_continues_to_the_same_bits(noisy, source_of, tmp_path, small_blocks, kind, images):
    source = source_of(kind)
    refine_bulk(noisy, source, tmp_path / "whole", seed=4, samples=3)
    with pytest.raises(Stopped):
        refine_bulk(noisy, source, tmp_path / "out", seed=4, samples=3, on_progress=stop_at(images))
    work, reported = WorkFolder(tmp_path / "out"), []
    assert work.done() and not (tmp_path / "out").exists()
    saved = 14 if kind == "shards" else 8 * (len(work.done()) - 1)
    report = lambda *counts: reported.append(counts)  # noqa: E731
    refine_bulk(noisy, source, tmp_path / "out", seed=4, samples=3, on_progress=report)
    assert reported[0][0] >= saved and reported[-1] == (N, N)
    assert content(tmp_path / "out") == content(tmp_path / "whole")
    assert not work.path.exists()


def test_a_job_stopped_before_its_first_block_is_finished_leaves_nothing(noisy, source, tmp_path):
    before = set(tmp_path.iterdir())
    with pytest.raises(Stopped):
        refine_bulk(noisy, source, tmp_path / "out", on_progress=stop)
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("kind", "where"),
    [("pack", "assembly"), ("folder", "assembly"), ("folder", "before the rename"), ("pack", "after the rename")],
)
def test_a_job_stopped_at_the_end_continues(noisy, source_of, tmp_path, small_blocks, monkeypatch, kind, where):
    source, out = source_of(kind), tmp_path / "out"
    refine_bulk(noisy, source, tmp_path / "whole")
    replace = Path.replace
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        if where == "assembly":
            patch.setattr(packs.PackWriter, "_complete", stop)
            patch.setattr(pictures.shutil, "copy2", stop)
        elif where == "before the rename":
            patch.setattr(Path, "replace", lambda self, to: stop() if to == out else replace(self, to))
        else:
            patch.setattr(WorkFolder, "discard", stop)
        refine_bulk(noisy, source, out)
    assert (tmp_path / "out.parts").exists()
    done = refine_bulk(noisy, source, out)
    assert done.refined == N and done.done == ("before" if where == "after the rename" else "refined")
    assert content(out) == content(tmp_path / "whole")
    assert not (tmp_path / "out.parts").exists()


def test_a_killed_job_continues_to_the_same_bits(noisy, pack_of, tmp_path):
    source = pack_of(N)
    script = f"""
import os, signal
from synthreal.bulk import packs
from synthreal.bulk.refine import refine_bulk
packs.PackSource.block_size = lambda self, batch, size: 8
def kill(done, total):
    if done >= 30: os.kill(os.getpid(), signal.SIGKILL)
refine_bulk({str(noisy)!r}, {str(source)!r}, {str(tmp_path / "out.h5")!r}, batch_size=4, threads=1, on_progress=kill)
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert 0 < len(WorkFolder(tmp_path / "out.h5").done()) < 6
    refine_bulk(noisy, source, tmp_path / "out.h5")
    assert not WorkFolder(tmp_path / "out.h5").path.exists()
    refine_bulk(noisy, source, tmp_path / "whole.h5", batch_size=4, threads=1)
    assert Pack(tmp_path / "out.h5").sha256() == Pack(tmp_path / "whole.h5").sha256()


def test_a_finished_job_does_nothing_when_run_again(plain, source, tmp_path, small_blocks, monkeypatch):
    refine_bulk(plain, source, tmp_path / "out", batch_size=2)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    monkeypatch.setattr(refine_module, "load_refiner", None)
    done = refine_bulk(plain, source, tmp_path / "out")
    assert (done.done, done.refined) == ("before", N)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


CHANGES = [
    ({"limit": 42}, "another number of images"),
    ({"batch_size": 3}, "--batch-size 2, not 3"),
    ({"precision": "bfloat16"}, "--precision float32, not bfloat16"),
    ({"threads": 2}, "--threads 1, not 2"),
    ({"tile": "none"}, "--tile 1024, not none"),
    ({"samples": 2}, "--samples 1, not 2"),
    ({"seed": 1}, "--seed 0, not 1"),
]


def test_an_empty_work_folder_of_a_killed_job_is_removed_when_it_is_run_again(plain, source, tmp_path):
    refine_bulk(plain, source, tmp_path / "out")
    (work := WorkFolder(tmp_path / "out").path).mkdir()  # killed between its record and the folder itself
    assert refine_bulk(plain, source, tmp_path / "out").done == "before"
    assert not work.exists()


def test_another_setting_makes_another_job(noisy, source, tmp_path, small_blocks):
    out, settings = tmp_path / "out", {"batch_size": 2, "threads": 1}
    with pytest.raises(Stopped):
        refine_bulk(noisy, source, out, **settings, on_progress=stop_at(30))
    for change, reason in CHANGES:
        with pytest.raises(UserError, match=rf"out\.parts: holds an interrupted job with {reason}; .*--overwrite"):
            refine_bulk(noisy, source, out, **{**settings, **change})
    reported = []
    refine_bulk(noisy, source, out, on_progress=lambda *counts: reported.append(counts))
    assert reported[0][0] >= 16  # it continues with the settings of the job
    for change, reason in CHANGES:
        with pytest.raises(UserError, match=rf"out: already exists \(made with {reason}\); .*--overwrite"):
            refine_bulk(noisy, source, out, **{**settings, **change})
    before = content(out)
    with pytest.raises(Stopped):
        refine_bulk(noisy, source, out, seed=2, overwrite=True, on_progress=stop_at(30))
    assert content(out) == before  # until the new result is complete
    refine_bulk(noisy, source, out, seed=1, overwrite=True)
    assert content(out).keys() == before.keys() and content(out) != before


def test_another_input_or_refiner_makes_another_job(noisy, pack_of, tmp_path, small_blocks):
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


@pytest.mark.parametrize("samples", [1, 2])
@pytest.mark.parametrize("change", ["the styles", "their weight"])
def test_other_styles_make_another_job_of_several_samples(plain, pack_of, tmp_path, samples, change):
    run, source = shutil.copytree(plain, tmp_path / "run"), pack_of(5)
    refine_bulk(run, source, tmp_path / "out", samples=samples)
    if change == "the styles":
        styles = read_styles(run, 1)
        write_styles(run, StyleBank(styles.amplitudes / 2, styles.levels))
    else:
        config, versions = read_config_and_versions(run)
        histogram = config.evaluation.histogram.model_copy(update={"blend": 0.5})
        evaluation = config.evaluation.model_copy(update={"histogram": histogram})
        write_config(run, config.model_copy(update={"evaluation": evaluation}), versions)
    if samples == 1:
        assert refine_bulk(run, source, tmp_path / "out").done == "before"
    else:
        with pytest.raises(UserError, match=r"out: already exists \(made with another refiner\)"):
            refine_bulk(run, source, tmp_path / "out", samples=samples)


def test_a_second_command_with_the_same_target_is_refused(plain, pack_of, tmp_path):
    with closing(WorkFolder(tmp_path / "out")) as work:
        work.claim()
        with pytest.raises(UserError, match=r"out: another process is refining into it"):
            refine_bulk(plain, pack_of(3), tmp_path / "out")
    refine_bulk(plain, pack_of(3), tmp_path / "out")


def test_the_work_folder_of_another_process_is_preserved(plain, pack_of, tmp_path):
    """The other process repeats a finished job with --overwrite."""
    source, out, refused = pack_of(3), tmp_path / "out", []
    refine_bulk(plain, source, out)

    def repeat(done, total):
        with pytest.raises(UserError, match=r"out: another process is refining into it"):
            refine_bulk(plain, source, out)
        refused.append(WorkFolder(out).path.is_dir())

    refine_bulk(plain, source, out, overwrite=True, on_progress=repeat)
    assert refused == [True]


def test_the_record_of_a_job_holds_its_settings(plain, pack_of, tmp_path, small_blocks):
    source = pack_of(N)
    with pytest.raises(Stopped):
        refine_bulk(plain, source, tmp_path / "out", batch_size=4, on_progress=stop_at(30))
    path = tmp_path / "out.parts" / "job.json"
    record = json.loads(path.read_text())
    expected = {"batch_size": 4, "block": 8, "precision": "float32", "device": "cpu"}
    assert record["settings"] | expected == record["settings"]
    record["settings"]["torch"] = "1.0"
    path.write_text(json.dumps(record))
    with pytest.raises(UserError, match=rf"interrupted job with PyTorch 1\.0, not {torch.__version__[:3]}"):
        refine_bulk(plain, source, tmp_path / "out")
    record["settings"]["torch"] = torch.__version__
    changes = {"batch_size": 0, "block": -1, "px": 1 << 70, "threads": 0, "tile": 0, "precision": "half"}
    junk = [{**record, "settings": {**record["settings"], name: value}} for name, value in changes.items()]
    for damaged in (b"{", b"\xff", b"[" * 5000, *(json.dumps(tree).encode() for tree in junk)):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"job\.json: not the record of a job"):
            refine_bulk(plain, source, tmp_path / "out")
    path.unlink()
    os.mkfifo(path)  # reading a pipe would never end
    with pytest.raises(UserError, match=r"job\.json: not the record of a job"):
        refine_bulk(plain, source, tmp_path / "out")


@pytest.mark.parametrize("name", ["mine.done", "5.done"])
def test_other_files_in_a_work_folder_are_no_blocks(plain, pack_of, tmp_path, small_blocks, name):
    with pytest.raises(Stopped):
        refine_bulk(plain, source := pack_of(N), tmp_path / "out", on_progress=stop_at(40))
    (tmp_path / "out.parts" / name).write_bytes(b"")
    assert refine_bulk(plain, source, tmp_path / "out").refined == N


def test_a_damaged_block_is_reported(plain, source, tmp_path, small_blocks):
    with pytest.raises(Stopped):
        refine_bulk(plain, source, tmp_path / "out", on_progress=stop_at(40))
    block = WorkFolder(tmp_path / "out").done_path(0)
    message = r"00000000\.done: damaged; delete it and run the same command again"
    for damaged in (block.read_bytes()[:20], b"{}", b"[" * 5000):
        block.write_bytes(damaged)
        with pytest.raises(UserError, match=message):
            refine_bulk(plain, source, tmp_path / "out")
    block.unlink()
    os.mkfifo(block)  # reading a pipe would never end
    with pytest.raises(UserError, match=message):
        refine_bulk(plain, source, tmp_path / "out")
    block.unlink()
    refine_bulk(plain, source, tmp_path / "out")
    refine_bulk(plain, source, tmp_path / "whole")
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_missing_blocks_are_reported(plain, source, tmp_path, monkeypatch):
    monkeypatch.setattr(WorkFolder, "done", lambda self: set())
    with pytest.raises(UserError, match=r"out\.parts: finished blocks are missing; run the same command again"):
        refine_bulk(plain, source, tmp_path / "out")


def test_versions_of_a_pack_are_rows_with_repeated_labels(plain, pack_of, tmp_path, small_blocks):
    source = pack_of(N)
    done = refine_bulk(plain, source, tmp_path / "out.h5", samples=3)
    refine_bulk(plain, source, tmp_path / "once.h5")
    image, labels = Pack(tmp_path / "out.h5").read(slice(None))
    assert done.refined == len(image) == 3 * N
    np.testing.assert_array_equal(labels["count"], np.repeat(np.arange(N), 3))
    np.testing.assert_array_equal(image[::3], Pack(tmp_path / "once.h5").read(slice(None))[0])
    assert (image[::3] != image[1::3]).mean() > 0.1 and (image[1::3] != image[2::3]).mean() > 0.1


def test_a_limit_takes_the_first_rows_of_a_pack(plain, pack_of, tmp_path):
    source = pack_of(N)
    refine_bulk(plain, source, tmp_path / "some.h5", limit=10)
    refine_bulk(plain, source, tmp_path / "all.h5", limit=1000)
    some, whole = (Pack(tmp_path / f"{name}.h5").read(slice(None)) for name in ("some", "all"))
    assert len(some[0]) == 10 and len(whole[0]) == N
    np.testing.assert_array_equal(some[0], whole[0][:10])
    np.testing.assert_array_equal(some[1]["count"], np.arange(10))


def test_a_refined_pack_has_the_header_of_its_source(plain, pack_of, tmp_path):
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


def test_assembling_a_pack_is_reported_block_by_block(plain, pack_of, tmp_path, small_blocks):
    reported = []
    refine_bulk(plain, pack_of(N), tmp_path / "out.h5", on_assembly=lambda *counts: reported.append(counts))
    assert reported == [(done, N) for done in (8, 16, 24, 32, 40, 43)]


def test_a_nan_label_ends_the_job(noisy, pack_of, tmp_path):
    source = pack_of(5)
    with h5py.File(source, "r+") as file:
        del file["labels/count"]
        file["labels/count"] = np.array([0, 1, 2, np.nan, 4], np.float32)
    with pytest.raises(UserError, match="label 'count' of image 3 is NaN or infinite"):
        refine_bulk(noisy, source, tmp_path / "out.h5")
    assert list(tmp_path.iterdir()) == [source]


def test_the_threads_of_a_job_are_set_in_torch(noisy, pack_of, tmp_path):
    before, threads = torch.get_num_threads(), set()
    try:
        report = lambda *_: threads.add(torch.get_num_threads())  # noqa: E731
        refine_bulk(noisy, pack_of(5), tmp_path / "out.h5", threads=before + 1, on_progress=report)
    finally:
        torch.set_num_threads(before)
    assert threads == {before + 1}


def test_numbers_below_one_are_refused(noisy, pack_of, tmp_path):
    source = pack_of(3)
    for name in ("samples", "limit", "batch_size", "threads", "tile"):
        with pytest.raises(UserError, match=rf"--{name.replace('_', '-')} 0: give a number of at least 1"):
            refine_bulk(noisy, source, tmp_path / "out.h5", **{name: 0})
    assert list(tmp_path.iterdir()) == [source]


def test_wrong_options_end_the_command_with_one_line(plain, pack_of, tmp_path, cli):
    source = pack_of(3)
    for flags in ("--batch-size 0", "--batch-size many", "--tile -3", "--precision half", "--device tpu"):
        assert flags.split()[1] in cli("refine", plain, source, tmp_path / "out.h5", *flags.split()).complaint()
    assert list(tmp_path.iterdir()) == [source]


def test_the_command_takes_every_option(noisy, pack_of, tmp_path, cli):
    source, out = pack_of(N), tmp_path / "out.h5"
    flags = ["--samples", 2, "--limit", 5, "--batch-size", 3, "--precision", "float32", "--threads", 1, "--tile", 99]
    assert cli("refine", noisy, source, out, *flags, "--seed", 1).ok().out == f"{out}: 10 refined images\n"
    settings = Pack(out).options["job"]["settings"]
    assert settings | {"batch_size": 3, "precision": "float32", "threads": 1, "tile": 99} == settings
    assert "was complete already, 10 refined images" in cli("refine", noisy, source, out, *flags, "--seed", 1).ok().out
    cli("refine", noisy, source, out, "--overwrite").ok()
    assert len(Pack(out)) == N


def test_ctrl_c_ends_the_command_with_a_line_on_how_to_continue(
    plain, pack_of, tmp_path, small_blocks, cli, monkeypatch
):
    from synthreal.cli import progress

    def interrupt_at(images):
        def show(name, done, total):
            if name == "refining" and done >= images:
                raise KeyboardInterrupt

        monkeypatch.setattr(progress, "progress_bars", contextmanager(lambda visible: (yield show)))

    source = pack_of(N)
    interrupt_at(30)
    ended = cli("refine", plain, source, tmp_path / "out.h5")
    assert ended.code == 130 and ended.out == "" and ended.err.count("\n") == 1
    assert f"saved in {tmp_path / 'out.h5.parts'}; continue with the same command" in ended.err
    interrupt_at(1)
    ended = cli("refine", plain, source, tmp_path / "new.h5")
    assert ended.err == "stopped before anything was saved; run the same command to begin again\n"
    interrupt_at(1000)
    cli("refine", plain, source, tmp_path / "out.h5").ok()


@pytest.mark.parametrize("name", ["", "lock", "whole", "whole/deep"])
def test_a_job_writes_through_no_link(noisy, source_of, tmp_path, small_blocks, name):
    source, mine = source_of("folder"), tmp_path / "mine"
    with pytest.raises(Stopped):
        refine_bulk(noisy, source, tmp_path / "out", on_progress=stop_at(30))
    place = tmp_path / "out.parts" / name
    if name in ("", "whole"):
        place.rename(mine)
    else:
        mine.mkdir()
        place.unlink(missing_ok=True)
    place.symlink_to(mine)
    before = content(mine)
    with pytest.raises(UserError, match="is a symbolic link"):
        refine_bulk(noisy, source, tmp_path / "out")
    assert content(mine) == before and not (tmp_path / "out").exists()
