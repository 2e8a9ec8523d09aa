"""The command line: every command parses, calls one library function and prints.

Results go to stdout, progress and errors to stderr. Bad input is one line and exit code 2. Heavy libraries are
imported inside the commands, so that ``--help`` is instant.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from synthreal.errors import UserError

if TYPE_CHECKING:
    from synthreal.config import RunConfig
    from synthreal.hooks.catalog import Catalog
    from synthreal.web.answers import Answer, Answers

WIDE = 200

app = typer.Typer(
    help="Make simulated images look real with unlabelled real ones, and keep every label true (S+U learning, SimGAN).",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)

Plugins = Annotated[
    list[str] | None,
    typer.Option("--plugin", help="A domain: its name, package.module or path/to/domain.py; repeatable."),
]
Recipe = Annotated[str | None, typer.Option(help="A recipe of the plugin; default: the one named like it.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="A TOML file of differences over the recipe.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="dotted.key=value over recipe and file; the value is TOML; repeatable."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Split = Literal["test", "validation"]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Against = Literal["refined", "simulated"]


@app.command()
def plugins(as_json: Json = False) -> None:
    """List installed plugins and what each registers."""
    from synthreal.hooks.catalog import inventory
    from synthreal.run.table import plugins_table

    rows = inventory()
    _show(rows if as_json else plugins_table(rows))


@app.command()
def show(plugin: Plugins = None, recipe: Recipe = None, config: ConfigFile = None, settings: Settings = None) -> None:
    """Print the resolved configuration as TOML."""
    catalog = _catalog(plugin)
    typer.echo(_configured(catalog, recipe, config, settings).to_toml(), nl=False)


@app.command()
def prepare(
    dataset: Annotated[str, typer.Argument(help="Name of a data set of the plugin, or folder, or pack.")],
    out: Annotated[Path, typer.Argument(help="The pack to write (.h5); must not exist.")],
    plugin: Plugins = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="option=value of the data set; repeatable.")
    ] = None,
    role: Annotated[str | None, typer.Option(help="simulated, real, real_labelled, validation or test.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Images at most; needed for a simulator.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of a simulator.")] = 0,
    device: Device = "auto",
) -> None:
    """Write any data set, read or drawn, as a pack."""
    from synthreal.run.prepare import prepare as run
    from synthreal.run.progress import counting

    with counting("preparing") as advance:
        summary = run(
            _catalog(plugin),
            dataset,
            out,
            settings=settings or (),
            role=role,
            limit=limit,
            seed=seed,
            device=device,
            on_progress=advance,
        )
    _skipped(summary.skipped)
    typer.echo(f"{summary.path}: {summary.n} images")


@app.command()
def fit(
    plugin: Plugins = None,
    recipe: Recipe = None,
    config: ConfigFile = None,
    settings: Settings = None,
    run: Annotated[Path | None, typer.Option("--run", help="Run directory; default runs/<recipe>.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in the directory.")] = False,
) -> None:
    """Train a refiner: R alone, D alone, then the game."""
    from synthreal.run.checkpoint import checkpoints
    from synthreal.run.fit import fit as train
    from synthreal.run.progress import training
    from synthreal.transform import read_config

    if resume and recipe is None:
        run_dir = run or Path("runs") / _catalog(plugin).recipe().recipe
        stored = read_config(run_dir)
        catalog = _catalog(plugin or list(stored.plugins))
        resolved = stored.changed(*_differences(config, settings), source=_source(config, settings))
    else:
        catalog = _catalog(plugin)
        resolved = _configured(catalog, recipe, config, settings)
        run_dir = run or Path("runs") / resolved.recipe
    try:
        with training(resolved.schedule.total) as on_report:
            last = train(resolved, catalog, run_dir, resume=resume, on_report=on_report)
    except KeyboardInterrupt:
        if not checkpoints(run_dir):
            typer.echo("stopped before anything was saved", err=True)
            raise typer.Exit(130) from None
        names = " ".join(f"--plugin {shlex.quote(name)}" for name in resolved.plugins)
        command = f"synthreal fit {names} --run {shlex.quote(str(run_dir))} --resume"
        typer.echo(f"stopped; {checkpoints(run_dir)[-1]} is saved, continue with: {command}", err=True)
        raise typer.Exit(130) from None
    done = "was complete already" if last is None else f"step {last.step}"
    if last is not None and resolved.quality is not None and last.step < resolved.schedule.total:
        done += f" of {resolved.schedule.total}, stopped after {resolved.quality.patience} looks without a better one"
    typer.echo(f"{run_dir}: {done}; sheets in {run_dir / 'sheets'}; judge it with: synthreal evaluate {run_dir}")


@app.command()
def refine(
    run: Annotated[Path, typer.Argument(help="Run directory.")],
    source: Annotated[Path, typer.Argument(metavar="IN.h5", help="Pack of simulated images.")],
    target: Annotated[Path, typer.Argument(metavar="OUT.h5", help="Pack to write; must not exist.")],
    device: Device = "auto",
    seed: Annotated[int, typer.Option(min=0, help="Seed of noise maps.")] = 0,
) -> None:
    """Refine every image of a pack, in order, labels untouched."""
    from synthreal.run.progress import counting
    from synthreal.run.refine import refine_pack

    with counting("refining") as advance:
        summary = refine_pack(run, source, target, device=device, seed=seed, on_progress=advance)
    typer.echo(f"{summary.path}: {summary.n} refined images")


@app.command()
def evaluate(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run directories, fitted with different seeds.")],
    arms: Annotated[
        str | None, typer.Option(help="Comma-separated, or all; default: simulated,refined,histogram,real.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Estimators an arm and run.")] = 1,
    split: Annotated[Split, typer.Option(help="test, or validation to choose settings.")] = "test",
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Train the estimator on every arm, test it on real images."""
    from synthreal.run.evaluate import evaluate as judge
    from synthreal.run.progress import evaluating
    from synthreal.run.table import arms_table

    names = None if arms is None else [name.strip() for name in arms.split(",") if name.strip()]
    with _going_on(), evaluating() as on_arm:
        result = judge(runs, arms=names, seeds=seeds, split=split, device=device, on_arm=on_arm)
    _show(result if as_json else arms_table(result))


