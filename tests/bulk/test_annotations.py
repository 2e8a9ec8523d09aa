"""Annotations beside renders stay valid: boxes in COCO, YOLO and Pascal VOC lie on the same objects when refined."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image
from quick import configured, files

from synthreal.bulk.refine import refine_bulk
from synthreal.inference.pretrained import write_config, write_refiner
from synthreal.spec import ImageSpec

CLASSES = ("ball", "crate")
NAMES = ("000.png", "001.png", "002.jpg", "003.png", "004.bmp")
Box = tuple[float, float, float, float]  # left, top, right, bottom in px; right and bottom lie outside


@pytest.fixture(scope="module")
def run(toy, tmp_path_factory):
    """A refiner of colour images that has learned another tone, as a photograph has one."""
    config = configured(toy, "runtime.precision=float32", "refiner.options.width=8")
    config = config.model_copy(update={"image": ImageSpec(channels=3, height=24, width=32)})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        refiner = toy.build_network("refiner", config.refiner, config.image)
        optimizer = torch.optim.Adam(refiner.parameters(), lr=5e-3)
        for _ in range(120):
            image = torch.nn.functional.interpolate(torch.rand(4, 3, 6, 8), size=(24, 32))
            loss = (refiner(image) - (0.2 + 0.5 * image.flip(1))).abs().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    folder = tmp_path_factory.mktemp("run")
    write_config(folder, config, {})
    write_refiner(folder, refiner, step=0, kind="raw")
    return folder


def draw(folder: Path) -> dict[str, tuple[int, Box]]:
    """Pictures of several sizes and formats, each with one bright object; the class and box of each."""
    rng, truth = np.random.default_rng(0), {}
    folder.mkdir(parents=True)
    for number, name in enumerate(NAMES):
        height, width, kind = 40 + 3 * number, 70 - 5 * number, number % 2
        y, x = np.mgrid[:height, :width]
        rows, columns = (np.sort(rng.choice(np.arange(3, side - 3, 9), 2, replace=False)) for side in (height, width))
        (top, bottom), (left, right) = rows.tolist(), columns.tolist()
        inside = (top <= y) & (y < bottom) & (left <= x) & (x < right)
        if CLASSES[kind] == "ball":
            vertical, horizontal = (bottom - top) / 2, (right - left) / 2
            inside = ((y + 0.5 - top) / vertical - 1) ** 2 + ((x + 0.5 - left) / horizontal - 1) ** 2 <= 1
        picture = np.where(inside[..., None], rng.integers(200, 256, 3), rng.integers(0, 60, 3)).astype(np.uint8)
        Image.fromarray(picture).save(folder / name, quality=95)
        truth[name] = kind, (left, top, right, bottom)
    return truth


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.size


def write_coco(root: Path) -> dict[str, tuple[int, Box]]:
    """One JSON for the whole folder; pictures in a folder of their own."""
    truth = {f"images/{name}": value for name, value in draw(root / "images").items()}
    images, annotations = [], []
    for number, (name, (kind, (left, top, right, bottom))) in enumerate(truth.items()):
        width, height = size_of(root / name)
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        box = [left, top, right - left, bottom - top]
        annotations.append({"id": number, "image_id": number, "category_id": kind + 1, "bbox": box})
    categories = [{"id": kind + 1, "name": name} for kind, name in enumerate(CLASSES)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / "instances.json").write_text(json.dumps(content))
    return truth


def read_coco(root: Path) -> dict[str, tuple[int, Box]]:
    content, found = json.loads((root / "instances.json").read_text()), {}
    images = {image["id"]: image for image in content["images"]}
    for annotation in content["annotations"]:
        image, (left, top, width, height) = images[annotation["image_id"]], annotation["bbox"]
        assert size_of(root / image["file_name"]) == (image["width"], image["height"])
        found[image["file_name"]] = annotation["category_id"] - 1, (left, top, left + width, top + height)
    return found


def write_yolo(root: Path) -> dict[str, tuple[int, Box]]:
    """A text beside each picture with class, centre and size as shares of the picture."""
    truth = draw(root)
    (root / "classes.txt").write_text("\n".join(CLASSES))
    for name, (kind, (left, top, right, bottom)) in truth.items():
        width, height = size_of(root / name)
        middle = (left + right) / 2 / width, (top + bottom) / 2 / height
        values = (kind, *middle, (right - left) / width, (bottom - top) / height)
        (root / name).with_suffix(".txt").write_text(" ".join(map(str, values)))
    return truth


def read_yolo(root: Path) -> dict[str, tuple[int, Box]]:
    assert (root / "classes.txt").read_text().split() == list(CLASSES)
    found = {}
    for name in NAMES:
        kind, *shares = (root / name).with_suffix(".txt").read_text().split()
        (x, y, across, down), (width, height) = map(float, shares), size_of(root / name)
        found[name] = (
            int(kind),
            ((x - across / 2) * width, (y - down / 2) * height, (x + across / 2) * width, (y + down / 2) * height),
        )
    return found


def write_voc(root: Path) -> dict[str, tuple[int, Box]]:
    """An XML beside each picture; its pixels count from 1, and the largest belong to the box."""
    truth = draw(root)
    for name, (kind, (left, top, right, bottom)) in truth.items():
        width, height = size_of(root / name)
        (root / name).with_suffix(".xml").write_text(
            f"<annotation><filename>{name}</filename><size><width>{width}</width><height>{height}</height>"
            f"<depth>3</depth></size><object><name>{CLASSES[kind]}</name><bndbox><xmin>{left + 1}</xmin>"
            f"<ymin>{top + 1}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox></object></annotation>"
        )
    return truth


def read_voc(root: Path) -> dict[str, tuple[int, Box]]:
    def numbers(node: ElementTree.Element, *names: str) -> list[int]:
        return [int(node.findtext(f".//{name}", "")) for name in names]

    found = {}
    for path in root.glob("*.xml"):
        node = ElementTree.parse(path).getroot()
        name = node.findtext("filename", "")
        assert size_of(root / name) == tuple(numbers(node, "width", "height"))
        left, top, right, bottom = numbers(node, "xmin", "ymin", "xmax", "ymax")
        found[name] = CLASSES.index(node.findtext(".//object/name", "")), (left - 1, top - 1, right, bottom)
    return found


def bright_box(path: Path) -> Box:
    """The box of what is brighter than the middle between the darkest and the brightest pixel."""
    with Image.open(path) as picture:
        grey = np.asarray(picture.convert("L")).astype(float)
    rows, columns = np.nonzero(grey > (np.percentile(grey, 1) + np.percentile(grey, 99)) / 2)
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


FORMATS = {"coco": (write_coco, read_coco), "yolo": (write_yolo, read_yolo), "voc": (write_voc, read_voc)}


@pytest.mark.parametrize("form", FORMATS)
def test_boxes_lie_on_the_same_objects_of_refined_pictures(run, tmp_path, form):
    write, read = FORMATS[form]
    before, after = tmp_path / "in", tmp_path / "out"
    truth = write(before)
    done = refine_bulk(run, before, after)
    assert (done.refined, done.failed) == (len(NAMES), ())
    assert files(after) == files(before)
    annotations = read(after)
    assert annotations.keys() == truth.keys()
    for name, (kind, box) in annotations.items():
        assert kind == truth[name][0]
        assert (before / name).read_bytes() != (after / name).read_bytes()
        assert bright_box(before / name) == pytest.approx(box, abs=1)
        assert bright_box(after / name) == pytest.approx(box, abs=1)
    for name in set(files(before)) - truth.keys():
        assert (after / name).read_bytes() == (before / name).read_bytes()
