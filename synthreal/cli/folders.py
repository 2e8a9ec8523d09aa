"""Options of a run of two folders of pictures, which needs no plugin, and the configuration that is chosen for them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import typer

from synthreal.cli.options import ConfigFile, Settings, changes_from, print_line
from synthreal.errors import UserError

if TYPE_CHECKING:
    from synthreal.config import ResolvedConfig
    from synthreal.distributed.processes import Processes
    from synthreal.hooks.catalog import Catalog

NAME = "pictures"  # of the recipe, so that of the run below runs/

Simulated = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Folder of renders; with --real, instead of --plugin.")
]
Real = Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of photographs; with --simulated.")]
Scale = Annotated[
    Literal["renders", "native"] | None,
    typer.Option(
        help="Scale of the photographs: renders = their shorter side becomes that of the renders (default), native = "
        "unchanged. A resumed run keeps its own."
    ),
]
Minutes = Annotated[
    float | None,
    typer.Option(min=0, help="Time for a run of two folders; default: 10. A resumed run keeps its steps."),
]
Test = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Folder of labelled photographs, to test a model trained on the renders."),
]
Labels = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.csv",
        help="Labels of the renders and, unless DIR of --test has a file of that name, of the photographs in it: a "
        "table with the header file,column,...; numbers are regressed, words classified. Without it and --label, a "
        "picture's first sub-folder is its class.",
    ),
]
Label = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Columns of --labels, separated by commas; without it, a field of the JSON files beside the pictures.",
    ),
]


class TwoFolders(NamedTuple):
    """The options of a run of two folders."""

    simulated: Path
    real: Path
    scale: Literal["renders", "native"] | None = None
    minutes: float | None = None
    test: Path | None = None
    labels: Path | None = None
    names: tuple[str, ...] = ()

    def check_run(self, run_dir: Path) -> None:
        """Raise ``UserError`` if a run is of other folders or labels."""
        from synthreal.inference.pretrained import read_config

        data = read_config(run_dir).data
        for role, folder in self._folders().items():
            source = getattr(data, role)
            if source is None:
                raise UserError(f"{run_dir}: is a run without --test; choose another --run, or leave --test out")
            root = source.options.get("root", "other data")
            if root == str(folder.absolute()):
                continue  # it may be gone: the run holds its pictures
            if not folder.is_dir():
                raise UserError(f"{folder}: no such folder; {run_dir} is a run of {root}")
            raise UserError(f"{run_dir}: is a run of {root}, not of {folder}; choose another --run")
        known = data.simulated.options.get("labels") or {}
        for option, given, found in (
            ("--labels", None if self.labels is None else str(self.labels.absolute()), known.get("file")),
            ("--label", ",".join(self.names) or None, ",".join(known.get("columns", ()))),
        ):
            if given is not None and given != found:
                raise UserError(f"{run_dir}: has {option} {found or 'none'}, not {given}; choose another --run")

    def roots(self) -> dict[str, Any]:
        """The folders as settings, of a run that is resumed."""
        return {"data": {role: {"options": {"root": str(at.absolute())}} for role, at in self._folders().items()}}

    def _folders(self) -> dict[str, Path]:
        """The folders by role."""
        folders = {"simulated": self.simulated, "real": self.real, "test": self.test}
        return {role: folder for role, folder in folders.items() if folder is not None}


def two_folders(
    simulated: Simulated,
    real: Real,
    scale: Scale = None,
    minutes: Minutes = None,
    test: Test = None,
    labels: Labels = None,
    label: Label = None,
    *,
    domain: bool,
) -> TwoFolders | None:
    """The two folders, None if there are none.

    Raises ``UserError`` for one alone, both with a ``domain``, and labels without ``test``.
    """
    if simulated is None and real is None:
        given = {"scale": scale, "minutes": minutes, "test": test, "labels": labels, "label": label}
        if unused := [f"--{name}" for name, value in given.items() if value is not None]:
            raise UserError(f"{' and '.join(unused)}: for two folders of pictures; give --simulated and --real as well")
        return None
    if domain:
        raise UserError(
            "--simulated and --real are for pictures without a plugin; leave --plugin and --recipe out, or set "
            "data.simulated and data.real"
        )
    if simulated is None or real is None:
        raise UserError(f"{'--real' if simulated is None else '--simulated'} alone; give both --simulated and --real")
    if test is None and (labels is not None or label is not None):
        raise UserError(
            f"{'--label' if labels is None else '--labels'} is for an evaluation on labelled photographs; give their "
            "folder with --test as well"
        )
    names = () if label is None else tuple(dict.fromkeys(name.strip() for name in label.split(",")))
    if "" in names:
        raise UserError(f"--label {label}: an empty name; separate names by single commas")
    return TwoFolders(simulated, real, scale, minutes, test, labels, names)


def choose_configuration(
    folders: TwoFolders, run_dir: Path, file: ConfigFile, settings: Settings, catalog: Catalog, processes: Processes
) -> ResolvedConfig:
    """The configuration that rank 0 chooses, and says, for a new run."""
    from synthreal.train.recipe import choose_recipe
    from synthreal.train.run_dir import refuse_taken

    choice = None
    if processes.is_main:
        refuse_taken(run_dir)  # before the pictures are read
        for folder in filter(None, (folders.simulated, folders.real, folders.test)):
            if run_dir.resolve().is_relative_to(folder.resolve()):
                raise UserError(
                    f"{run_dir}: lies in {folder}, whose pictures would include its own; choose another --run"
                )
        trees, source = changes_from(file, settings)
        choice = choose_recipe(
            folders.simulated,
            folders.real,
            catalog,
            *trees,
            scale=folders.scale or "renders",
            minutes=10.0 if folders.minutes is None else folders.minutes,
            test=folders.test,
            labels=folders.labels,
            names=folders.names,
            source=source,
        )
        for line in (*choice.lines, *(f"warning: {warning}" for warning in choice.warnings)):
            print_line(line, err=True)
    choice = processes.broadcast(choice)
    assert choice is not None, "rank 0 has chosen"
    return choice.config
