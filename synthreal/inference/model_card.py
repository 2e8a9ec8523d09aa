"""The model card of a saved refiner: a README.md with the YAML front matter of the Hugging Face hub.

Its content comes from config.toml and evaluation.json alone. An evaluation of other weights is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from torch import nn

from synthreal.config import ResolvedConfig
from synthreal.inference.pretrained import CARD, Pretrained
from synthreal.inference.weights import weights_sha256
from synthreal.results.schema import Evaluation, read_evaluations
from synthreal.results.tables import evaluation_tables

FRONT = """\
---
library_name: synthreal
pipeline_tag: image-to-image
tags:
- synthreal
- simgan
- synthetic-data
- sim-to-real
- domain-adaptation
---
"""


def stored_card(folder: Path) -> str | None:
    """The card that ``save_pretrained`` wrote into a folder; None for a run and for any other README.md."""
    path = folder / CARD
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    return text if text.startswith("---\n") and "\nlibrary_name: synthreal\n" in text.partition("\n---\n")[0] else None


def model_card(about: Pretrained, refiner: nn.Module) -> str:
    """The card of a refiner read from ``about.folder``. Raises ``UserError`` if its evaluation.json is damaged."""
    sha256 = weights_sha256(refiner)
    evaluations = [found for found in read_evaluations(about.folder) if not found.weights or sha256 in found.weights]
    blocks = [*_domain(about.config), *_recipe(about, refiner), *_use(about.config)]
    for evaluation in evaluations:
        blocks += _results(evaluation, about.config)
    if not evaluations:
        blocks += ["## Results", "Not evaluated: `synthreal evaluate` was not run on these weights before saving."]
    versions = _table(("distribution", "version"), about.versions.items())
    blocks += ["## Versions", "The refiner was trained with:", versions]
    return FRONT + "\n" + "\n\n".join(blocks) + "\n"


def _domain(config: ResolvedConfig) -> Iterator[str]:
    image = config.image
    yield f"# {_text(config.recipe) or 'A refiner'}"
    yield (
        "A refiner that makes a simulator's images look real and keeps their labels valid. It was trained with "
        "unlabelled real images: Simulated+Unsupervised learning ([SimGAN](https://arxiv.org/abs/1612.07828)) in "
        "`synthreal`."
    )
    yield "## Domain"
    meaning = f"{_text(image.meaning)}, " if image.meaning else ""
    yield (
        f"Images: {meaning}{image.channels} channel{'s' * (image.channels > 1)}, trained at {image.height} x "
        f"{image.width} px (height x width), stored as {image.dtype}. The refiner is fully convolutional and accepts "
        "other sizes."
    )
    roles = [(role, getattr(config.data, role)) for role in type(config.data).model_fields]
    rows = [
        (role, source.name, "all, or endless" if source.count is None else f"{source.count}")
        for role, source in roles
        if source is not None
    ]
    yield "## Data"
    yield _table(("role", "data set", "images"), rows)
    yield (
        "The refiner was trained on `simulated` and `real`, without labels of real images; the other roles evaluate "
        f'it. "Real" images are those of the data set `{_text(config.data.real.name)}`. The options of the data sets '
        "are in `config.toml`."
    )


def _recipe(about: Pretrained, refiner: nn.Module) -> Iterator[str]:
    config, schedule = about.config, about.config.schedule
    options = ", ".join(f"{name} {value}" for name, value in config.refiner.options.items())
    psi = ", ".join(f"{term.name} x {term.weight:g}" for term in config.features)
    rows = [
        ("recipe", config.recipe or "none"),
        ("plugins", ", ".join(Path(name).name for name in config.plugins) or "none"),
        ("refiner", f"{config.refiner.name}: {options or 'no options'}"),
        ("parameters", f"{sum(weight.numel() for weight in refiner.parameters()):,}"),
        ("discriminator", config.discriminator.name),
        ("self-regularization", f"{config.loss.weight:g} on {psi}"),
        ("history", "none" if config.history is None else f"{config.history.size} images"),
        (
            "steps",
            f"{schedule.refiner_steps} of R alone, {schedule.discriminator_steps} of D alone, "
            f"{schedule.steps} of the game, batch {schedule.batch}",
        ),
        ("seed", f"{config.runtime.seed}"),
        ("weights", f"{'averaged, ' * (about.kind == 'ema')}of step {about.step or 'unknown'}"),
    ]
    yield "## Recipe"
    yield _table(("setting", "value"), rows)
    yield "`config.toml` holds every setting."


def _use(config: ResolvedConfig) -> Iterator[str]:
    yield "## Use"
    yield (
        "```python\nimport torch\n\nimport synthreal\n\n"
        'refine = synthreal.Refine.from_pretrained("path/to/this/folder", device="cpu")\n'
        f"images = torch.rand{(8, *config.image.shape)}  # yours: (B, C, H, W), float in [0, 1] or uint8\n"
        "refined = refine(images)  # same shape and dtype; the labels stay valid\n```"
    )


def _results(evaluation: Evaluation, config: ResolvedConfig) -> Iterator[str]:
    component, runs = config.evaluation.evaluator, len(evaluation.runs)
    estimator = "An estimator" if component is None else f"The estimator `{component.name}`"
    validation = evaluation.split == "validation"
    yield "## Results on the validation split" if validation else "## Results"
    yield (
        f"{estimator} was trained on each set of images with the same budget and tested on real images."
        + " The settings were chosen on this split." * validation
        + f" {runs} fitted runs were evaluated; this refiner is one of them." * (runs > 1)
        + " `real`, trained on labelled real images, is the upper bound." * ("real" in evaluation.arms)
    )
    for table in evaluation_tables(evaluation):
        yield f"### {_text(table.title)}"
        yield _table(table.columns, table.rows)
        yield from map(_text, table.notes)
    if evaluation.preservation is None:
        yield "Label preservation was not measured: the domain has no detector."


def _table(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [tuple(map(_text, columns)), ("---",) * len(columns), *(tuple(map(_text, row)) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _text(words: str) -> str:
    """Text in one line of Markdown, with pipes, tags and emphasis escaped."""
    line = " ".join(words.split())
    return "".join(f"\\{letter}" if letter in "\\|`*<>[]#" else letter for letter in line)
