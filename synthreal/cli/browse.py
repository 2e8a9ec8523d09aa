"""Commands whose results are shown in a browser."""

from __future__ import annotations

import shlex
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from synthreal.cli import options
from synthreal.cli.application import app
from synthreal.cli.options import display, print_line
from synthreal.errors import UserError, require

if TYPE_CHECKING:
    from synthreal.turing.answers import Answer, Answers

Against = Literal["refined", "simulated"]


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="Run directory.")],
    out: Annotated[Path | None, typer.Option(metavar="FILE.html", help="Page; default: RUN/report.html.")] = None,
    device: options.Device = "auto",
    tensorboard: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for TensorBoard, to which the log and sheets are also written."),
    ] = None,
    trust: options.Trust = False,
) -> None:
    """Write an HTML page about a run. It shows images, curves, the table of arms and how to reproduce the run."""
    from synthreal.report import write_report

    page = write_report(run, out=out, device=device, tensorboard=tensorboard, trust=trust, on_refine=_print_count)
    print_line(f"{page}: open it in a browser")
    if tensorboard is not None:
        print_line(f"{tensorboard}: for tensorboard --logdir {shlex.quote(str(tensorboard))}")


@app.command()
def turing(
    run: Annotated[Path, typer.Argument(help="Run directory.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the server; 0 takes a free one.")] = 8765,
    images: Annotated[int, typer.Option(min=1, max=1000, help="Images of each kind that a rater judges.")] = 50,
    against: Annotated[Against, typer.Option(help="Synthetic images: refined, or simulated as a control.")] = "refined",
    host: Annotated[str, typer.Option(help="Address to bind; with 0.0.0.0 other machines can answer.")] = "127.0.0.1",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the choice and order of images.")] = 0,
    device: options.Device = "auto",
    trust: options.Trust = False,
    summary: Annotated[bool, typer.Option("--summary", help="Print the answers so far instead of serving.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Serve a visual Turing test. Can people tell refined images from real ones?"""
    from synthreal.cli.tables import turing_table
    from synthreal.turing.answers import FILE, Answers
    from synthreal.turing.summary import in_a_line, summarise

    answers = Answers(run / FILE)
    if summary:
        if not run.exists():
            raise UserError(f"{run}: no such folder; give a run directory")
        result = summarise(_read(answers))
        if not result["raters"]:
            command = f"synthreal turing {shlex.quote(str(run))}"
            raise UserError(f"{answers.path}: no answers yet; serve the study with: {command}")
        display(result if as_json else turing_table(result))
        return
    if as_json:
        raise UserError("--json prints the summary; add --summary")
    require("web", "the visual Turing test", "starlette", "uvicorn", "jinja2")
    from synthreal.turing.pictures import choose_images
    from synthreal.turing.server import address, listen, server_of
    from synthreal.turing.study import Study

    with listen(host, port) as listener:
        pool = choose_images(
            run, against=against, images=images, seed=seed, device=device, on_refine=_print_count, trust=trust
        )
        answers.prepare()
        server = server_of(Study(pool, answers, against=against, images=images, seed=seed), host=host)
        url, reachable = address(listener, host)
        if reachable:
            print_line("notice: other machines can reach this server and answer", err=True)
        print_line(f"open {url} in a browser; stop with Ctrl-C")
        with suppress(KeyboardInterrupt):
            server.run(sockets=[listener])
    print_line(f"{in_a_line(summarise(_read(answers)))}; in {answers.path}")


def _read(answers: Answers) -> list[Answer]:
    valid = answers.read()
    if answers.damaged:
        print_line(f"{answers.path}: {answers.damaged} damaged lines skipped", err=True)
    return valid


def _print_count(count: int) -> None:
    print_line(f"refining {count} images", err=True)
