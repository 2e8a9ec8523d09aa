"""The model card of a saved refiner: a README.md with the YAML front matter of the Hugging Face hub.

Its content comes from config.toml and evaluation.json alone. An evaluation of other weights is left out.
"""

from __future__ import annotations

from pathlib import Path

from torch import nn

from synthreal.config import LossConfig
from synthreal.inference.pretrained import CARD, Pretrained
from synthreal.inference.weights import weights_sha256
from synthreal.results.schema import read_evaluations
from synthreal.results.tables import evaluation_tables


def stored_card(folder: Path) -> str | None:
    """The card that ``save_pretrained`` wrote into a folder; None for a run and for any other README.md."""
    path = folder / CARD
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    return text if text.startswith("---\n") and "\nlibrary_name: synthreal\n" in text.partition("\n---\n")[0] else None


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
    card = templates.get_template("model_card.md.j2").render(
        config=config,
        data=[(role, source.name, source.count or "all, or endless") for role, source in sources if source],
        recipe=recipe.items(),
        estimator=config.evaluation.evaluator and config.evaluation.evaluator.name,
        evaluations=[found for found in read_evaluations(about.folder) if sha256 in (found.weights or sha256)],
        tables=evaluation_tables,
        versions=about.versions,
    )
    return card.rstrip() + "\n"


def _weight(loss: LossConfig) -> str:
    """Lambda, or what it is adapted to."""
    if loss.weight == "auto":
        return f"lambda adapted to a displacement of {loss.drift_px:g} px at most,"
    return f"{loss.weight:g}"


def _text(value: object) -> str:
    """Text in one line of Markdown, with pipes, tags and emphasis escaped."""
    line = " ".join(str(value).split())
    return "".join(f"\\{letter}" if letter in "\\|`*<>[]#" else letter for letter in line)
