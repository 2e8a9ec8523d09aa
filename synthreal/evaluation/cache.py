"""Trained estimators on disk, so that nothing is trained twice.

A file is ``<arm>-<key>.safetensors``; the key is a hash of the configuration, the data, the seed and the versions. An
estimator whose code changes under the same version is not noticed: delete the folder after editing an installed plugin.
The version of a plugin given as a file is a hash of its content.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import nn

from synthreal.evaluation.estimator import Task, train
from synthreal.evaluation.self_training import label_images
from synthreal.evaluation.training_sets import TEACHER, TrainingSet
from synthreal.files import refuse_link, write_errors
from synthreal.inference.weights import read_metadata, read_weights, write_weights

FOLDER = "estimators"
BUDGET = ("evaluator", "images", "epochs", "batch", "learning_rate")
REMEDY = "delete it and evaluate again"


def train_or_load(folder: Path, arm: str, task: Task, data: TrainingSet, *, seed: int) -> nn.Module:
    """Train an estimator, after its teacher if it has one, or read it if ``folder`` holds it.

    Raises:
        UserError: the file is damaged, or the teacher cannot label images.
    """
    if data.photographs is not None:
        teacher = train_or_load(folder, arm.removesuffix(TEACHER), task, replace(data, photographs=None), seed=seed)
        like = data.images.labels[task.spec.requires[0].name]
        data = replace(data, photographs=label_images(task.spec, teacher, data.photographs, like))
    content = {**_content(task, data), "seed": seed}
    path = _path(folder, arm, content)
    if path.is_file():
        return _read(path, task, data.images.device)
    model = train(
        task,
        data.images,
        seed=seed,
        augment=data.augment,
        versions=data.versions,
        photographs=data.photographs,
    )
    refuse_link(folder)
    with write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_weights(path, model, {"arm": arm, "content": json.dumps(content, sort_keys=True)})
    return model


def load_cached(folder: Path, arm: str, task: Task, data: TrainingSet) -> nn.Module | None:
    """Read an estimator that :func:`train_or_load` saved, of any seed; None if there is none."""
    content = _content(task, data)
    for path in sorted(folder.glob(f"{arm}-*.safetensors")):
        metadata = read_metadata(path, remedy=REMEDY)
        try:
            seed = int(json.loads(metadata["content"])["seed"])
        except (KeyError, TypeError, ValueError):
            continue  # not written by synthreal
        if path == _path(folder, arm, {**content, "seed": seed}):
            return _read(path, task, data.images.device)
    return None


def _content(task: Task, data: TrainingSet) -> dict[str, Any]:
    """Everything but the seed that the weights depend on."""
    return {
        "images": data.images.sha256(),
        "augment": None if data.augment is None else data.augment.model_dump(),
        "evaluation": task.budget.model_dump(include=set(BUDGET)),
        "image": {name: value for name, value in asdict(task.image).items() if name not in ("meaning", "colormap")},
        "device": data.images.device.type,
        "precision": task.precision,
        "layout": task.layout,
        "versions": dict(task.versions),
        **({} if data.versions == 1 else {"image_versions": data.versions}),  # files without these stay valid
        **({} if data.photographs is None else {"photographs": data.photographs.sha256()}),
    }


def _path(folder: Path, arm: str, content: Mapping[str, Any]) -> Path:
    key = sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:20]
    return folder / f"{arm}-{key}.safetensors"


def _read(path: Path, task: Task, device: torch.device) -> nn.Module:
    model = task.build(device)
    read_weights(path, model, described=f"evaluator {task.spec.name!r}", remedy=REMEDY)
    return model.eval()
