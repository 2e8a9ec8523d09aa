"""Writers of small data sets in the exact formats of UnityEyes and MPIIGaze, and readers of the former."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from synthreal import Sample, UserError
from synthreal_gaze.unityeyes import UnityEyesOptions, read_unityeyes

Tree = dict[str, Any]


def simple_json(value: Any, depth: int = 0) -> str:
    """Text in the style of SimpleJSON: spaces before newlines, closing brackets indented like children."""
    if isinstance(value, str):
        return f'"{value}"'
    indent = "\n" + "  " * (depth + 1)
    if isinstance(value, dict):
        parts = [f'"{key}": {simple_json(child, depth + 1)}' for key, child in value.items()]
    else:
        parts = [simple_json(child, depth + 1) for child in value]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return f"{opening} {indent}{(', ' + indent).join(parts)}{indent}{closing}"


def _f4(*numbers: float) -> str:
    return "(" + ", ".join(f"{number:.4f}" for number in numbers) + ")"


def iris_centre(size: tuple[int, int], look: tuple[float, float, float]) -> tuple[float, float, float]:
    """The iris's (x, row, depth): 1.05 units along ``look`` from the eyeball's centre, 10 units from the camera."""
    right, up, ahead = 1.05 * np.array(look) / np.linalg.norm(look)
    focal, depth = size[1] / 2 / np.tan(np.radians(22.5)), 10 + ahead
    return size[0] / 2 + focal * right / depth, size[1] / 2 - focal * up / depth, depth


def annotation(
    size: tuple[int, int] = (640, 480),
    centre: tuple[float, float] = (320.0, 240.0),
    look: tuple[float, float, float] = (0.6, 0.0, -0.8),
    head: tuple[float, float] = (351.3264, 186.0421),
) -> Tree:
    """One annotation; ``centre`` is the lids' (x, row) from the top, written with y up as the simulator does."""
    height = size[1]
    unit = height / 480
    lids = centre[0], height - centre[1]
    x, row, depth = iris_centre(size, look)

    def ring(count: int, x: float, y: float, middle: tuple[float, float] = lids, depth: float = 9.6326) -> list[str]:
        """A ring from the inner (left) corner over the upper lid, y up."""
        angles = np.pi - 2 * np.pi * np.arange(count) / count
        return [_f4(middle[0] + x * unit * np.cos(a), middle[1] + y * unit * np.sin(a), depth) for a in angles]

    return {
        "interior_margin_2d": ring(16, 50.0, 20.0),
        "caruncle_2d": ring(7, 60.0, 5.0),
        "iris_2d": ring(32, 18.0, 18.0, (x, height - row), depth),
        "eye_details": {
            "look_vec": _f4(*look, 0.0),
            "pupil_size": "-0.03127146",
            "iris_size": "0.9434691",
            "iris_texture": "eyeball_brown",
        },
        "lighting_details": {
            "skybox_texture": "cabin_2k",
            "skybox_exposure": "1.105297",
            "skybox_rotation": "322",
            "ambient_intensity": "0.9168728",
            "light_rotation": "(83.9, 171.4, 0.0)",
            "light_intensity": "0.7831727",
        },
        "eye_region_details": {
            "pca_shape_coeffs": [f"{0.01 * number:.8G}" for number in range(20)],
            "primary_skin_texture": "m03_color",
        },
        "head_pose": _f4(*head, 0.0),
    }


def gradient(size: tuple[int, int]) -> np.ndarray:
    """A picture ``(H, W)`` uint8 whose grey level encodes the position."""
    x, y = np.meshgrid(np.linspace(0, 1, size[0]), np.linspace(0, 1, size[1]))
    return np.rint(60 + 100 * x + 60 * y).astype(np.uint8)


def to_bytes(image: torch.Tensor) -> np.ndarray:
    """Grey levels 0 to 255, uint8, of an image in [0, 1]."""
    return (image.clamp(0, 1) * 255).round().byte().numpy()


def equalize_hist(level: np.ndarray) -> np.ndarray:
    """The formula of OpenCV's ``equalizeHist`` for one uint8 image with at least two levels."""
    count = np.bincount(level.ravel(), minlength=256)
    first = count[level.min()]
    scale = np.float32(255) / np.float32(level.size - first)
    table = np.rint((np.cumsum(count) - first).clip(0).astype(np.float32) * scale)
    return table.astype(np.uint8)[level]


def write_pair(folder: Path, number: int | str, tree: Tree | None = None, size: tuple[int, int] = (640, 480)) -> None:
    """Write ``<number>.jpg`` (RGB) and ``<number>.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(gradient(size)).convert("RGB").save(folder / f"{number}.jpg", quality=95, subsampling=0)
    text = simple_json(annotation(size) if tree is None else tree)
    (folder / f"{number}.json").write_bytes(text.encode())


def write_day(path: Path, n: int, seed: int = 0) -> tuple[Tree, Tree]:
    """Write one MPIIGaze ``dayNN.mat`` with ``n`` samples per eye; return the written data (left, right).

    The layout is the author's: ``data`` with ``left`` and ``right``, each ``gaze``, ``image``, ``pose`` in that order,
    and ``filenames`` as an (n, 1) cell.
    """
    from scipy.io import savemat

    random = np.random.default_rng(seed)
    eyes = []
    for _ in range(2):
        gaze = random.normal((0.1, 0.15, -1.0), 0.15, (n, 3))
        pose = random.normal(0.0, 0.3, (n, 3))
        image = random.integers(0, 256, (n, 36, 60), dtype=np.uint8)
        eyes.append({"gaze": gaze / np.linalg.norm(gaze, axis=1, keepdims=True), "image": image, "pose": pose})
    filenames = np.empty((n, 1), dtype=object)
    filenames[:, 0] = [f"{number + 1:04d}.jpg" for number in range(n)]
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"data": {"left": eyes[0], "right": eyes[1]}, "filenames": filenames})
    return eyes[0], eyes[1]


def write_people(root: Path) -> None:
    """Write ``p00`` to ``p14`` below ``root``, one day with two samples per eye each."""
    for person in range(15):
        write_day(root / f"p{person:02d}" / "day01.mat", 2, seed=person)


def read_eyes(root: Path, **settings: Any) -> list[Sample]:
    """All samples of a UnityEyes folder in which nothing is skipped."""
    items = list(read_unityeyes(UnityEyesOptions(root=root, **settings)))
    assert all(isinstance(item, Sample) for item in items)
    return items  # type: ignore[return-value]


def refusal(root: Path, **settings: Any) -> str:
    """The one line that refuses a UnityEyes folder before the first sample."""
    with pytest.raises(UserError) as caught:
        next(read_unityeyes(UnityEyesOptions(root=root, **settings)))
    assert "\n" not in str(caught.value)
    return str(caught.value)
