"""The files of a UnityEyes folder: pairs of ``<n>.jpg`` and ``<n>.json``, copies, and files with other names."""

from __future__ import annotations

import re
from pathlib import Path

from synthreal import Skipped, UserError
from synthreal_gaze.annotation import BrokenFile

NAME = re.compile(
    r"(?P<copy_of>copy of )?(?P<stem>\d+)(?P<copy> \(\d+\)| - \w+( \(\d+\))?|[ _-]copy( \d+)?)?"
    r"\.(?P<suffix>jpe?g|json)",
    re.IGNORECASE,
)
"""Names of the pairs, and those that file managers give to copies: ``1 (1).jpg``, ``1 - Copy.jpg``, ``1 copy.jpg``."""
OTHER_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".json", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif")
"""Suffixes of files that may be lost data, and are listed, when their names are not those of pairs."""

Pair = tuple[Path, Path]
"""The JSON and the JPG."""


def find_pairs(root: Path) -> tuple[Path, list[Pair | BrokenFile], list[Skipped]]:
    """List the pairs in ``root`` or its subfolder ``imgs``.

    Returns:
        The folder of the pairs; in numerical order the pairs and, for each that is incomplete or has a file twice, its
        problem; the copies and the pictures and JSON files with other names.

    Raises:
        UserError: the folder is missing, cannot be listed, or contains no complete pair.
    """
    root = root.expanduser()
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; set root to the folder of UnityEyes pairs <n>.jpg / <n>.json")
    folder = root / "imgs" if (root / "imgs").is_dir() else root
    try:
        files = sorted(folder.iterdir())
    except OSError as error:
        raise UserError(f"{folder}: cannot be listed ({error.strerror}); make the folder of root readable") from error
    found: dict[str, dict[str, Path]] = {}
    broken: dict[str, BrokenFile] = {}
    copies: list[tuple[Path, str, str]] = []
    others: list[Skipped] = []
    unnamed: dict[str, str] = {}
    for path in files:
        if (match := NAME.fullmatch(path.name)) is None:
            if path.suffix.lower() in OTHER_SUFFIXES and not path.name.startswith("."):
                others.append(Skipped(str(path), "not named <n>.jpg or <n>.json"))
                unnamed[path.stem] = path.name
            continue
        stem, kind = match["stem"], "json" if match["suffix"].lower() == "json" else "jpg"
        if match["copy"] or match["copy_of"]:
            copies.append((path, stem, kind))
        elif other := found.setdefault(stem, {}).get(kind):
            broken[stem] = BrokenFile(path, f"stands beside {other.name}, and only one of them can belong to the pair")
        else:
            found[stem][kind] = path
    for path, stem, kind in copies:
        if original := found.get(stem, {}).get(kind):
            others.append(Skipped(str(path), f"looks like a copy of {original.name}"))
        else:
            broken.setdefault(stem, BrokenFile(path, f"looks like a copy of {stem}.{kind}, which is missing"))
    for stem, kinds in found.items():
        if kinds.keys() == {"jpg"}:
            broken.setdefault(stem, BrokenFile(kinds["jpg"], f"has no {stem}.json beside it"))
        elif kinds.keys() == {"json"}:
            beside = (
                f", but {unnamed[stem]}; the picture must be a JPEG with the suffix .jpg" if stem in unnamed else ""
            )
            broken.setdefault(stem, BrokenFile(kinds["json"], f"has no {stem}.jpg beside it{beside}"))
    pairs = [
        broken[stem] if stem in broken else (found[stem]["json"], found[stem]["jpg"])
        for stem in sorted(found.keys() | broken.keys(), key=lambda stem: (int(stem), stem))
    ]
    if len(broken) == len(pairs):
        problems = [*(pair for pair in pairs if isinstance(pair, BrokenFile)), *others]
        first = f" ({problems[0].path}: {problems[0].reason})" if problems else ""
        raise UserError(
            f"{folder}: no UnityEyes pair <n>.jpg / <n>.json in it{first}; set root to the folder the simulator wrote"
        )
    return folder, pairs, others
