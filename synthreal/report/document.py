"""The page as a file: read the run, draw, fill the template, write it whole or not at all."""

from __future__ import annotations

import statistics
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from synthreal.device import resolve_device
from synthreal.errors import UserError
from synthreal.files import write_text
from synthreal.report import facts
from synthreal.report.arms import arms_table, quality_table
from synthreal.report.commands import judging, reproduction
from synthreal.report.curves import draw
from synthreal.report.drift import Drifted, drifted
from synthreal.report.panels import error_panel, gain_panel, loss_panels, quality_panels
from synthreal.report.record import Record, read_record
from synthreal.report.tensorboard import write_events
from synthreal.report.tiles import amount, chosen_sheets, data_url, heat_css, scale_of, tiles
from synthreal.results.format import UNLABELLED

PAGE = "report.html"
BEGINNING = "<!doctype html>"
_HERE = Path(__file__).parent


def write_report(
    run: str | Path,
    *,
    out: str | Path | None = None,
    device: str = "auto",
    tensorboard: str | Path | None = None,
    on_refine: Callable[[int], None] = lambda count: None,
) -> Path:
    """Write one HTML file about a run, which needs no network and no other file.

    What the run directory does not hold yet is left out, with the command that makes it. Needs jinja2 and matplotlib
    (extra ``report``).

    Args:
        run: run directory.
        out: the file; None is ``report.html`` in the run directory. An older page is replaced.
        device: where to refine the images shown: "auto", "cpu", "cuda" or "cuda:N".
        tensorboard: a folder that receives the log and the sheets for TensorBoard (extra ``tensorboard``), or None.
        on_refine: told how many images are about to be refined, which may take a minute.

    Returns:
        The file.

    Raises:
        UserError: not a run, nothing logged yet, a damaged file, no place to write to, a missing library.
    """
    needed("report", "the report", "jinja2", "matplotlib")
    folder = Path(run)
    record = read_record(folder)
    target = _target(folder / PAGE if out is None else Path(out))
    place = resolve_device(device)
    if tensorboard is not None:
        needed("tensorboard", "--tensorboard", "tensorboard")
        write_events(record, Path(tensorboard))
    write_text(target, render(record, place, on_refine))
    return target


def needed(extra: str, what: str, *libraries: str) -> None:
    """Say what to install where an extra is missing."""
    if not all(find_spec(library) for library in libraries):
        raise UserError(f"{what} needs {' and '.join(libraries)}; pip install 'synthreal[{extra}]'")


def render(record: Record, device: torch.device, on_refine: Callable[[int], None] = lambda count: None) -> str:
    """The page of a run as HTML: the same bytes for the same run."""
    import jinja2
    from markupsafe import Markup

    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["drawn"] = lambda panel, size: Markup(draw(panel, size))  # matplotlib escapes its texts
    script, style = ((_HERE / name).read_text(encoding="utf-8") for name in ("page.js", "page.css"))
    sheets = chosen_sheets(record.sheets)
    page = templates.get_template("page.html.j2").render(
        record=record,
        config=record.config,
        cards=facts.summary(record),
        sheets=[(step, data_url(path.read_bytes())) for step, path in sheets],
        losses=loss_panels(record),
        quality=quality_panels(record),
        moved=_moved(record, device, on_refine),
        judged=[
            (found, arms_table(found), quality_table(found), [error_panel(found), gain_panel(found)])
            for found in record.evaluations
        ],
        unlabelled=UNLABELLED,
        preserved=facts.preserved,
        data=facts.data(record),
        warnings=facts.warnings(record),
        judging=judging(record),
        commands=reproduction(record),
        heat=heat_css(),
        script=Markup(script),
        style=Markup(style),
        digest=b64encode(sha256(script.encode()).digest()).decode("ascii"),
    )
    return page + "\n"


def _moved(record: Record, device: torch.device, on_refine: Callable[[int], None]) -> dict[str, Any]:
    """Worst and best by drift, or why there are none."""
    try:
        found = drifted(record, device, on_refine)
    except UserError as error:
        return {"missing": str(error)}
    scale, colormap = scale_of(found), record.config.image.colormap if record.config.image else None
    return {
        "missing": None,
        "measure": found.measure,
        "spread": _spread(found),
        "scale": f"{scale:g}",
        "groups": [
            (title, tiles(found, rows, scale=scale, colormap=colormap))
            for title, rows in (("Moved most", found.worst), ("Moved least", found.best))
        ],
    }


def _spread(found: Drifted) -> str:
    values = sorted(found.by.tolist())
    ninth = values[min(len(values) - 1, int(0.9 * len(values)))]
    texts = (amount(value, found.unit) for value in (statistics.median(values), ninth, values[-1]))
    return "median {}, nine in ten below {}, at most {}".format(*texts)


def _target(path: Path) -> Path:
    """Where to write, refused before any work is done."""
    if not path.parent.is_dir():
        raise UserError(f"{path}: {path.parent} is not a folder; make it, or choose another --out")
    if path.is_dir():
        raise UserError(f"{path}: is a folder; name a file in it, for example --out {path / PAGE}")
    if path.exists():
        with path.open("rb") as file:
            if file.read(len(BEGINNING)).decode("utf-8", "replace").lower() != BEGINNING:
                raise UserError(f"{path}: exists and is no HTML page; delete it or choose another --out")
    return path
