"""Destinations of a job: what is refused, replaced and preserved."""

from __future__ import annotations

import shutil
import sys

import pytest
from quick import files

from synthreal.bulk.refine import refine_bulk
from synthreal.errors import UserError


@pytest.fixture
def folder(source_of):
    return source_of("folder", 3)


@pytest.fixture(params=["pack", "folder"])
def source(request, source_of):
    return source_of(request.param, 3)


def test_a_foreign_target_is_replaced_only_with_overwrite(plain, source, tmp_path):
    target = tmp_path / "out"
    if source.is_dir():
        target.mkdir()
        (target / "mine.txt").write_text("mine")
    else:
        target.write_text("mine")
    with pytest.raises(UserError, match=r"out: already exists; delete it or choose another name, or give --overwrite"):
        refine_bulk(plain, source, target)
    assert not (tmp_path / "out.parts").exists()
    refine_bulk(plain, source, target, overwrite=True)
    if source.is_dir():
        assert len(files(target)) == 6 and "mine.txt" not in files(target)
    else:
        assert target.read_bytes() != b"mine"


def test_unsuitable_places_are_refused(plain, source, tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    wrong, reason = ("file", "is a file") if source.is_dir() else ("full", "is a folder")
    for target, line in [
        (source, "already exists"),
        (source / "below", "lies in|is not a folder"),
        (tmp_path, "lies in .*, or the other way round"),
        (tmp_path / "no" / "out", r"no is not a folder; make it first"),
        (tmp_path / wrong, reason),
        (tmp_path / "out.tar", r"out\.tar: the result is a .*; choose a name without \.tar"),
    ]:
        with pytest.raises(UserError, match=line):
            refine_bulk(plain, source, target, overwrite=target == tmp_path / wrong)
    (tmp_path / "out.parts").mkdir()
    (tmp_path / "out.parts" / "thesis.txt").write_text("x")
    with pytest.raises(UserError, match=r"out\.parts: exists and holds thesis\.txt"):
        refine_bulk(plain, source, tmp_path / "out", overwrite=True)
    assert (tmp_path / "out.parts" / "thesis.txt").exists()


def test_a_run_is_never_replaced(plain, folder, tmp_path):
    (tmp_path / "runs").mkdir()
    run = shutil.copytree(plain, tmp_path / "runs" / "a")
    for target in (run, run.parent):
        with pytest.raises(UserError, match=r"the refiner .* is there; choose another place"):
            refine_bulk(run, folder, target, overwrite=True)
    assert (run / "refiner.safetensors").exists()
    refine_bulk(run, folder, run / "out")


def test_temporary_files_of_the_record_lie_in_the_work_folder(plain, folder, tmp_path, monkeypatch):
    result, paths = sys.modules["synthreal.bulk.result"], []
    write_text = result.write_text
    monkeypatch.setattr(result, "write_text", lambda path, text: paths.append(path) or write_text(path, text))
    refine_bulk(plain, folder, tmp_path / "out")
    assert [path.parent for path in paths] == [tmp_path / "out.parts"]  # a kill leaves them there
    assert (tmp_path / "out.job.json").exists() and not (tmp_path / "out.parts").exists()


def test_an_empty_folder_may_be_the_target(plain, folder, tmp_path):
    (tmp_path / "out").mkdir()
    refine_bulk(plain, folder, tmp_path / "out")
    assert len(files(tmp_path / "out")) == 6


@pytest.mark.parametrize("kind", ["pack", "shard"])
def test_an_empty_folder_is_no_target_of_a_file(plain, source_of, tmp_path, kind):
    source, out = source_of(kind.replace("shard", "shards"), 3), tmp_path / "out"
    out.mkdir()
    for overwrite in (False, True):
        with pytest.raises(UserError, match=r"out: is a folder; choose another name"):
            refine_bulk(plain, source / "0.tar" if kind == "shard" else source, out, overwrite=overwrite)
    assert not (tmp_path / "out.parts").exists() and list(out.iterdir()) == []


def test_a_link_is_replaced_and_not_followed(plain, folder, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").symlink_to("elsewhere")
    with pytest.raises(UserError, match=r"out: already exists; .*--overwrite"):
        refine_bulk(plain, folder, tmp_path / "out")
    refine_bulk(plain, folder, tmp_path / "out", overwrite=True)
    assert not (tmp_path / "out").is_symlink() and len(files(tmp_path / "out")) == 6
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_link_to_itself_is_refused(plain, folder, tmp_path):
    (tmp_path / "out").symlink_to("out")
    with pytest.raises(UserError, match=r"out: is a file; choose another name"):
        refine_bulk(plain, folder, tmp_path / "out")


def test_an_overwritten_folder_that_refine_has_not_made_is_preserved(plain, folder, tmp_path, cli):
    out = tmp_path / "out"
    for number in ("", "-1"):
        shutil.rmtree(out, ignore_errors=True)
        (tmp_path / "out.job.json").unlink(missing_ok=True)
        out.mkdir()
        (out / "thesis.txt").write_text("precious")
        done = refine_bulk(plain, folder, out, overwrite=True)
        assert done.aside == tmp_path / f"out.replaced{number}"
        assert (done.aside / "thesis.txt").read_text() == "precious" and not (out / "thesis.txt").exists()
    ended = cli("refine", plain, folder, out, "--overwrite", "--seed", 1).ok()  # its own result is replaced
    assert "out.replaced" not in ended.err and len(list(tmp_path.glob("out.replaced*"))) == 2
    (tmp_path / "out.job.json").unlink()
    ended = cli("refine", plain, folder, out, "--overwrite").ok()
    assert str(tmp_path / "out.replaced-2") in ended.err
