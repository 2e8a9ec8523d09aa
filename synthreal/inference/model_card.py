"""The model card of a saved refiner: a README.md with the YAML front matter of the Hugging Face hub.

Its content comes from config.toml and evaluation.json alone. An evaluation of other weights is left out.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from synthreal.config import LossConfig
from synthreal.errors import UserError
from synthreal.inference.pretrained import CARD, Pretrained
from synthreal.inference.weights import weights_sha256
from synthreal.results.schema import Evaluation, read_evaluations
from synthreal.results.tables import evaluation_tables


def stored_card(folder: Path) -> str | None:
    """The card that ``save_pretrained`` wrote into a folder; None for a run and for any other README.md."""
    path = folder / CARD
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    return text if text.startswith("---\n") and "\nlibrary_name: synthreal\n" in text.partition("\n---\n")[0] else None


def with_licence(card: str, licence: str) -> str:
    """A card with another licence in its front matter. Raises ``UserError`` for a name that is no identifier."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9.+-]*", licence):
        raise UserError(f"licence {licence!r}: give an identifier of the hub, such as mit, cc-by-4.0 or other")
    front, fence, body = card.partition("\n---\n")
    front = re.sub(r"\nlicense:[^\n]*(\n *- [^\n]*)*", "", front) + f"\nlicense: {licence.lower()}"
    return front + fence + body


def with_example(card: str, repository: str) -> str:
    """A card whose example loads the refiner from a repository of the hub."""
    load = f"Refine.from_pretrained({json.dumps(repository)}"
    return re.sub(r'Refine\.from_pretrained\("[^"\n]*"', lambda _: load, card, count=1)


def model_card(about: Pretrained, refiner: nn.Module) -> str:
    """The card of a refiner read from ``about.folder``. Raises ``UserError`` if its evaluation.json is damaged."""
    import jinja2  # here, because most runs are never saved

    sha256, config, schedule = weights_sha256(refiner), about.config, about.config.schedule
    sources = ((role, getattr(config.data, role)) for role in type(config.data).model_fields)
    options = ", ".join(f"{name} {value}" for name, value in config.refiner.options.items())
    recipe = {
        "recipe": config.recipe or "none",
        "plugins": ", ".join(Path(name).name for name in config.plugins) or "none",
        "refiner": f"{config.refiner.name}: {options or 'no options'}",
        "parameters": f"{sum(weight.numel() for weight in refiner.parameters()):,}",
        "discriminator": config.discriminator.name,
        "self-regularization": f"{_weight(config.loss)} on "
        + ", ".join(f"{psi.name} x {psi.weight:g}" for psi in config.features),
        "history": "none" if config.history is None else f"{config.history.size} images",
        "steps": f"{schedule.refiner_steps} of R alone, {schedule.discriminator_steps} of D alone, {schedule.steps} of "
        f"the game, batch {schedule.batch}",
        "seed": config.runtime.seed,
        "weights": f"{'averaged, ' * (about.kind == 'ema')}of step {about.step or 'unknown'}",
    }
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["text"] = _text
    evaluations = [found for found in read_evaluations(about.folder) if sha256 in (found.weights or sha256)]
    card = templates.get_template("model_card.md.j2").render(
        config=config,
        results=hub_results(evaluations, config.data.real.name),
        data=[(role, source.name, source.count or "all, or endless") for role, source in sources if source],
        recipe=recipe.items(),
        estimator=config.evaluation.evaluator and config.evaluation.evaluator.name,
        evaluations=evaluations,
        tables=evaluation_tables,
        versions=about.versions,
        styles=len(about.styles) if about.styles else 0,
    )
    return card.rstrip() + "\n"


def hub_results(evaluations: Sequence[Evaluation], real: str) -> list[dict[str, Any]]:
    """The numbers of the refined images as ``results`` of the hub's ``model-index``.

    For each split, the errors on labelled real images of an estimator that was trained on refined ones. Then, once,
    what is measured without labels, against the unlabelled images of the data set ``real``.
    """
    results = []
    for evaluation in evaluations:
        if evaluation.test is not None and (arm := evaluation.arms.get("refined")) is not None:
            errors = {name: (f"{name}, trained on refined images", metric.mean) for name, metric in arm.metrics.items()}
            results.append(_result(evaluation.test.name, evaluation.split, errors))
    if measured := [found.quality["refined"] for found in evaluations if "refined" in found.quality]:
        quality = measured[0]
        two_sample = None if quality.two_sample is None else quality.two_sample.accuracy
        distances = {
            "kid": ("KID on random features", quality.kid),
            "sliced_wasserstein": ("sliced Wasserstein distance", quality.sliced_wasserstein),
            "spectrum": ("distance of spectra, dB", quality.spectrum),
            "two_sample": ("accuracy of a classifier of refined and real images", two_sample),
            "displacement_px": ("mean displacement of content by refining, px", quality.displacement_px),
        }
        results.append(_result(real, "train", distances))
    return [result for result in results if result["metrics"]]


def _result(dataset: str, split: str, metrics: Mapping[str, tuple[str, float | None]]) -> dict[str, Any]:
    return {
        "task": {"type": "image-to-image"},
        "dataset": {"type": dataset, "name": dataset, "split": split},
        "metrics": [
            {"type": key, "name": name, "value": value}
            for key, (name, value) in metrics.items()
            if value is not None and math.isfinite(value)
        ],
    }


def _weight(loss: LossConfig) -> str:
    """Lambda, or what it is adapted to."""
    if loss.weight == "auto":
        return f"lambda adapted to a displacement of {loss.drift_px:g} px at most,"
    return f"{loss.weight:g}"


def _text(value: object) -> str:
    """Text in one line of Markdown, with pipes, tags and emphasis escaped."""
    line = " ".join(str(value).split())
    return "".join(f"\\{letter}" if letter in "\\|`*<>[]#" else letter for letter in line)
