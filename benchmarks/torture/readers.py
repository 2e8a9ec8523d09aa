"""The readers of files that a user may get from somebody else."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import synthreal
from synthreal.bulk.refine import refine_bulk
from synthreal.config import RunConfig
from synthreal.config.toml import parse_settings
from synthreal.data.folder import FolderOptions, read_folder
from synthreal.data.pack import Pack
from synthreal.data.pictures import PicturesOptions, read_pictures
from synthreal.hooks.resolve import configure, resolve
from synthreal.report.record import read_record
from synthreal.train import checkpoint
from synthreal.turing.answers import Answers
from synthreal_gaze.mpiigaze import MPIIGazeOptions, read_mpiigaze
from synthreal_gaze.unityeyes import UnityEyesOptions, read_unityeyes
from synthreal_hands.nyu import NYUOptions, read_nyu

BEGIN = "begin"
CHECKPOINT = "checkpoints/step-00000001.pt"
Read = Callable[[bytes, Path], object]


class Reader(NamedTuple):
    """``read(content, folder)``, which may raise ``UserError``, and its share of all inputs.

    The folder is that of a worker process, beside the folder ``BEGIN`` that :func:`torture.seeds.prepare` writes.
    """

    read: Read
    share: int


def _file(name: str, read: Callable[[Path], object]) -> Read:
    """Write the content to ``folder/name`` and read that."""

    def written(content: bytes, folder: Path) -> object:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return read(path)

    return written


def _within(tree: str, name: str, read: Callable[[Path], object]) -> Read:
    """Read a copy of the folder ``BEGIN/tree`` in which the file ``name`` is the content."""

    def replaced(content: bytes, folder: Path) -> object:
        if not (copy := folder / tree).exists():
            shutil.copytree(folder.parent / BEGIN / tree, copy)
        whole = (copy / name).read_bytes()
        (copy / name).write_bytes(content)
        try:
            return read(copy)
        finally:
            (copy / name).write_bytes(whole)

    return replaced


def _checkpoint(content: bytes, folder: Path) -> object:
    """Load a checkpoint whose checksum is right; with a wrong one nothing else would be read."""
    return _within("run", CHECKPOINT, checkpoint.load)(checkpoint.add_checksum(content), folder)


def _pack(path: Path) -> None:
    with Pack(path) as pack:
        for _ in pack.blocks():
            pass


def _config(content: bytes, folder: Path) -> None:
    config = RunConfig.from_toml(content.decode("utf-8", "replace"))
    resolve(config, synthreal.Catalog.of(["gaze"]))


def _set(content: bytes, folder: Path) -> None:
    catalog = synthreal.Catalog.of(["gaze"])
    config = configure(catalog, *parse_settings(content.decode("utf-8", "replace").split("\n")))
    for part in ("refiner", "discriminator"):
        catalog.build_network(part, getattr(config, part), config.image)


def _refine(source: Path, folder: Path, *, limit: int | None, overwrite: bool) -> None:
    """Refine to ``folder/out``, and remove what is there afterwards."""
    out, run = folder / f"out{source.suffix}", folder.parent / BEGIN / "run"
    try:
        refine_bulk(run, source, out, device="cpu", threads=1, limit=limit, overwrite=overwrite)
    finally:
        for left in folder.glob("out*"):
            shutil.rmtree(left) if left.is_dir() else left.unlink()


def _job(content: bytes, folder: Path) -> None:
    """Refine to a place where a killed job has left a record."""
    parts = folder / "out.parts"
    parts.mkdir()
    (parts / "job.json").write_bytes(content)
    _refine(folder.parent / BEGIN / "in", folder, limit=2, overwrite=False)  # overwriting would discard it


def _refine_all(source: Path, folder: Path) -> None:
    _refine(source, folder, limit=None, overwrite=True)


def _mpiigaze(path: Path) -> None:
    list(read_mpiigaze(MPIIGazeOptions(root=path.parents[1], persons=(0,)), "test"))


def _nyu(root: Path) -> None:
    list(read_nyu(NYUOptions(root=root, views=(1,), frames=(1, 1)), "test"))


def _windows(root: Path) -> PicturesOptions:
    return PicturesOptions(root=str(root), crop=(8, 8), scale=9, crops=2)


READERS = {
    "folder": Reader(_file("f/p.png", lambda path: list(read_folder(FolderOptions(root=str(path.parent))))), 23),
    "pictures": Reader(_file("w/p.png", lambda path: list(read_pictures(_windows(path.parent)))), 10),
    "refine-folder": Reader(_file("r/p.png", lambda path: _refine_all(path.parent, path.parents[1])), 2),
    "refine-shard": Reader(_file("s.tar", lambda path: _refine_all(path, path.parent)), 13),
    "refine-job": Reader(_job, 2),
    "pack": Reader(_file("p.h5", _pack), 3),
    "checkpoint": Reader(_checkpoint, 6),
    "weights": Reader(_within("run", "refiner.safetensors", synthreal.Refine.load), 15),
    "run-config": Reader(_within("run", "config.toml", synthreal.Refine.load), 15),
    "config": Reader(_config, 60),
    "set": Reader(_set, 60),
    "log": Reader(_within("run", "log.jsonl", read_record), 30),
    "quality": Reader(_within("run", "quality.json", read_record), 15),
    "evaluation": Reader(_within("run", "evaluation.json", read_record), 15),
    "answers": Reader(_file("turing.jsonl", lambda path: Answers(path).read()), 10),
    "mpiigaze": Reader(_file("m/p00/day01.mat", _mpiigaze), 4),
    "nyu": Reader(_within("nyu", "test/joint_data.mat", _nyu), 3),
    "nyu-depth": Reader(_within("nyu", "test/depth_1_0000001.png", _nyu), 5),
    "unityeyes": Reader(_within("eyes", "1.json", lambda root: list(read_unityeyes(UnityEyesOptions(root=root)))), 10),
}
