"""The command that does everything for two folders of pictures: fit, refine and report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from synthreal.cli import folders, options
from synthreal.cli.application import app
from synthreal.cli.browse import report
from synthreal.cli.options import print_line
from synthreal.cli.refiner import fit, refine


@app.command()
def adapt(
    renders: Annotated[Path, typer.Argument(metavar="RENDERS", help="Folder of renders.")],
    photographs: Annotated[Path, typer.Argument(metavar="PHOTOS", help="Folder of photographs, without labels.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for the refined renders; must not exist.")],
    run: Annotated[Path, typer.Option(help="Run directory.")] = Path("runs") / folders.NAME,
    minutes: folders.Minutes = None,
    scale: folders.Scale = None,
    settings: options.Settings = None,
) -> int:
    """Make renders look like photographs. Trains a refiner, refines every render into OUT, and writes a page.

    It is `fit --simulated RENDERS --real PHOTOS`, `refine RUN RENDERS OUT` and `report RUN` in one. Run it again to
    continue after an interruption.
    """
    from synthreal.bulk.result import Destination
    from synthreal.train.best import describe_best
    from synthreal.train.checkpoint import checkpoints

    Destination.resolve(out, renders, run, False).refuse_other_folder()  # before the training, not after it
    if code := fit(
        settings=settings,
        run=run,
        resume=bool(checkpoints(run)),
        simulated=renders,
        real=photographs,
        scale=scale,
        minutes=minutes,
    ):
        return code
    refine(run, renders, out)
    report(run)
    print_line(describe_best(run))
    return 0
