"""The model card of a saved refiner: README.md as the Hugging Face hub reads it, YAML front matter and all.

It says what config.toml and evaluation.json say and nothing else. An evaluation of other weights is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from torch import nn

from synthreal.config import ResolvedConfig
from synthreal.inference.pretrained import CARD, Pretrained
from synthreal.inference.weights import weights_sha256
from synthreal.results.schema import BASE, Arm, Evaluation, Metric, Preservation, read_evaluations

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
    """The card of a folder that ``save_pretrained`` wrote; None of a run and of anybody else's README.md."""
    path = folder / CARD
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    return text if text.startswith("---\n") and "\nlibrary_name: synthreal\n" in text.partition("\n---\n")[0] else None


def model_card(about: Pretrained, refiner: nn.Module) -> str:
    """The card of a refiner that comes from ``about.folder``. Raises ``UserError``: its evaluation.json is damaged."""
    found = [one for one in read_evaluations(about.folder) if not one.weights or weights_sha256(refiner) in one.weights]
    blocks = [*_domain(about.config), *_recipe(about, refiner), *_use(about.config)]
    for evaluation in found:
        blocks += [*_results(evaluation, about.config), *_preservation(evaluation.preservation)]
    if not found:
        blocks += [
            "## Results",
            "Not evaluated: `synthreal evaluate` had not judged these weights when they were saved.",
        ]
    versions = [(name, version) for name, version in about.versions.items()]
    blocks += ["## Versions", "What it was trained with:", _table(("distribution", "version"), versions)]
    return FRONT + "\n" + "\n\n".join(blocks) + "\n"


def _domain(config: ResolvedConfig) -> Iterator[str]:
    image = config.image
    yield f"# {_text(config.recipe) or 'A refiner'}"
    yield (
        "A refiner, trained to make a simulator's images look real while their labels stay true, with unlabelled real "
        "images: Simulated+Unsupervised learning ([SimGAN](https://arxiv.org/abs/1612.07828)) in `synthreal`."
    )
    yield "## Domain"
    meaning = f"{_text(image.meaning)}, " if image.meaning else ""
    yield (
        f"Images: {meaning}{image.channels} channel{'s' * (image.channels > 1)}, trained at {image.height} x "
        f"{image.width} px (height x width), stored as {image.dtype}. It takes other sizes: it is fully convolutional."
    )
    roles = [(role, getattr(config.data, role)) for role in type(config.data).model_fields]
    rows = [
        (role, _text(source.name), "all, or endless" if source.count is None else f"{source.count}")
        for role, source in roles
        if source is not None
    ]
    yield "## Data"
    yield _table(("role", "data set", "images"), rows)
    yield (
        "It was trained on `simulated` and `real`, without the labels of real images; the other roles serve to judge "
        f"it. Real images are here those of the data set `{_text(config.data.real.name)}`. The data sets' options are "
        "in `config.toml`."
    )


def _recipe(about: Pretrained, refiner: nn.Module) -> Iterator[str]:
    config, schedule = about.config, about.config.schedule
    options = ", ".join(f"{name} {value}" for name, value in config.refiner.options.items())
    psi = ", ".join(f"{term.name} x {term.weight:g}" for term in config.features)
    yield "## Recipe"
    yield _table(
        ("setting", "value"),
        [
            ("recipe", _text(config.recipe) or "none"),
            ("plugins", ", ".join(_text(Path(name).name) for name in config.plugins) or "none"),
            ("refiner", f"{config.refiner.name}: {_text(options) or 'no options'}"),
            ("parameters", f"{sum(weight.numel() for weight in refiner.parameters()):,}"),
            ("discriminator", config.discriminator.name),
            ("self-regularization", f"{config.loss.weight:g} on {_text(psi)}"),
            ("history", "none" if config.history is None else f"{config.history.size} images"),
            (
                "steps",
                f"{schedule.refiner_steps} of R alone, {schedule.discriminator_steps} of D alone, "
                f"{schedule.steps} of the game, batch {schedule.batch}",
            ),
            ("seed", f"{config.runtime.seed}"),
            ("weights", f"{'averaged, ' * (about.kind == 'ema')}of step {about.step or 'unknown'}"),
        ],
    )
    yield "`config.toml` holds every setting."


def _use(config: ResolvedConfig) -> Iterator[str]:
    yield "## Use"
    yield (
        "```python\nimport torch\n\nimport synthreal\n\n"
        'refine = synthreal.Refine.from_pretrained("path/to/this/folder", device="cpu")\n'
        f"images = torch.rand{(8, *config.image.shape)}  # yours: (B, C, H, W), float in [0, 1] or uint8\n"
        "refined = refine(images)  # the same shape and dtype; labels stay\n```"
    )


def _results(evaluation: Evaluation, config: ResolvedConfig) -> Iterator[str]:
    component, test, runs = config.evaluation.evaluator, evaluation.test, len(evaluation.runs)
    task = "An estimator" if component is None else f"The estimator `{component.name}`"
    split = "real images" if evaluation.split == "test" else "real images of the validation split, which chose settings"
    yield "## Results" if evaluation.split == "test" else "## Results on the validation split"
    yield (
        f"{task}, trained on each set of images with the same budget, tested on {test.n} {split} ({_text(test.name)})"
        + (f"; mean ± standard deviation over {runs} fitted runs, of which this is one." if runs > 1 else ".")
        + f" Less {_text(evaluation.primary)} is better."
        + " `real` is trained on labelled real images, the upper bound." * ("real" in evaluation.arms)
    )
    base, primary = evaluation.arms[BASE], evaluation.primary
    names = (primary, *(name for name in base.metrics if name != primary))
    compared = any(found.against is not None for found in evaluation.arms.values())
    last = (f"{primary} against simulated (95 % interval)",) if compared else ()
    rows = [("trained on", *map(_text, names), *last)]
    for arm, found in evaluation.arms.items():
        against = (_against(found, base.metrics[primary].mean),) if compared else ()
        rows.append((_text(arm), *(_cell(found.metrics[name]) for name in names), *against))
    constant = (f"{evaluation.constant[name]:.2f}" if name in evaluation.constant else "" for name in names)
    rows.append(("a constant answer", *constant, *("",) * compared))
    yield _table(rows[0], rows[1:])


def _preservation(found: Preservation | None) -> Iterator[str]:
    yield "### Labels"
    if found is None:
        yield "Not measured: the domain has no detector of its own."
        return
    error = "" if found.detector_error_px is None else f" (its own error is {found.detector_error_px:.2f} px)"
    yield (
        f"Refining moves what the domain's detector finds{error} by {found.shift_px.mean:.2f} ± "
        f"{found.shift_px.std:.2f} px; for a shift of 2 px it reads {found.control_px:.2f} px. Mean |R(x) - x| is "
        f"{found.change:.3f}. Over {found.n} images."
    )


def _cell(metric: Metric) -> str:
    return f"{metric.mean:.2f}" + ("" if metric.std is None else f" ± {metric.std:.2f}")


def _against(arm: Arm, start: float) -> str:
    if arm.against is None:
        return ""
    low, high = arm.against.interval
    share = f"{100 * arm.against.difference / start:+.0f} %: " if start else ""
    return f"{share}{arm.against.difference:+.2f} ({low:+.2f} to {high:+.2f})"


def _table(titles: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [titles, ("---",) * len(titles), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _text(words: str) -> str:
    """Words from outside in a line of Markdown: on one line, and no pipe, tag or emphasis among them."""
    line = " ".join(words.split())
    return "".join(f"\\{letter}" if letter in "\\|`*<>[]#" else letter for letter in line)
