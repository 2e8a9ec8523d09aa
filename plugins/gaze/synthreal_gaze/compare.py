"""``python -m synthreal_gaze.compare FOLDER``: how real do the drawn eyes look beside photographs of eyes?

Draws simulator, camera domain and the folder's photographs on one sheet, and measures the sliced Wasserstein distance
of each to the photographs. The floor is the distance between two random halves of the photographs.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from synthreal import Catalog, UserError, prepare
from synthreal.data import Pack
from synthreal.metrics import sliced_wasserstein
from synthreal.train import save_sheet
from synthreal_gaze.camera import CameraOptions, camera
from synthreal_gaze.render import SimulatorOptions, simulator

DRAWN = 1024
COLUMNS = 10
ENLARGE = 3


@dataclass(frozen=True)
class Comparison:
    """Images ``(N, 1, 35, 55)`` by kind, and each kind's distance to the photographs, by pyramid level."""

    images: dict[str, Tensor]
    levels: dict[str, list[float]]
    skipped: int

    @property
    def means(self) -> dict[str, float]:
        """Mean distance over the levels."""
        return {kind: sum(levels) / len(levels) for kind, levels in self.levels.items()}


def photographs(folder: Path) -> tuple[Tensor, int]:
    """The folder's images as grey crops ``(N, 1, 35, 55)`` in [0, 1], and how many files could not be read.

    Raises:
        UserError: no such folder, no readable image in it, or fewer than two images.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give a folder of eye photographs")
    with tempfile.TemporaryDirectory() as scratch:
        settings = [f"root={json.dumps(str(folder))}"]
        try:
            summary = prepare(Catalog.of(("gaze",)), "folder", Path(scratch, "photographs.h5"), settings=settings)
        except UserError as error:  # its remedy is an option, which this command does not have
            raise UserError(f"{str(error).partition(';')[0]}; give a folder of eye photographs") from error
        with Pack(summary.path) as pack:
            image, _ = pack.read(slice(0, len(pack)))
    if len(image) < 2:
        raise UserError(f"{folder}: holds {len(image)} readable image; give at least 2 photographs")
    return torch.from_numpy(image).float() / 255, len(summary.skipped)


def compare(folder: Path, seed: int = 0) -> Comparison:
    """Draw as many eyes as the distances need and measure them. Raises what :func:`photographs` raises."""
    real, skipped = photographs(folder)
    generator = torch.Generator().manual_seed(seed)
    drawn = {
        "simulator": simulator(SimulatorOptions(), DRAWN, generator).image,
        "camera": camera(CameraOptions(), DRAWN, generator, "real").image,
    }
    shuffled = real[torch.randperm(len(real), generator=generator)]
    half = len(real) // 2
    levels = {kind: sliced_wasserstein(image, real, generator=generator).tolist() for kind, image in drawn.items()}
    levels["photographs"] = sliced_wasserstein(shuffled[:half], shuffled[half:], generator=generator).tolist()
    return Comparison({**drawn, "photographs": shuffled}, levels, skipped)


def rows_of(result: Comparison, n: int) -> list[tuple[str, Tensor]]:
    """The first ``n`` images of each kind, enlarged, in captioned rows that alternate between the kinds."""
    rows = []
    for start in range(0, n, COLUMNS):
        for kind, image in result.images.items():
            shown = image[start : min(start + COLUMNS, n)]
            if len(shown):
                rows.append((kind, shown.repeat_interleave(ENLARGE, 2).repeat_interleave(ENLARGE, 3)))
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command: 0, or 2 after one line on stderr."""
    parser = argparse.ArgumentParser(prog="python -m synthreal_gaze.compare", description=__doc__)
    parser.add_argument("folder", type=Path, help="a folder of eye photographs, left eyes, whole crops")
    parser.add_argument("--out", type=Path, default=Path("compare.png"), help="the sheet (default: %(default)s)")
    parser.add_argument("--n", type=int, default=40, help="images of each kind on the sheet (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the draws and of the distance (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    given = parser.parse_args(arguments)
    try:
        if given.n < 1:
            raise UserError(f"--n is {given.n}; show at least 1 image of each kind")
        if not 0 <= given.seed < 2**31:
            raise UserError(f"--seed is {given.seed}; give one of 0 .. 2147483647")
        if not given.out.parent.is_dir():
            raise UserError(f"{given.out.parent}: no such folder; choose another --out")
        result = compare(given.folder, given.seed)
        save_sheet(given.out, rows_of(result, given.n))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print(_json(result, given.out) if given.json else _table(result, given.out))
    return 0


def _json(result: Comparison, out: Path) -> str:
    distance = {kind: {"mean": result.means[kind], "levels": levels} for kind, levels in result.levels.items()}
    count = {"photographs": len(result.images["photographs"]), "skipped": result.skipped, "drawn": DRAWN}
    return json.dumps({"distance": distance, "n": count, "sheet": str(out)}, indent=2)


def _table(result: Comparison, out: Path) -> str:
    lines = [f"{'to the photographs':20}{'mean':>8}   by level, fine to coarse"]
    for kind, levels in result.levels.items():
        name = "photographs' halves" if kind == "photographs" else kind
        lines.append(f"{name:20}{result.means[kind]:8.3f}   {'  '.join(f'{level:.3f}' for level in levels)}")
    ratio = result.means["camera"] / result.means["simulator"]
    unread = f", {result.skipped} unreadable files left out" if result.skipped else ""
    lines.append(f"camera / simulator = {ratio:.2f}; {len(result.images['photographs'])} photographs{unread}")
    return "\n".join([*lines, f"sheet: {out}"])


if __name__ == "__main__":
    sys.exit(main())
