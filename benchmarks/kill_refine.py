"""Kill ``synthreal refine`` at random moments, start it again, and compare the results.

Usage: ``python benchmarks/kill_refine.py [--kills 20] [--images 6000] [--kinds pack,folder,shards] [--json FILE]``

Each kind of data set is refined once without interruption. Then the same job is started in a separate process and
killed repeatedly, at moments drawn from the duration of the uninterrupted job. If a job ends before its kill, its
result is compared and the next job starts from the beginning; the last job may finish. Every result must equal the
uninterrupted one, byte for byte, and nothing may be left beside it. Processes are forked, so that they do not import
torch again.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import multiprocessing
import random
import shutil
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from bench_refine import fitted
from packs import GAZE, pack_of
from PIL import Image

import synthreal

KINDS = ("pack", "folder", "shards")


def data_set(kind: str, folder: Path, images: int) -> Path:
    """A data set of noise: a pack, a folder of PNG files with sidecars, or three tar shards."""
    if kind == "pack":
        return Path(pack_of(folder, GAZE, images=images)["pack"])
    generator = np.random.default_rng(0)
    root = folder / f"{kind}-in"
    root.mkdir()
    files = {}
    for index in range(images):
        pixels = generator.integers(0, 256, (GAZE["height"], GAZE["width"]), dtype=np.uint8)
        content = io.BytesIO()
        Image.fromarray(pixels).save(content, "PNG", compress_level=1)
        files[f"{index:05d}.png"], files[f"{index:05d}.json"] = content.getvalue(), f"[{index}]".encode()
    if kind == "folder":
        for name, content in files.items():
            (root / name).write_bytes(content)
        return root
    for shard in range(3):
        with tarfile.open(root / f"{shard}.tar", "w") as tar:
            for name, content in files.items():
                if int(name[:5]) % 3 == shard:
                    member = tarfile.TarInfo(name)
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    return root


def digest(path: Path) -> str:
    """Hash of a file, or of the names and contents of all files below a folder."""
    content = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            content.update(f"{file.relative_to(path.parent if path.is_file() else path)}\0".encode())
            content.update(file.read_bytes())
    return content.hexdigest()


def start(run: str, source: Path, target: Path) -> multiprocessing.process.BaseProcess:
    """Start the job in a separate process."""
    process = multiprocessing.get_context("fork").Process(
        target=synthreal.refine_bulk, args=(run, source, target), kwargs={"threads": 1, "device": "cpu"}
    )
    process.start()
    return process


def join(process: multiprocessing.process.BaseProcess) -> None:
    """Wait for a job that must succeed."""
    process.join()
    if process.exitcode:
        raise SystemExit(f"a job that was not killed ended with code {process.exitcode}")


def kill_and_compare(kind: str, folder: Path, run: str, options: argparse.Namespace) -> dict[str, Any]:
    """Kill a job repeatedly and compare its results; returns a row."""
    source = data_set(kind, folder, options.images)
    uninterrupted, target = (folder / name / f"out{source.suffix}" for name in ("uninterrupted", "killed"))
    for path in (uninterrupted, target):
        path.parent.mkdir()
    began = time.monotonic()
    join(start(run, source, uninterrupted))
    seconds = time.monotonic() - began
    expected, beside = digest(uninterrupted), len(list(uninterrupted.parent.iterdir()))
    row = {"name": f"kill_{kind}", "images": options.images, "seconds": round(seconds, 2), "kills": 0, "results": 0}
    moments = random.Random(options.seed)

    def compare() -> None:
        if digest(target) != expected:
            raise SystemExit(f"{target}: differs from the uninterrupted result after {row['kills']} kills")
        if len(list(target.parent.iterdir())) != beside:
            raise SystemExit(f"{target.parent}: holds more than a result: {sorted(target.parent.iterdir())}")
        row["results"] += 1

    while row["kills"] < options.kills:
        process = start(run, source, target)
        process.join(moments.uniform(0, seconds))
        if process.is_alive():
            process.kill()
            process.join()
            row["kills"] += 1
            continue
        join(process)
        compare()
        shutil.rmtree(target.parent)
        target.parent.mkdir()
    join(start(run, source, target))
    compare()
    return row


def main() -> None:
    """Run, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--images", type=int, default=6000)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    for kind in options.kinds.split(","):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            size = {**GAZE, **pack_of(folder, GAZE, images=8), "history": 2, "device": "cpu", "threads": 1}
            with multiprocessing.get_context("spawn").Pool(1) as other:  # a fork does not copy torch's threads
                run = other.apply(fitted, (size, "bf16", name))
            rows.append(kill_and_compare(kind, folder, run, options))
    text = json.dumps({"rows": rows}, indent=2)
    print(text)
    if options.json is not None:
        options.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
