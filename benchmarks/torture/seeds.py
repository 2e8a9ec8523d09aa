"""Valid files for each reader, of which mutated copies are made."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from contextlib import suppress
from itertools import product
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat
from torture.kill import SMALL
from torture.readers import BEGIN, CHECKPOINT, READERS

import synthreal
from synthreal.bulk.refine import refine_bulk
from synthreal.config.toml import parse_settings
from synthreal.data import write_pack
from synthreal.train import checkpoint

_SETTINGS = [
    *("schedule.steps=100", "loss.weight=0.5", "refiner.options.width=8", "refiner.options.kernel=3"),
    *('discriminator={name="local"}', 'features=[{name="identity", weight=1.0}]', "history=none", "runtime.seed=3"),
    *("optimizer.refiner={name='sgd', learning_rate=0.1}", "data.real.count=20", "quality.every=10"),
]
_ANSWER = (
    b'{"rater":"a","trial":1,"truth":"real","answer":"real","seconds":1.5,"time":"2026-01-01T00:00:00Z",'
    b'"against":"refined","images":20,"seed":0}\n'
)


def prepare(folder: Path) -> dict[str, list[bytes]]:
    """Write a run, pictures and labelled data sets below ``folder/BEGIN``; returns valid files of each reader.

    Raises:
        UserError: a reader refuses one of its files, so that mutated copies would test nothing.
    """
    begin = folder / BEGIN
    (begin / "in").mkdir(parents=True)
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (4, 1, 35, 55), dtype=np.uint8)
    for index in range(4):
        Image.fromarray(pixels[index, 0]).save(begin / "in" / f"{index}.png")
        (begin / "in" / f"{index}.json").write_bytes(b"[1]")
    run, pictures = begin / "run", _pictures(generator)
    _fit(run)
    joints, depth = _hand(begin / "nyu" / "test")
    config = (run / "config.toml").read_bytes()
    files = {
        "folder": pictures,
        "pictures": pictures,
        "refine-folder": pictures,
        "refine-shard": [_shard(begin / "in")],
        "refine-job": [_job(begin)],
        "pack": [_pack(folder / "p.h5", pixels)],
        "checkpoint": [checkpoint.strip_checksum((run / CHECKPOINT).read_bytes())],
        "weights": [(run / "refiner.safetensors").read_bytes()],
        "run-config": [config],
        "config": [config.partition(b"[versions]")[0]],
        "set": [setting.encode() for setting in _SETTINGS],
        "log": [(run / "log.jsonl").read_bytes()],
        "quality": [(run / "quality.json").read_bytes()],
        "evaluation": [(run / "evaluation.json").read_bytes()],
        "answers": [_ANSWER * 3],
        "mpiigaze": _days(folder / "m.mat"),
        "nyu": [joints],
        "nyu-depth": [depth],
        "unityeyes": [_eye(begin / "eyes")],
    }
    trial = folder / "trial"
    trial.mkdir()
    for name, contents in files.items():
        for content in contents:
            READERS[name].read(content, trial)
    return files


def _fit(run: Path) -> None:
    """A run of a few steps with one checkpoint and an evaluation."""
    catalog = synthreal.Catalog.of(["gaze"])
    synthreal.fit(synthreal.configure(catalog, *parse_settings(SMALL)), catalog, run)
    synthreal.evaluate([run], arms=("simulated", "refined"))
    *older, newest = checkpoint.checkpoints(run)
    newest.rename(run / CHECKPOINT)
    for path in older:
        path.unlink()


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


def _shard(folder: Path) -> bytes:
    """A tar file of a folder."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as shard:
        for path in sorted(folder.iterdir()):
            shard.add(path, path.name)
    return target.getvalue()


class _Interrupted(Exception):
    """Ends a job; no kind of error that a job handles itself."""


def _job(begin: Path) -> bytes:
    """The record of a job that was interrupted when all images were refined."""

    def interrupt(done: int, total: int) -> None:
        raise _Interrupted

    source, out = begin / "in", begin / "out"
    with suppress(_Interrupted):
        refine_bulk(begin / "run", source, out, device="cpu", threads=1, limit=2, on_assembly=interrupt)
    parts = out.with_suffix(".parts")
    content = (parts / "job.json").read_bytes()
    shutil.rmtree(parts)
    return content


def _pack(path: Path, pixels: np.ndarray) -> bytes:
    """A pack of images ``(N, 1, 35, 55)`` uint8 with a label."""
    spec = synthreal.ImageSpec(channels=1, height=35, width=55)
    label = synthreal.LabelSpec("gaze", (3,), "unit vector")
    samples = (synthreal.Sample(image, {"gaze": np.zeros(3, np.float32)}) for image in pixels)
    write_pack(path, samples, image=spec, labels=(label,), role="simulated", name="noise")
    return path.read_bytes()


def _days(path: Path) -> list[bytes]:
    """A day of MPIIGaze with three samples, plain and compressed."""
    unit = np.tile([0.0, 0.0, -1.0], (3, 1))
    eye = {"gaze": unit, "image": np.zeros((3, 36, 60), np.uint8), "pose": np.zeros((3, 3))}
    days = []
    for compressed in (False, True):
        savemat(path, {"data": {"left": eye, "right": eye}}, do_compression=compressed)
        days.append(path.read_bytes())
    return days


def _hand(folder: Path) -> tuple[bytes, bytes]:
    """Joints of four NYU frames, and the first frame."""
    folder.mkdir(parents=True)
    uvd = np.tile([320.0, 240.0, 800.0], (3, 4, 36, 1))
    xyz = np.tile([0.0, 0.0, 800.0], (3, 4, 36, 1))
    joints, frame = folder / "joint_data.mat", folder / "depth_1_0000001.png"
    savemat(joints, {"joint_uvd": uvd, "joint_xyz": xyz})
    Image.new("RGB", (640, 480), (0, 800 // 256, 800 % 256)).save(frame)
    return joints.read_bytes(), frame.read_bytes()


def _eye(folder: Path) -> bytes:
    """The annotation of a UnityEyes render; its picture is beside it."""
    folder.mkdir()
    points = {"interior_margin_2d": 16, "caruncle_2d": 7}
    tree = {
        **{key: [f"({320 + i}.0, {240 - i}.0, 9.6)" for i in range(count)] for key, count in points.items()},
        "iris_2d": ["(359.85, 240.0, 9.16)"] * 32,
        "eye_details": {"look_vec": "(0.6, 0.0, -0.8, 0.0)", "pupil_size": "-0.03", "iris_size": "0.94"},
        "head_pose": "(351.3, 186.0, 0.0)",
    }
    annotation = folder / "1.json"
    annotation.write_text(json.dumps(tree, indent=2), encoding="ascii")
    Image.new("L", (640, 480), 100).save(folder / "1.jpg")
    return annotation.read_bytes()
