"""``python -m synthreal_gaze.compare FOLDER``: compare the rendered eyes with photographs of eyes.

Shows the simulator without and with ``equalize``, the camera and the photographs on one contact sheet, and measures the
sliced Wasserstein distance of each to the photographs. The lower bound is the distance between two random halves of the
photographs. The two distances of the simulator tell which grey levels are nearer to the photographs, not which train
the better estimator.
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
from synthreal_gaze.camera import CameraOptions, render_camera
from synthreal_gaze.sensor import equalise
from synthreal_gaze.simulator import SimulatorOptions, render_simulator

DRAWN = 1024
COLUMNS = 10
ENLARGE = 3


@dataclass(frozen=True)
class Comparison:
    """Images ``(N, 1, 35, 55)`` per kind, and each kind's distances to the photographs, one per pyramid level."""

    images: dict[str, Tensor]
    levels: dict[str, list[float]]
    skipped: int

    @property
    def means(self) -> dict[str, float]:
        """The mean distance of each kind over the levels."""
        return {kind: sum(levels) / len(levels) for kind, levels in self.levels.items()}


def read_photographs(folder: Path) -> tuple[Tensor, int]:
    """Read a folder as grey crops ``(N, 1, 35, 55)`` in [0, 1]; also returns the number of unreadable files.

    Raises:
        UserError: the folder does not exist or contains fewer than two readable images.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give a folder of eye photographs")
    with tempfile.TemporaryDirectory() as scratch:
        settings = [f"root={json.dumps(str(folder), ensure_ascii=False)}"]
        try:
            summary = prepare(Catalog.of(("gaze",)), "folder", Path(scratch, "photographs.h5"), settings=settings)
        except UserError as error:  # its remedy names an option that this command lacks
            raise UserError(f"{str(error).partition(';')[0]}; give a folder of eye photographs") from error
        with Pack(summary.path) as pack:
            image, _ = pack.read(slice(0, len(pack)))
    if len(image) < 2:
        raise UserError(f"{folder}: contains {len(image)} readable image; give at least 2 photographs")
    return torch.from_numpy(image).float() / 255, len(summary.skipped)


def compare(folder: Path, seed: int = 0) -> Comparison:
    """Render :data:`DRAWN` eyes of each kind and measure the distances; raises as :func:`read_photographs`."""
    real, skipped = read_photographs(folder)
    generator = torch.Generator().manual_seed(seed)
    simulated = render_simulator(SimulatorOptions(), DRAWN, generator).image
    rendered = {
        "simulator": simulated,
        "equalised simulator": equalise(simulated[:, 0])[:, None],
        "camera": render_camera(CameraOptions(), DRAWN, generator, "real").image,
    }
    shuffled = real[torch.randperm(len(real), generator=generator)]
    half = len(real) // 2
    levels = {kind: sliced_wasserstein(image, real, generator=generator).tolist() for kind, image in rendered.items()}
    levels["photographs"] = sliced_wasserstein(shuffled[:half], shuffled[half:], generator=generator).tolist()
    return Comparison({**rendered, "photographs": shuffled}, levels, skipped)


def sheet_rows(result: Comparison, n: int) -> list[tuple[str, Tensor]]:
    """The first ``n`` images of each kind, enlarged, in captioned rows that alternate between kinds."""
    rows = []
    for start in range(0, n, COLUMNS):
        for kind, image in result.images.items():
            shown = image[start : min(start + COLUMNS, n)]
            if len(shown):
                rows.append((kind, shown.repeat_interleave(ENLARGE, 2).repeat_interleave(ENLARGE, 3)))
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Returns 0, or 2 after printing a user error to stderr."""
    parser = argparse.ArgumentParser(prog="python -m synthreal_gaze.compare", description=__doc__)
    parser.add_argument("folder", type=Path, help="a folder of photographs of left eyes, cropped")
    parser.add_argument(
        "--out", type=Path, default=Path("compare.png"), help="contact sheet to write (default: %(default)s)"
    )
    parser.add_argument("--n", type=int, default=40, help="images per kind on the sheet (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args(argv)
    try:
        if arguments.n < 1:
            raise UserError(f"--n is {arguments.n}; show at least 1 image of each kind")
        if not 0 <= arguments.seed < 2**31:
            raise UserError(f"--seed is {arguments.seed}; it must be 0 to 2147483647")
        if not arguments.out.parent.is_dir():
            raise UserError(f"{arguments.out.parent}: no such folder; choose another --out")
        result = compare(arguments.folder, arguments.seed)
        save_sheet(arguments.out, sheet_rows(result, arguments.n))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print(_format_json(result, arguments.out) if arguments.json else _format_table(result, arguments.out))
    return 0


def _format_json(result: Comparison, out: Path) -> str:
    distance = {kind: {"mean": result.means[kind], "levels": levels} for kind, levels in result.levels.items()}
    count = {"photographs": len(result.images["photographs"]), "skipped": result.skipped, "drawn": DRAWN}
    return json.dumps({"distance": distance, "n": count, "sheet": str(out)}, indent=2)


def _format_table(result: Comparison, out: Path) -> str:
    lines = [f"{'to the photographs':20}{'mean':>8}   per level, fine to coarse"]
    for kind, levels in result.levels.items():
        name = "photographs' halves" if kind == "photographs" else kind
        lines.append(f"{name:20}{result.means[kind]:8.3f}   {'  '.join(f'{level:.3f}' for level in levels)}")
    ratios = [result.means["camera"] / result.means[kind] for kind in ("simulator", "equalised simulator")]
    unread = f", {result.skipped} unreadable files skipped" if result.skipped else ""
    count = len(result.images["photographs"])
    lines.append(f"camera / simulator = {ratios[0]:.2f}, equalised {ratios[1]:.2f}; {count} photographs{unread}")
    return "\n".join([*lines, f"sheet: {out}"])


if __name__ == "__main__":
    sys.exit(main())
