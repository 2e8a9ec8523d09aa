"""What a folder of pictures or a pack contains, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

from synthreal.check.labels import LabelRange
from synthreal.spec import Role

LIKE = 0.5  # share of images that may hardly differ from earlier ones
UNEQUAL = 10  # how often as many images as the smallest folder the largest may have
SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class Contents:
    """The contents of one path.

    Attributes:
        path: the folder or pack.
        role: the role that a pack records; None for a folder.
        images: number of readable images.
        sizes: number of images by size, "height x width" in px, the most common first.
        modes: the same by mode (grey, grey with alpha, RGB, RGBA).
        depths: the same by depth (8 bit, 16 bit, 16-bit float).
        folders: the same by first sub-folder, such as the folder of a class; "." for none.
        brightness: the lowest, mean and highest mean of an image, in [0, 1].
        contrast: the lowest, mean and highest standard deviation of an image in grey, reduced to 64x64 px.
        constant: names of the nearly constant images.
        duplicates: images with the pixels of an earlier one, and the name of that.
        near_duplicates: images that are nearly equal to an earlier one, and the name of that; of more than 50,000
            images a random choice is compared.
        turned: number of images that EXIF or a TIFF tag turns.
        several: number of files that hold several pictures, of which the first is read.
        left_out: files that cannot be read, copies, and pictures of formats that are not read, each with its reason.
        sidecars: number of files that belong to a picture, by suffix.
        lone_sidecars: files that belong to a picture that is missing.
        others: number of all other files by suffix.
        labels: ranges of the labels of a pack, or of the numbers in JSON sidecars.
        findings: what is wrong, one line each with the remedy.
    """

    path: str
    role: Role | None
    images: int
    sizes: dict[str, int]
    modes: dict[str, int]
    depths: dict[str, int]
    folders: dict[str, int]
    brightness: tuple[float, float, float]
    contrast: tuple[float, float, float]
    constant: tuple[str, ...]
    duplicates: dict[str, str]
    near_duplicates: dict[str, str]
    turned: int
    several: int
    left_out: dict[str, str]
    sidecars: dict[str, int]
    lone_sidecars: tuple[str, ...]
    others: dict[str, int]
    labels: dict[str, LabelRange]
    findings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON."""
        return asdict(self)


def examples(names: Iterable[str]) -> str:
    """The first three names, for messages."""
    first = list(islice(names, SHOWN + 1))
    return ", ".join(first[:SHOWN]) + ", ..." * (len(first) > SHOWN)


def pairs(same: Mapping[str, str]) -> str:
    """The first three pairs of images, for messages."""
    return examples(f"{name} = {other}" for name, other in same.items())


def content_findings(found: Contents, role: Role | None) -> list[str]:
    """What is wrong with the contents of one path, one line each with the remedy; ``role`` is that in a pair."""
    path, share_of, findings = found.path, f"of {found.images} images", []
    if out := found.left_out:
        shown = "; ".join(f"{name}: {reason}" for name, reason in islice(out.items(), SHOWN)) + "; ..." * (
            len(out) > SHOWN
        )
        findings.append(f"{path}: {len(out)} files are left out: {shown}")
    if names := found.constant:
        findings.append(f"{path}: {len(names)} {share_of} are nearly constant ({examples(names)}); remove them")
    if same := found.duplicates:
        findings.append(f"{path}: {len(same)} {share_of} are equal to an earlier one ({pairs(same)}); remove them")
    if len(like := found.near_duplicates) > LIKE * found.images:
        findings.append(
            f"{path}: {len(like)} {share_of} hardly differ from an earlier one ({pairs(like)}), so the set shows less "
            "than its size suggests; remove frames that hardly differ, and add other scenes"
        )
    if found.several:
        findings.append(
            f"{path}: {found.several} {share_of} hold several pictures; training uses the first, `refine` leaves them "
            "out; save each picture in a file of its own"
        )
    if found.turned and role == "simulated":  # photographs are turned for training
        findings.append(
            f"{path}: EXIF turns {found.turned} {share_of}, but they are refined as they are stored; save them upright"
        )
    if len(counts := {name: count for name, count in found.folders.items() if name != "."}) > 1:
        fewest, most = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
        if counts[most] > UNEQUAL * counts[fewest]:
            findings.append(
                f"{path}: the folder {most} has {counts[most]} images, {fewest} only {counts[fewest]}; if folders are "
                "classes, add images to small ones or remove some of large ones"
            )
    if names := found.lone_sidecars:
        findings.append(
            f"{path}: {len(names)} sidecars have no picture ({examples(names)}); restore their pictures or remove them"
        )
    for name, label in found.labels.items():
        if label.not_finite:
            findings.append(
                f"{path}: label {name} of {label.not_finite} {share_of} is NaN or infinite; correct or remove them"
            )
        if label.constant and found.role is not None:  # sidecars also hold numbers that are no labels
            findings.append(f"{path}: label {name} is the same for all images; check the reader that wrote the pack")
    return findings
