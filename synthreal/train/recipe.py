"""A run from two folders of pictures, without a plugin: the settings follow from what is in them.

The networks and weights are those of the small recipes of the domains gaze and hands, which were chosen on validation
data; here nothing is measured but time. Four choices differ:

- R takes a noise map: photographs have noise, and plain areas of a render have nothing that R could derive it from.
- R is grey if all renders are, whatever the photographs are, because a file of a grey render stays one.
- Lambda is 16. With 8, drawn signs of 32 px had green digits after 380 steps, and a model trained on them an error of
  63.6 % on photographs; with 16, digits stay black, 60.8 %; adapted (``loss.weight=auto``) 60.9 % (2026-11-30, a seed).
- D sees 15 px of small images, and 23 px of windows of larger ones, whose blur and texture are coarser.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import Any, Literal, NamedTuple

from synthreal.config import ResolvedConfig, RunConfig, SourceConfig
from synthreal.core.discriminator import Layer, conv, pool
from synthreal.data.find_labels import find_labels
from synthreal.data.flatness import swapped
from synthreal.data.picture_labels import PictureLabels
from synthreal.data.pictures import MOST_ENLARGED, PICTURES, PicturesOptions, scaled_sizes
from synthreal.data.survey import Survey, survey
from synthreal.device import resolve_device
from synthreal.errors import UserError
from synthreal.hooks.catalog import Catalog, parse_options
from synthreal.hooks.resolve import resolve
from synthreal.metrics.distances import SIDE
from synthreal.spec import Role
from synthreal.train.data_warnings import FEW
from synthreal.train.labelled import epochs_within, evaluation_settings, label_lines, label_warnings, whole_size
from synthreal.train.messages import picture_lines, picture_warnings
from synthreal.train.timing import (
    QUALITY_REPORTS,
    SET_UP_SECONDS,
    reading_seconds,
    steps_within,
    training_seconds,
    training_time,
)

Scale = Literal["renders", "native"]
Size = tuple[int, int]

LARGEST_WHOLE = 64  # px; larger images are cut into windows
LARGEST_WINDOW = 128
CPU_PATCH = 64
CPU_AREA = 48 * 48  # px of an image or patch, above which the batch is halved
QUALITY_PX = 1 << 20  # of the images that are compared on a CPU
FEWEST_COMPARED = 20  # of images larger than windows
BLURRED = 1.5  # enlargement of photographs that a user should know of
ENLARGED = 0.1  # share of pictures that may be smaller than a window
MOST_WINDOWS = 4096  # of a data set
MOST_VALUES = 1 << 27, 1 << 28  # of its windows together, without labels and with, as each is a whole picture
READING_SHARE = 0.25  # of the time
REFINING_SHARE = 0.25  # of the time, at most, that is left for refining the renders
NARROW = (conv(48, 3, 2), conv(48, 3, 2), conv(32, 3), conv(32, 1))  # sees 15 px
WIDE = (conv(48, 3, 2), conv(48, 3, 2), pool(3, 1), conv(32, 3), conv(32, 1))  # sees 23 px


class Choice(NamedTuple):
    """A run and the messages to print before training: lines about the choice, and warnings."""

    config: ResolvedConfig
    lines: tuple[str, ...]
    warnings: tuple[str, ...]


class _Folder(NamedTuple):
    """A folder of pictures: its role, what is in it, the px of the shorter side to bring them to, and their labels."""

    role: Role
    found: Survey
    scale: int | None
    labels: PictureLabels | None = None


def choose_recipe(
    simulated: Path,
    real: Path,
    catalog: Catalog,
    *differences: Mapping[str, Any],
    scale: Scale = "renders",
    minutes: float = 10.0,
    test: Path | None = None,
    labels: Path | None = None,
    names: tuple[str, ...] = (),
    source: str = "--set",
) -> Choice:
    """The run for a folder of renders and one of photographs; takes some seconds.

    With ``test``, renders and test photographs have labels (:func:`synthreal.data.find_labels.find_labels`), and the
    run an evaluator.

    Args:
        simulated: folder of renders.
        real: folder of photographs.
        catalog: at least the built-in components.
        differences: nested settings that replace those chosen; later ones take precedence.
        scale: "renders" brings the photographs to the median shorter side of the renders; "native" leaves them.
        minutes: time for the whole run on this machine and for refining the renders, for which a quarter of it is left
            at most; at least 100 steps of the game are made.
        test: folder of labelled photographs.
        labels: CSV file of labels.
        names: its columns, or fields of JSON files beside the pictures.
        source: origin of the differences, for messages.

    Raises:
        UserError: a folder without two readable pictures, with pictures of a single colour, or inside another; folders
            that are swapped; photographs far smaller than the renders; labels that cannot be used; a wrong setting.
    """
    start = time.perf_counter()
    data = {"simulated": PICTURES, "real": PICTURES, "test": None if test is None else PICTURES}
    evaluation = {"evaluator": None if test is None else "classification"}  # or another, see below
    draft = RunConfig.from_tree({"data": data, "evaluation": evaluation, "recipe": PICTURES})
    gpu = resolve_device(draft.changed(*differences, source=source).runtime.device).type == "cuda"
    _refuse_overlap([folder for folder in (simulated, real, test) if folder is not None])
    renders = survey(simulated, remedy="give a folder of renders")
    photographs = survey(real, remedy="give a folder of photographs")
    if problem := swapped(simulated, real):
        raise UserError(problem)
    tests = None if test is None else survey(test, remedy="give a folder of labelled photographs")
    labelled = None if test is None else find_labels(simulated, test, labels, names)
    shorter = round(median(map(min, renders.sizes))) if scale == "renders" else None
    factor = 1.0 if shorter is None else shorter / median(map(min, photographs.sizes))
    if factor > MOST_ENLARGED:
        raise UserError(
            f"{real}: its pictures would be enlarged {factor:.0f} times, to {shorter} px, the shorter side of those in "
            f"{simulated}; give --scale native, or smaller renders"
        )
    crop = (
        whole_size(renders.sizes) if labelled else choose_crop(renders.sizes, scaled_sizes(photographs.sizes, shorter))
    )
    channels = 1 if renders.grey == renders.sampled else 3
    deep = all(found.deep == found.sampled for found in (renders, photographs))
    image = {"channels": channels, "height": crop[0], "width": crop[1], "dtype": "uint16" if deep else "uint8"}
    tree, reading = settings(image, gpu=gpu), 0.0
    tree |= {"recipe": PICTURES, "data": {}}
    folders = [
        _Folder("simulated", renders, None, labelled.simulated if labelled else None),
        _Folder("real", photographs, shorter),
    ]
    if tests is not None and labelled is not None:
        folders.append(_Folder("test", tests, None, labelled.test))
    most = max(2, min(MOST_WINDOWS, MOST_VALUES[labelled is not None] // (channels * crop[0] * crop[1])))
    for folder in folders:
        seconds = READING_SHARE * 60 * minutes / len(folders)
        tree["data"][folder.role], spent = _source(folder, crop, most=most, seconds=seconds)
        reading += spent
    evaluating = 0.0
    if labelled is not None:
        files = tree["data"]["simulated"]["options"]["files"] or renders.total
        tree["evaluation"] = evaluation_settings(labelled, files, channels * crop[0] * crop[1])
        planned = _changed(tree, catalog, *differences, source=source)
        if planned.evaluation.evaluator is not None:
            tree["evaluation"]["epochs"], epoch = epochs_within(planned, catalog, labelled, 60 * minutes)
            evaluating = epoch * _changed(tree, catalog, *differences, source=source).evaluation.epochs
    each = training_seconds(_changed(tree, catalog, *differences, source=source), catalog)
    reading += time.perf_counter() - start
    refining = renders.total * sum(height * width for height, width in renders.sizes) / renders.sampled * each.pixel
    left = min(refining, REFINING_SHARE * 60 * minutes)
    phases = steps_within(each, 60 * minutes - reading - evaluating - left)
    tree["schedule"] |= phases
    schedule = _changed(tree, catalog, *differences, source=source).schedule  # with the steps that a user has set
    taken = {name: getattr(schedule, name) for name in phases}
    tree["schedule"] |= dict.fromkeys(("sheet_every", "save_every"), max(1, schedule.steps // 4))
    tree["quality"]["every"] = max(1, -(-schedule.steps // QUALITY_REPORTS))
    config = _changed(tree, catalog, *differences, source=source)
    training = training_time(each, taken) + (QUALITY_REPORTS + 1) * each.quality
    needed = (reading + evaluating + SET_UP_SECONDS + training) / 60
    lines: tuple[str, ...] = picture_lines(config, renders, photographs, shorter, (needed, refining / 60))
    warnings = picture_warnings(renders, photographs, crop, shorter)
    if factor > BLURRED:
        warnings.append(
            f"photographs are enlarged {factor:.1f} times to the scale of the renders, so R learns to blur; make the "
            "renders smaller, or give --scale native"
        )
    if photographs.total < FEW <= photographs.total * tree["data"]["real"]["options"]["crops"]:  # else fit warns
        warnings.append(f"few photographs: {photographs.total}; D can memorise them, give {FEW} or more")
    if needed > minutes:
        what = "the shortest training takes" if taken == phases else "the steps set take"
        warnings.append(f"{what} about {needed:.1f} minutes, more than --minutes {minutes:g}")
    if tests is not None and labelled is not None:
        lines += label_lines(config, labelled, evaluating)
        warnings += label_warnings(labelled, crop, {"renders": renders, "test photographs": tests})
    return Choice(config, lines, tuple(warnings))


def choose_crop(renders: tuple[Size, ...], photographs: tuple[Size, ...]) -> Size:
    """``(height, width)`` of the windows for pictures of these sizes, of which at most a tenth must be enlarged.

    Whole renders if all have one size up to 64 px and photographs cover it; else squares of up to 128 px.
    """
    height, width = renders[0]
    covered = sum(size[0] >= height and size[1] >= width for size in photographs) >= (1 - ENLARGED) * len(photographs)
    if len(set(renders)) == 1 and SIDE <= min(height, width) and max(height, width) <= LARGEST_WHOLE and covered:
        return height, width
    largest = min(sorted(map(min, sizes))[int(ENLARGED * len(sizes))] for sizes in (renders, photographs))
    return (max(SIDE, min(LARGEST_WINDOW, largest)),) * 2


def settings(image: Mapping[str, Any], *, gpu: bool) -> dict[str, Any]:
    """The settings of a run on images of a format, apart from its data and its numbers of steps."""
    shorter, longer = sorted((image["height"], image["width"]))
    small, patch = longer <= LARGEST_WHOLE, None
    if not small and (not gpu or longer > LARGEST_WINDOW):
        patch = min(shorter, LARGEST_WINDOW if gpu else CPU_PATCH)
    area = patch**2 if patch else image["height"] * image["width"]
    fewest = 100 if longer <= LARGEST_WINDOW else FEWEST_COMPARED
    layers: tuple[Layer, ...] = NARROW if shorter <= LARGEST_WHOLE else WIDE
    return {
        "image": {**image, "meaning": "grey pictures" if image["channels"] == 1 else "pictures"},
        "refiner": {
            "name": "resnet",
            "options": {"width": 64 if gpu else 16, "blocks": 4, "padding": "replicate", "noise_channels": 1},
        },
        "discriminator": {"name": "local", "options": {"layers": [layer.model_dump() for layer in layers]}},
        "features": [{"name": "gradients"}, {"name": "identity", "weight": 0.3}],
        "loss": {"weight": 16.0},
        "history": {"size": 3200, "dtype": "float32" if image["dtype"] == "uint16" else "uint8"},
        "schedule": {"batch": 64 if gpu else 16 if area <= CPU_AREA else 8, "patch": patch, "report_every": 25},
        "optimizer": {"refiner": {"learning_rate": 3e-4}, "discriminator": {"learning_rate": 2e-4}},
        "quality": {"images": 500 if gpu else max(fewest, min(200, QUALITY_PX // (shorter * longer)))},
    }


def _changed(tree: Mapping[str, Any], catalog: Catalog, *differences: Mapping[str, Any], source: str) -> ResolvedConfig:
    """The chosen settings with the user's.

    Folders and labels stay those of the command, even if --config is of another run.
    """
    config = RunConfig.from_tree(tree).changed(*differences, source=source)
    roots = {
        role: {"options": {name: given["options"][name] for name in ("root", "labels")}}
        for role, given in tree["data"].items()
        if (source_of := getattr(config.data, role)) is not None and source_of.name == PICTURES
    }
    return resolve(config.changed({"data": roots}), catalog)


def _refuse_overlap(folders: list[Path]) -> None:
    for one, other in combinations(folders, 2):
        real, other_real = one.resolve(), other.resolve()
        if real == other_real:
            raise UserError(f"{one} and {other}: the same folder; give another one for each")
        if real.is_relative_to(other_real) or other_real.is_relative_to(real):
            inner, outer = (one, other) if real.is_relative_to(other_real) else (other, one)
            raise UserError(f"{inner}: lies in {outer}, whose pictures would include it; move it out")


def _source(folder: _Folder, crop: Size, *, most: int, seconds: float) -> tuple[dict[str, Any], float]:
    """The data set of a folder, and the seconds to read it: as many files as can be read, with windows by area."""
    found, labels = folder.found, folder.labels
    given: dict[str, Any] = {"root": str(found.root.absolute()), "crop": list(crop), "scale": folder.scale}
    given["labels"] = None if labels is None else labels.model_dump(mode="json")
    options = parse_options(SourceConfig(name=PICTURES, options=given), PicturesOptions, PICTURES)
    each = reading_seconds(options)
    files = int(min(found.total, most, max(2, seconds / each)))
    area = median(height * width for height, width in scaled_sizes(found.sizes, folder.scale)) / (crop[0] * crop[1])
    crops = max(1, min(round(area), most // files)) if labels is None else 1
    given |= {"crops": crops, "files": files if files < found.total else None}
    return {"name": PICTURES, "options": given}, files * each