@app.command()
def ablate(
    over: Annotated[
        list[str] | None,
        typer.Option(help="dotted.key=value,value: settings to vary; on = the recipe's, off = none; repeatable."),
    ] = None,
    plugin: Plugins = None,
    recipe: Recipe = None,
    config: ConfigFile = None,
    settings: Settings = None,
    run: Annotated[
        Path | None, typer.Option("--run", help="Folder of the runs; default runs/<recipe>-ablation.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each combination.")] = 1,
    split: Annotated[Split, typer.Option(help="test, or validation to choose settings.")] = "test",
    as_json: Json = False,
) -> None:
    """Fit and judge every combination of some settings; the same command goes on after an interruption."""
    from synthreal.run.ablate import ablate as compare
    from synthreal.run.progress import ablating
    from synthreal.run.table import ablation_table

    catalog = _catalog(plugin)
    resolved = _configured(catalog, recipe, config, settings)
    folder = run or Path("runs") / f"{resolved.recipe}-ablation"
    with _going_on(), ablating(resolved.schedule.total) as (on_fit, on_arm):
        result = compare(resolved, catalog, over or (), folder, seeds=seeds, split=split, on_fit=on_fit, on_arm=on_arm)
    _show(result if as_json else ablation_table(result))
    if not as_json:
        typer.echo(f"{folder}: pictures; {folder / 'sheet.png'}: the same images by every combination")


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="Run directory.")],
    out: Annotated[Path | None, typer.Option(metavar="FILE.html", help="The file; default RUN/report.html.")] = None,
    device: Device = "auto",
    tensorboard: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write log and sheets for TensorBoard into a folder, too.")
    ] = None,
) -> None:
    """Write one HTML page about a run: pictures, curves, the table of arms, how to make it again."""
    from synthreal.run.page.document import report as write

    page = write(
        run,
        out=out,
        device=device,
        tensorboard=tensorboard,
        on_refine=lambda count: typer.echo(f"refining {count} images", err=True),
    )
    typer.echo(f"{page}: open it in a browser")
    if tensorboard is not None:
        typer.echo(f"{tensorboard}: for tensorboard --logdir {shlex.quote(str(tensorboard))}")


