"""The command that does everything for two folders of pictures: fit, refine, evaluate and report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from synthreal.cli import folders, options
from synthreal.cli.application import app
from synthreal.cli.browse import report
from synthreal.cli.judge import evaluate
from synthreal.cli.options import print_line, resumable
from synthreal.cli.refiner import refine
from synthreal.cli.training import continue_run, saved_text, start_pictures, train
from synthreal.errors import UserError, require

ARMS = "simulated,refined,versions,fda,histogram"


@app.command()
def adapt(
    renders: Annotated[Path, typer.Argument(metavar="RENDERS", help="Folder of renders.")],
    photographs: Annotated[Path, typer.Argument(metavar="PHOTOS", help="Folder of photographs, without labels.")],
    out: Annotated[
        Path,
        typer.Argument(metavar="OUT", help="Folder for the refined renders; OUT.job.json says how they were made."),
    ],
    run: Annotated[Path, typer.Option(help="Run directory.")] = Path("runs") / folders.NAME,
    minutes: folders.Minutes = None,
    scale: folders.Scale = None,
    test: folders.Test = None,
    labels: folders.Labels = None,
    label: folders.Label = None,
    settings: options.Settings = None,
    log: options.Log = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT.")] = False,
) -> None:
    """Make renders look like photographs. Trains a refiner, refines every render into OUT, and says whether it helps.

    It is `fit --simulated RENDERS --real PHOTOS`, `refine RUN RENDERS OUT`, `evaluate RUN` and `report RUN` in one. Run
    it again to continue after an interruption. With --test, models trained on the renders, the refined renders, three
    versions of them and two styles are compared on labelled photographs.
    """
    from synthreal.bulk.result import Destination
    from synthreal.distributed.processes import SINGLE_PROCESS
    from synthreal.train.checkpoint import checkpoints, step_of
    from synthreal.train.loggers import require_loggers

    require("report", "adapt", "matplotlib")
    require_loggers(log or ())
    pictures = folders.two_folders(renders, photographs, scale, minutes, test, labels, label, domain=False)
    assert pictures is not None, "two folders are given"
    with resumable():
        plan = None
        if saved := checkpoints(run):
            plan = continue_run(run, None, pictures, None, settings, trust=False)
        complete = plan is not None and step_of(saved[-1]) == plan.config.schedule.total
        for folder in (photographs, test):
            if folder is not None and out.resolve().is_relative_to(folder.resolve()):
                raise UserError(f"{out}: lies in {folder}, whose pictures would include it; choose another place")
        Destination.resolve(out, renders, run, overwrite).check_folder(refined=complete)  # before training, not after
        plan = plan or start_pictures(pictures, run, None, settings, SINGLE_PROCESS, trust=False)
        print_line(saved_text(plan, train(plan, SINGLE_PROCESS, log or ())))
        device = plan.config.runtime.device
        refine(run, renders, out, device=device, overwrite=overwrite)
        evaluate([run], arms=ARMS, device=device)
        report(run, device=device)
