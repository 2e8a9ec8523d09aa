"""The readers of files that a user may get from somebody else, with valid files to mutate."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torture.kill import SMALL

import synthreal
import synthreal_gaze
from synthreal.bulk.refine import refine_bulk
from synthreal.config import RunConfig
from synthreal.config.toml import parse_settings
from synthreal.data.folder import FolderOptions, read_folder
from synthreal.data.pack import Pack
from synthreal.data.writer import write_pack
from synthreal.hooks.resolve import configure, resolve
from synthreal.report.record import read_record
from synthreal.train import checkpoint
from synthreal.turing.answers import Answers
from synthreal_gaze.mpiigaze import MPIIGazeOptions, read_mpiigaze
from synthreal_gaze.unityeyes import UnityEyesOptions, read_unityeyes
from synthreal_hands.nyu import NYUOptions, read_nyu

RUN = "run"
Read = Callable[[bytes, Path], object]


class Reader(NamedTuple):
    """``read(content, folder)``, which may raise ``UserError``, and its share of all inputs."""

    read: Read
    share: int


def _file(name: str, read: Callable[[Path], object]) -> Read:
    """Write the content to ``folder/name``, whose folder exists, and read that."""

    def written(content: bytes, folder: Path) -> object:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return read(path)

    return written


def _in_run(name: str, read: Callable[[Path], object]) -> Read:
    """Read a copy of the run in which one file is the content."""

    def replaced(content: bytes, folder: Path) -> object:
        if not (run := folder / RUN).exists():
            shutil.copytree(folder.parent / "begin" / RUN, run)
        whole = (run / name).read_bytes()
        (run / name).write_bytes(content)
        try:
            return read(run)
        finally:
            (run / name).write_bytes(whole)

    return replaced


def _everything(path: Path) -> None:
    with Pack(path) as pack:
        for _ in pack.blocks():
            pass


def _configured(content: bytes, folder: Path) -> None:
    config = RunConfig.from_toml(content.decode("utf-8", "replace"))
    resolve(config, synthreal.Catalog.of(["gaze"]))


def _set(content: bytes, folder: Path) -> None:
    catalog = synthreal.Catalog.of(["gaze"])
    settings = parse_settings(content.decode("utf-8", "replace").split("\n"))
    config = configure(catalog, *settings)
    for part in ("refiner", "discriminator"):
        network = catalog.build_network(part, getattr(config, part), config.image)
        del network


def _refined(source: str) -> Callable[[Path], object]:
    def refine(path: Path) -> None:
        folder = path.parent
        out = folder / f"out-{source}"
        try:
            refine_bulk(folder.parent / "begin" / RUN, folder / source, out, device="cpu", threads=1, overwrite=True)
        finally:
            for left in folder.glob("out-*"):
                shutil.rmtree(left) if left.is_dir() else left.unlink()

    return refine


def _resumed_job(content: bytes, folder: Path) -> None:
    """Refine into a place where a killed job has left a record."""
    if not (source := folder / "in").exists():
        shutil.copytree(folder.parent / "begin" / "in", source)
    parts = folder / "out.parts"
    parts.mkdir(exist_ok=True)
    (parts / "job.json").write_bytes(content)
    try:
        refine_bulk(folder.parent / "begin" / RUN, source, folder / "out", device="cpu", threads=1, limit=2)
    finally:
        for left in folder.glob("out*"):
            shutil.rmtree(left) if left.is_dir() else left.unlink()


def _nyu_frame(content: bytes, folder: Path) -> None:
    """The only frame of a role, with good joints."""
    test = folder / "f" / "test"
    if not test.exists():
        test.mkdir(parents=True)
        shutil.copy(folder.parent / "n.mat", test / "joint_data.mat")
    (test / "depth_1_0000001.png").write_bytes(content)
    list(read_nyu(NYUOptions(root=test.parent, views=(1,), frames=(1, 1)), "test"))


READERS = {
    "folder": Reader(_file("f/p.png", lambda path: list(read_folder(FolderOptions(root=str(path.parent))))), 33),
    "refine-folder": Reader(_file("r/p.png", lambda path: _refined("r")(path.parent)), 2),
    "refine-shard": Reader(_file("s.tar", _refined("s.tar")), 13),
    "refine-job": Reader(_resumed_job, 2),
    "pack": Reader(_file("p.h5", _everything), 3),
    "checkpoint": Reader(_in_run("checkpoints/newest.pt", checkpoint.load), 6),
    "weights": Reader(_in_run("refiner.safetensors", synthreal.Refine.load), 15),
    "run-config": Reader(_in_run("config.toml", synthreal.Refine.load), 15),
    "config": Reader(_configured, 60),
    "set": Reader(_set, 60),
    "log": Reader(_in_run("log.jsonl", read_record), 30),
    "quality": Reader(_in_run("quality.json", read_record), 15),
    "evaluation": Reader(_in_run("evaluation.json", read_record), 15),
    "answers": Reader(_file("turing.jsonl", lambda path: Answers(path).read()), 10),
    "mpiigaze": Reader(
        _file(
            "m/p00/day01.mat", lambda p: list(read_mpiigaze(MPIIGazeOptions(root=p.parents[1], persons=(0,)), "test"))
        ),
        4,
    ),
    "nyu": Reader(
        _file(
            "n/test/joint_data.mat", lambda p: list(read_nyu(NYUOptions(root=p.parents[1], skip_broken=True), "test"))
        ),
        3,
    ),
    "nyu-depth": Reader(_nyu_frame, 5),
    "unityeyes": Reader(_file("u/1.json", lambda p: list(read_unityeyes(UnityEyesOptions(root=p.parent)))), 10),
}


def prepare(folder: Path) -> None:
    """Write a run, a folder of pictures, and the valid files of each reader below ``folder/seeds``."""
    begin, seeds = folder / "begin", folder / "seeds"
    (begin / "in").mkdir(parents=True)
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (4, 1, 35, 55), dtype=np.uint8)
    for index in range(4):
        Image.fromarray(pixels[index, 0]).save(begin / "in" / f"{index}.png")
    _fit(begin / RUN)
    files: dict[str, list[bytes]] = {name: [] for name in READERS}
    files["folder"] = files["refine-folder"] = _pictures(generator)
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as shard:
        for path in sorted((begin / "in").iterdir()):
            for name, content in ((path.name, path.read_bytes()), (f"{path.stem}.json", b"[1]")):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                shard.addfile(member, io.BytesIO(content))
    files["refine-shard"] = [tar.getvalue()]
    files["refine-job"] = [_job(begin)]
    spec = synthreal.ImageSpec(channels=1, height=35, width=55)
    label = synthreal.LabelSpec("gaze", (3,), "unit vector")
    samples = (synthreal.Sample(image, {"gaze": np.zeros(3, np.float32)}) for image in pixels)
    write_pack(folder / "p.h5", samples, image=spec, labels=(label,), role="simulated", name="noise")
    files["pack"] = [(folder / "p.h5").read_bytes()]
    run = begin / RUN
    for reader, name in {
        "checkpoint": "checkpoints/newest.pt",
        "weights": "refiner.safetensors",
        "run-config": "config.toml",
        "config": "config.toml",
        "log": "log.jsonl",
        "quality": "quality.json",
        "evaluation": "evaluation.json",
    }.items():
        files[reader] = [(run / name).read_bytes()]
    config = (run / "config.toml").read_bytes().partition(b"[versions]")[0]
    files["config"] = [config]
    files["set"] = [setting.encode() for setting in _SETTINGS]
    files["answers"] = [_ANSWER * 3]
    files["mpiigaze"], files["nyu"], files["nyu-depth"] = _matlab(folder)
    files["unityeyes"] = _eye(folder)
    for name, contents in files.items():
        (seeds / name).mkdir(parents=True)
        for index, content in enumerate(contents):
            (seeds / name / f"{index:03d}").write_bytes(content)


def _fit(run: Path) -> None:
    """A run of a few steps, with an evaluation."""
    catalog = synthreal.Catalog.of(["gaze"])
    config = configure(catalog, *parse_settings(SMALL))
    synthreal.fit(config, catalog, run)
    synthreal.evaluate([run], arms=("simulated", "refined"))
    newest = checkpoint.checkpoints(run)[-1]
    newest.rename(newest.with_name("newest.pt"))
    for other in checkpoint.checkpoints(run):
        other.unlink()


_SETTINGS = [
    *("schedule.steps=100", "loss.weight=0.5", "refiner.options.width=8", "refiner.options.kernel=3"),
    *('discriminator={name="local"}', 'features=[{name="identity", weight=1.0}]', "history=none", "runtime.seed=3"),
    *("optimizer.refiner={name='sgd', learning_rate=0.1}", "data.real.count=20", "quality.every=10"),
]
_ANSWER = (
    b'{"rater":"a","trial":1,"truth":"real","answer":"real","seconds":1.5,"time":"2026-01-01T00:00:00Z",'
    b'"against":"refined","images":20,"seed":0}\n'
)


def _pictures(generator: np.random.Generator) -> list[bytes]:
    """Small pictures in the formats and modes that are read."""
    found = []
    grey = generator.integers(0, 256, (12, 17), dtype=np.uint8)
    modes = {mode: Image.fromarray(grey).convert(mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA")}
    modes["I;16"] = Image.fromarray(grey.astype(np.uint16) * 257)
    for kind, image in product(("PNG", "JPEG", "TIFF", "BMP", "WEBP", "PPM"), modes.values()):
        target = io.BytesIO()
        try:
            image.save(target, kind)
        except (OSError, KeyError, ValueError):  # a format without this mode
            continue
        found.append(target.getvalue())
    return found


def _job(begin: Path) -> bytes:
    """The record of an interrupted job: written by one that fails at its last step."""
    import synthreal.bulk.result as result

    put, result.Destination.put = result.Destination.put, None  # type: ignore[method-assign, assignment]
    try:
        refine_bulk(begin / RUN, begin / "in", begin / "out", device="cpu", threads=1, limit=2)
    except TypeError:
        pass
    finally:
        result.Destination.put = put  # type: ignore[method-assign]
    content = (begin / "out.parts" / "job.json").read_bytes()
    shutil.rmtree(begin / "out.parts")
    return content


def _matlab(folder: Path) -> tuple[list[bytes], list[bytes], list[bytes]]:
    """A day of MPIIGaze, joints of NYU with one frame, and that frame."""
    from scipy.io import savemat

    unit = np.tile([0.0, 0.0, -1.0], (3, 1))
    eye = {"gaze": unit, "image": np.zeros((3, 36, 60), np.uint8), "pose": np.zeros((3, 3))}
    days = []
    for compressed in (False, True):
        savemat(folder / "m.mat", {"data": {"left": eye, "right": eye}}, do_compression=compressed)
        days.append((folder / "m.mat").read_bytes())
    uvd = np.tile([320.0, 240.0, 800.0], (3, 4, 36, 1))
    xyz = np.tile([0.0, 0.0, 800.0], (3, 4, 36, 1))
    savemat(folder / "n.mat", {"joint_uvd": uvd, "joint_xyz": xyz})
    joints = (folder / "n.mat").read_bytes()
    depth = io.BytesIO()
    Image.new("RGB", (640, 480), (0, 800 // 256, 800 % 256)).save(depth, "PNG")
    return days, [joints], [depth.getvalue()]


def _eye(folder: Path) -> list[bytes]:
    """The annotation of a UnityEyes render; its picture is missing, which is reported after the annotation is read."""
    points = {"interior_margin_2d": 16, "caruncle_2d": 7, "iris_2d": 32}
    tree = {
        **{key: [f"({320 + i}.0, {240 - i}.0, 9.6)" for i in range(count)] for key, count in points.items()},
        "eye_details": {"look_vec": "(0.6, 0.0, -0.8, 0.0)", "pupil_size": "-0.03", "iris_size": "0.94"},
        "head_pose": "(351.3, 186.0, 0.0)",
    }
    return [json.dumps(tree, indent=2).encode()]


torch.set_num_threads(1)
assert synthreal_gaze is not None  # imported before the fork
