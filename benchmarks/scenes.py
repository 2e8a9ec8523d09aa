"""Large colour pictures: renders of boxes and spheres on a tiled floor, and photographs of other such scenes.

Usage: ``python benchmarks/scenes.py FOLDER [--count 200]``

Writes PNG files of 640x480 px in ``FOLDER/renders`` and JPEG files in ``FOLDER/photographs``. A photograph is rendered
with finer textures and softer shadows, then seen through a camera: blur, vignette, white balance, exposure, noise and
JPEG. Every picture depends on its number alone.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

WIDTH, HEIGHT = 640, 480
SUPER = 2  # renders are drawn with twice the sides, then averaged; the blur of a photograph hides steps
EYE_HEIGHT = 1.6  # above the floor; spheres and boxes are about 1 high
Array = np.ndarray


def rays(width: int, height: int) -> Array:
    """The directions ``(H, W, 3)`` of the pixels of a camera that looks along z and a little down."""
    x, y = np.meshgrid((np.arange(width) + 0.5) / width - 0.5, (np.arange(height) + 0.5) / width - 0.5 * height / width)
    down = np.float32(0.18)
    direction = np.stack([x, -y - down, np.ones_like(x)], -1).astype(np.float32)
    return direction / np.linalg.norm(direction, axis=-1, keepdims=True)


def shade(normal: Array, colour: Array, light: Array) -> Array:
    """Lambert's law: ``colour`` of surfaces with a ``normal`` ``(N, 3)``."""
    return colour * (0.35 + 0.65 * np.clip(normal @ light, 0, None))[:, None]


def texture(points: Array, rng: np.random.Generator, *, fine: bool) -> Array:
    """Brightness of a floor at ``(N, 2)``: square tiles; ``fine`` adds grain and stains."""
    first, second = 0.35 + 0.5 * rng.random(2)
    odd = (np.floor(points / (0.5 + rng.random())).sum(1) % 2).astype(np.float32)
    value = first + (second - first) * odd
    if fine:
        grain = rng.standard_normal((256, 256)).astype(np.float32)
        for scale, strength in ((64, 0.05), (8, 0.08)):
            where = np.floor(points * scale).astype(int) % 256
            value = value + strength * cv2.GaussianBlur(grain, (0, 0), 1.2)[where[:, 0], where[:, 1]] * 2
    return np.clip(value, 0, 1)


def scene(rng: np.random.Generator, *, fine: bool) -> Array:
    """A picture ``(H, W, 3)``, linear in [0, 1]; objects hide what is behind them and cast a round shadow."""
    times = 1 if fine else SUPER
    direction, light = rays(WIDTH * times, HEIGHT * times), np.array([0.5 - rng.random(), 1.0, -0.6], np.float32)
    light = light / np.linalg.norm(light)
    sky = 0.55 + 0.35 * rng.random(3, dtype=np.float32)
    picture = sky * (0.8 + 0.4 * direction[..., 1:2].clip(0, 1))
    picture = np.broadcast_to(picture, direction.shape).copy()
    floor = direction[..., 1] < -0.02
    depth = np.full(floor.shape, np.inf, np.float32)
    depth[floor] = -EYE_HEIGHT / direction[floor][:, 1]
    points = direction[floor] * depth[floor][:, None]
    tint = 0.5 + 0.5 * rng.random(3, dtype=np.float32)
    brightness = texture(points[:, [0, 2]], rng, fine=fine)
    objects = [
        (np.array([6 * rng.random() - 3, 0, 3.5 + 6 * rng.random()], np.float32), 0.3 + 0.5 * rng.random(), sphere)
        for sphere in rng.random(int(rng.integers(4, 9))) < 0.5
    ]
    for centre, size, _ in objects:
        away = np.hypot(points[:, 0] - centre[0] + light[0] * size, points[:, 2] - centre[2] + light[2] * size)
        brightness = brightness * (1 - 0.5 / (1 + np.exp(((away - size) * (6 if fine else 60)).clip(-20, 20))))
    picture[floor] = brightness[:, None] * tint
    haze = np.exp(-0.04 * depth[floor])[:, None]
    picture[floor] = picture[floor] * haze + sky * (1 - haze)
    for centre, size, sphere in objects:
        colour = 0.1 + 0.8 * rng.random(3, dtype=np.float32)
        middle = centre + np.array([0, size - EYE_HEIGHT, 0], np.float32)
        if sphere:
            along = direction @ middle
            inside = along**2 - (middle @ middle - size**2)
            hit = inside > 0
            far = np.where(hit, along - np.sqrt(np.where(hit, inside, 0)), np.inf)
        else:
            with np.errstate(divide="ignore"):
                near = (middle - size) / direction
                other = (middle + size) / direction
            enter, leave = np.minimum(near, other), np.maximum(near, other)
            far = enter.max(-1)
            hit = (far < leave.min(-1)) & (far > 0)
        seen = hit & (far < depth)
        where = direction[seen] * far[seen][:, None] - middle
        if sphere:
            normal = where / size
        else:
            normal = np.zeros_like(where)
            axis = np.abs(where).argmax(-1)
            normal[np.arange(len(axis)), axis] = np.sign(where[np.arange(len(axis)), axis])
        shaded = shade(normal, colour, light)
        if fine:  # worn paint
            shaded = shaded * (0.75 + 0.25 * texture(where[:, :2] * 2 + where[:, 2:] * 1.3, rng, fine=True)[:, None])
        picture[seen], depth[seen] = shaded, far[seen]
    return cv2.resize(picture.clip(0, 1), (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)


def camera(picture: Array, rng: np.random.Generator) -> Array:
    """A photograph of a linear picture: blur, vignette, white balance, exposure, shot noise and a tone curve."""
    picture = cv2.GaussianBlur(picture, (0, 0), 0.7 + 0.6 * rng.random())
    x, y = np.meshgrid(np.linspace(-1, 1, WIDTH), np.linspace(-0.75, 0.75, HEIGHT))
    picture = picture / (1 + (0.25 + 0.2 * rng.random()) * (x**2 + y**2))[..., None] ** 2
    picture = (
        picture * np.array([1.0 + 0.2 * rng.random(), 1.0, 0.75 + 0.15 * rng.random()]) * (0.6 + 0.3 * rng.random())
    )
    picture = picture + rng.standard_normal(picture.shape) * np.sqrt(0.0006 * picture.clip(0, 1) + 0.0001)
    return picture.clip(0, 1)


def stored(picture: Array) -> Image.Image:
    """8 bits, with a gamma of 2.2 for linear values in [0, 1]."""
    return Image.fromarray((255 * picture ** (1 / 2.2) + 0.5).astype(np.uint8))


def write_pair(folders: tuple[Path, Path], index: int) -> None:
    """Write render and photograph number ``index``."""
    renders, photographs = folders
    stored(scene(np.random.default_rng((0, index)), fine=False)).save(renders / f"{index:04d}.png")
    rng = np.random.default_rng((1, index))
    photograph = stored(camera(scene(rng, fine=True), rng))
    photograph.save(photographs / f"{index:04d}.jpg", quality=int(rng.integers(75, 93)))


def write_scenes(folder: Path, count: int) -> tuple[Path, Path]:
    """Write ``count`` renders and photographs; returns their folders."""
    folders = folder / "renders", folder / "photographs"
    for target in folders:
        target.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(max_workers=2) as pool:
        list(pool.map(partial(write_pair, folders), range(count)))
    return folders


def main() -> None:
    """Write both folders."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=200)
    options = parser.parse_args()
    for written in write_scenes(options.folder, options.count):
        print(written)


if __name__ == "__main__":
    main()
