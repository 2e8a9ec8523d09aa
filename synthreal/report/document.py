"""The HTML page about a run: read the run directory, draw, fill the template, write the file."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from synthreal.device import resolve_device
from synthreal.errors import UserError, require
from synthreal.files import file_start, write_text
from synthreal.report import charts, facts, images
from synthreal.report.drift import measure_drift
from synthreal.report.record import Record, read_record
from synthreal.report.tensorboard import write_events
from synthreal.results.tables import evaluation_tables

PAGE = "report.html"
DOCTYPE = b"<!doctype html>"


def write_report(
    run: str | Path,
    *,
    out: str | Path | None = None,
    device: str = "auto",
    tensorboard: str | Path | None = None,
    trust: bool = False,
    on_refine: Callable[[int], None] = lambda count: None,
) -> Path:
    """Write one HTML file about a run that needs no network and no other file.

    The page names the command that produces whatever the run directory does not hold yet. Needs jinja2 and matplotlib
    (extra ``report``).

    Args:
        run: run directory.
        out: the file; None is ``report.html`` in the run directory. An existing page is replaced.
        device: where to refine the images shown: "auto", "cpu", "cuda" or "cuda:N".
        tensorboard: a folder for the log and the sheets as TensorBoard events (extra ``tensorboard``), or None.
        trust: run the code of plugins that the run names and that are neither installed nor loaded, and read simulated
            images from outside the run directory; without it, the page shows no refined images of such a run, and
            says so.
        on_refine: called with the number of images before they are refined, which may take a minute.

    Returns:
        The file.

    Raises:
        UserError: the folder holds no run, nothing is logged yet, a file is damaged, the target cannot be written, or
            a library is missing.
    """
    require("report", "the report", "jinja2", "matplotlib")
    record = read_record(Path(run))
    target = record.run / PAGE if out is None else Path(out)
    check_target(target)
    resolved = resolve_device(device)
    if tensorboard is not None:
        require("tensorboard", "--tensorboard", "tensorboard")
        write_events(record, Path(tensorboard))
    write_text(target, render(record, resolved, on_refine, trust=trust))
    return target


def check_target(path: Path) -> None:
    """Raise ``UserError`` before any work if the page cannot be written, or would replace a file of another kind."""
    if not path.parent.is_dir():
        raise UserError(f"{path}: {path.parent} is not a folder; make it, or choose another --out")
    if path.is_dir():
        raise UserError(f"{path}: is a folder; name a file in it, for example --out {path / PAGE}")
    if path.exists() and file_start(path, len(DOCTYPE)).lower() != DOCTYPE:
        raise UserError(f"{path}: exists and is no HTML page; delete it or choose another --out")


def render(record: Record, device: torch.device, on_refine: Callable[[int], None], *, trust: bool = False) -> str:
    """The page as HTML; the same run gives the same text."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(Path(__file__).parent)
    templates = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    templates.filters["draw"] = charts.draw
    page = templates.get_template("page.html.j2").render(
        record=record,
        config=record.config,
        summary=facts.summary(record),
        sheets=[
            (step, images.data_url("png", path.read_bytes())) for step, path in images.select_sheets(record.sheets)
        ],
        losses=list(charts.loss_charts(record)),
        quality=list(charts.quality_charts(record)),
        drift=_drift(record, device, on_refine, trust),
        tables_of=evaluation_tables,
        error_charts_of=charts.error_charts,
        data=facts.data_rows(record),
        warnings=facts.warnings(record),
        evaluate=shlex.join(["synthreal", "evaluate", str(record.run)]),
        commands=facts.repeat_commands(record),
    )
    return (page + "\n").encode("utf-8", "backslashreplace").decode("utf-8")  # a path may not be UTF-8


def _drift(record: Record, device: torch.device, on_refine: Callable[[int], None], trust: bool) -> dict[str, Any]:
    """The images that moved most and least, or the reason why there are none."""
    try:
        found = measure_drift(record, device, on_refine, trust=trust)
    except UserError as error:
        return {"missing": str(error)}
    most, least = found.extremes()
    scale = images.difference_scale(found, most + least)
    draw = partial(images.draw_examples, found, scale=scale, colormap=record.config.image.colormap)
    quantiles = torch.quantile(found.distance, torch.tensor([0.5, 0.9, 1.0])).tolist()
    median, p90, maximum = (images.amount_text(value, found.unit) for value in quantiles)
    return {
        "missing": None,
        "measure": found.measure,
        "spread": f"median {median}, 90 % below {p90}, maximum {maximum}",
        "scale": f"{scale:g}",
        "gradient": images.heat_gradient(),
        "groups": [("Moved most", draw(most)), ("Moved least", draw(least))],
    }
