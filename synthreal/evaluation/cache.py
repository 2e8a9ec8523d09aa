"""Trained estimators, kept by content: the same images, budget and seed are not trained on twice.

``estimators/<arm>-<key>.safetensors``; the key is a hash of everything the weights depend on.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from synthreal.config import EvaluationConfig
from synthreal.core import augment
from synthreal.evaluation import estimator
from synthreal.evaluation.estimator import train
from synthreal.evaluation.training_sets import TrainingSet
from synthreal.files import write_errors
from synthreal.inference.weights import read_metadata, read_weights, write_weights
from synthreal.spec import EvaluatorSpec, ImageSpec

FOLDER = "estimators"
BUDGET = ("evaluator", "images", "epochs", "batch", "learning_rate")


def train_or_load(
    folder: Path,
    arm: str,
    spec: EvaluatorSpec,
    options: Any,
    image: ImageSpec,
    data: TrainingSet,
    config: EvaluationConfig,
    *,
    seed: int,
    autocast: torch.dtype | None,
    versions: Mapping[str, str],
) -> nn.Module:
    """The estimator of :func:`synthreal.evaluation.estimator.train`, read from ``folder`` where it was trained before.

    Args:
        folder: where estimators are kept; made here.
        arm: the name its file begins with.
        spec: the task.
        options: its typed options.
        image: what its images are.
        data: what it is trained on.
        config: the budget.
        seed: see :func:`synthreal.evaluation.estimator.train`.
        autocast: reduced precision, or None.
        versions: of the code that trains.

    Raises:
        UserError: a kept file is damaged, or the folder cannot be written.
    """
    content = _content(spec, image, data, config, seed=seed, autocast=autocast, versions=versions)
    path = _path(folder, arm, content)
    if path.is_file():
        return _read(path, spec, options, image, data.images.device)
    model = train(spec, options, image, data.images, config, seed=seed, autocast=autocast, augment=data.augment)
    with write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_weights(path, model, {"arm": arm, "content": json.dumps(content, sort_keys=True)})
    return model


def load_cached(
    folder: Path,
    arm: str,
    spec: EvaluatorSpec,
    options: Any,
    image: ImageSpec,
    data: TrainingSet,
    config: EvaluationConfig,
    *,
    autocast: torch.dtype | None,
    versions: Mapping[str, str],
) -> nn.Module | None:
    """An estimator that :func:`train_or_load` left in ``folder`` and would use again, of any seed; None without.

    Nothing is trained. Arguments as for :func:`train_or_load`.

    Raises:
        UserError: the kept file is damaged.
    """
    content = _content(spec, image, data, config, seed=0, autocast=autocast, versions=versions)
    for path in sorted(folder.glob(f"{arm}-*.safetensors")):
        words = read_metadata(path, remedy="delete it and evaluate again")
        try:
            seed = int(json.loads(words["content"])["seed"])
        except (KeyError, TypeError, ValueError):
            continue  # of another hand
        if path == _path(folder, arm, {**content, "seed": seed}):
            return _read(path, spec, options, image, data.images.device)
    return None


def _content(
    spec: EvaluatorSpec,
    image: ImageSpec,
    data: TrainingSet,
    config: EvaluationConfig,
    *,
    seed: int,
    autocast: torch.dtype | None,
    versions: Mapping[str, str],
) -> dict[str, Any]:
    """Everything the weights depend on."""
    return {
        "images": data.images.sha256(),
        "augment": None if data.augment is None else data.augment.model_dump(),
        "evaluation": config.model_dump(include=set(BUDGET)),
        "image": {name: value for name, value in asdict(image).items() if name not in ("meaning", "colormap")},
        "seed": seed,
        "device": data.images.device.type,
        "precision": str(autocast),
        "versions": dict(sorted(versions.items())),
        "code": _code(spec),
        "training": [_digest(Path(str(module.__file__))) for module in (estimator, augment)],
    }


def _path(folder: Path, arm: str, content: Mapping[str, Any]) -> Path:
    key = sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:20]
    return folder / f"{arm}-{key}.safetensors"


def _read(path: Path, spec: EvaluatorSpec, options: Any, image: ImageSpec, device: torch.device) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        model = spec.build(options, image)
    read_weights(path, model, described=f"evaluator {spec.name!r}", remedy="delete it and evaluate again")
    return model.to(device).eval()


def _code(spec: EvaluatorSpec) -> list[str]:
    """Hashes of the files that define the task: a plugin may change and keep its version.

    They are the modules of its functions, and of the same package what those modules take from others.
    """
    parts = (spec.build, spec.loss, spec.metrics, spec.augment)
    waiting = {_module(part) for part in parts if part is not None}
    files: dict[str, Path] = {}
    while waiting:
        name = waiting.pop()
        file = getattr(sys.modules.get(name), "__file__", None)
        if name in files or file is None:
            continue
        files[name] = Path(file)
        taken, package = map(_module, vars(sys.modules[name]).values()), name.partition(".")[0]
        waiting |= {other for other in taken if other.partition(".")[0] == package}
    return [_digest(file) for _, file in sorted(files.items()) if file.is_file()]


def _digest(file: Path) -> str:
    return sha256(file.read_bytes()).hexdigest()


def _module(value: Any) -> str:
    """The name of a module, or of the one that something comes from; "" where it does not say."""
    name = getattr(value, "__name__" if isinstance(value, ModuleType) else "__module__", None)
    return name if isinstance(name, str) else ""