@app.command()
def turing(
    run: Annotated[Path, typer.Argument(help="Run directory.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to serve at; 0 takes a free one.")] = 8765,
    images: Annotated[int, typer.Option(min=1, help="Images of either kind each rater judges.")] = 50,
    against: Annotated[Against, typer.Option(help="refined, or simulated as a control.")] = "refined",
    host: Annotated[str, typer.Option(help="Address to bind; at another one other machines may answer too.")] = (
        "127.0.0.1"
    ),
    seed: Annotated[int, typer.Option(min=0, help="Seed of the choice and order of images.")] = 0,
    device: Device = "auto",
    summary: Annotated[bool, typer.Option("--summary", help="Print what raters answered so far; serve nothing.")] = (
        False
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Let people tell refined images from real ones, in a browser."""
    from synthreal.run.table import turing_table
    from synthreal.web.answers import FILE, Answers
    from synthreal.web.summary import in_a_line, summarise

    answers = Answers(run / FILE)
    if summary:
        result = summarise(_judged(answers))
        if not result["raters"]:
            raise UserError(f"{answers.path}: no answers yet; serve the study with: synthreal turing {run}")
        _show(result if as_json else turing_table(result))
        return
    if as_json:
        raise UserError("--json prints the summary; give --summary with it")
    _web()
    from synthreal.web.server import serve

    def ready(url: str, reachable: bool) -> None:
        if reachable:
            typer.echo("notice: other machines can reach this server, and whoever does can answer", err=True)
        typer.echo(f"open {url} in a browser; Ctrl-C ends")

    serve(
        run,
        answers,
        port=port,
        images=images,
        against=against,
        host=host,
        seed=seed,
        device=device,
        on_refine=lambda count: typer.echo(f"refining {count} images", err=True),
        on_ready=ready,
    )
    typer.echo(f"{in_a_line(summarise(_judged(answers)))}; in {answers.path}")


def main() -> None:
    """The console script: run the app, turn a user's mistake into one line and exit code 2."""
    if "" not in sys.path:
        sys.path.append("")  # --plugin package.module may lie in the working directory; what is installed comes first
    try:
        code = app(sys.argv[1:] or ["--help"], prog_name="synthreal", standalone_mode=False)
    except UserError as error:
        code = _complain(str(error))
    except KeyboardInterrupt:
        code = 130
    except Exception as error:  # typer's usage errors, whichever click it carries; anything else goes on
        if not hasattr(error, "format_message"):
            raise
        code = _complain(error.format_message())
    sys.exit(code if isinstance(code, int) else 0)


@contextmanager
def _going_on() -> Iterator[None]:
    """Say what becomes of the work when it is interrupted."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("stopped; what is trained is kept, the same command goes on", err=True)
        raise typer.Exit(130) from None


def _complain(message: str) -> int:
    print(f"synthreal: {' '.join(message.split())}", file=sys.stderr)
    return 2


def _show(what: Any) -> None:
    if isinstance(what, list | dict):
        typer.echo(json.dumps(what, indent=2))
        return
    from rich.console import Console

    told = sys.stdout.isatty() or "COLUMNS" in os.environ
    Console(width=None if told else WIDE).print(what)  # in a file or a pipe, tables are as wide as they need to be


def _skipped(items: Any) -> None:
    for item in items:
        typer.echo(f"skipped {item.path}: {item.reason}", err=True)
    if items:
        typer.echo(f"{len(items)} unreadable files skipped", err=True)


def _judged(answers: Answers) -> list[Answer]:
    found = answers.all()
    if answers.damaged:
        typer.echo(f"{answers.path}: {answers.damaged} damaged lines skipped", err=True)
    return found


def _web() -> None:
    """Say what to install where the extra ``web`` is missing."""
    from importlib.util import find_spec

    if not all(map(find_spec, ("starlette", "uvicorn", "jinja2"))):
        raise UserError("the visual Turing test needs starlette and uvicorn; pip install 'synthreal[web]'")


def _catalog(names: list[str] | None) -> Catalog:
    from synthreal.hooks.catalog import Catalog
    from synthreal.hooks.discovery import available

    if not names:
        raise UserError(f"name a domain with --plugin; installed: {', '.join(available()) or 'none'}")
    return Catalog.of(names)


def _configured(catalog: Catalog, recipe: str | None, config: Path | None, settings: list[str] | None) -> RunConfig:
    from synthreal.hooks.resolve import configure

    return configure(catalog, *_differences(config, settings), recipe=recipe, source=_source(config, settings))


def _differences(config: Path | None, settings: list[str] | None) -> list[dict[str, Any]]:
    """The file's, then each setting's; a run's own config.toml will do as a file."""
    from synthreal.settings import parse_settings
    from synthreal.transform import read_tree

    return ([read_tree(config)] if config else []) + parse_settings(settings or ())


def _source(config: Path | None, settings: list[str] | None) -> str:
    """Where a wrong setting may stand."""
    return " or ".join([str(config)] * bool(config) + ["--set"] * bool(settings)) or "configuration"
