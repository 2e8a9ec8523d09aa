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


class TwoFolders(NamedTuple):
    """The options of a run of two folders."""

    simulated: Path
    real: Path
    scale: Literal["renders", "native"] | None
    minutes: float | None

    def check_run(self, run_dir: Path) -> None:
        """Raise ``UserError`` if a run is of other folders."""
        from synthreal.inference.pretrained import read_config

        data = read_config(run_dir).data
        for role, folder in (("simulated", self.simulated), ("real", self.real)):
            root = getattr(data, role).options.get("root")
            if root != str(folder.absolute()):
                raise UserError(f"{run_dir}: is a run of {root or 'other data'}, not of {folder}; choose another --run")

    def roots(self) -> dict[str, Any]:
        """The folders as settings."""
        return {
            "data": {
                role: {"options": {"root": str(folder.absolute())}}
                for role, folder in (("simulated", self.simulated), ("real", self.real))
            }
        }


def two_folders(simulated: Simulated, real: Real, scale: Scale, minutes: Minutes, *, domain: bool) -> TwoFolders | None:
    """The two folders, None if there are none. Raises ``UserError`` for one alone, or both with a ``domain``."""
    if simulated is None and real is None:
        if scale is not None or minutes is not None:
            raise UserError(
                "--scale and --minutes are for two folders of pictures; give --simulated and --real as well"
            )
        return None
    if domain:
        raise UserError(
            "--simulated and --real are for pictures without a plugin; leave --plugin and --recipe out, or set "
            "data.simulated and data.real"
        )
    if simulated is None or real is None:
        raise UserError(f"{'--real' if simulated is None else '--simulated'} alone; give both --simulated and --real")
    return TwoFolders(simulated, real, scale, minutes)


def choose_configuration(
    folders: TwoFolders, run_dir: Path, file: ConfigFile, settings: Settings, catalog: Catalog, processes: Processes
) -> ResolvedConfig:
    """The configuration that rank 0 chooses, and says, for a new run."""
    from synthreal.train.recipe import choose_recipe
    from synthreal.train.run_dir import refuse_taken

    choice = None
    if processes.is_main:
        refuse_taken(run_dir)  # before the pictures are read
        for folder in (folders.simulated, folders.real):
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
            source=source,
        )
        for line in (*choice.lines, *(f"warning: {warning}" for warning in choice.warnings)):
            print_line(line, err=True)
    choice = processes.broadcast(choice)
    assert choice is not None, "rank 0 has chosen"
    return choice.config
