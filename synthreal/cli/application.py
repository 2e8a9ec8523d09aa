"""The typer application that commands register with, and the console script."""

from __future__ import annotations

import errno
import os
import sys
import time
from importlib import metadata
from typing import Annotated

import typer

from synthreal.errors import PeerError, UserError, one_line, printable

DISTRIBUTED = ("fit", "refine")  # commands that several processes may run together

app = typer.Typer(
    help="Make simulated images look real with unlabelled real ones, and keep every label true (S+U learning, SimGAN).",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _print_version(requested: bool) -> None:
    if requested:
        try:
            number = metadata.version("synthreal")
        except metadata.PackageNotFoundError:
            number = "source"
        typer.echo(f"synthreal {number}")
        raise typer.Exit


@app.callback()
def check(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Refuse to run a command under torchrun whose processes would all write the same files."""
    command, torchrun = context.invoked_subcommand, "TORCHELASTIC_RUN_ID" in os.environ
    if torchrun and os.environ.get("WORLD_SIZE", "1") != "1" and command not in DISTRIBUTED:
        reason = f"{command} runs in one process; start it without torchrun, which is for {' and '.join(DISTRIBUTED)}"
        context.fail(reason)


def main() -> None:
    """Run the application; a user's mistake is one line on stderr and exit code 2."""
    # Idle OpenMP threads soon sleep, unless the user wants otherwise; torch reads it when it is imported, by a command.
    # 2026-11-30, gaze, two threads, two cores: 236 to 331 images/s, with OpenMP's own setting 220 to 346, with threads
    # that sleep at once 157 to 206; beside two busy processes 139, 73 and 154. Beside four, spinning cost 20 times.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "20000")
    from synthreal.distributed.rank import REPORT_DELAY, let_main_report_first

    try:
        code = app(sys.argv[1:] or ["--help"], prog_name="synthreal", standalone_mode=False)
        sys.stdout.flush()
    except UserError as error:
        let_main_report_first()
        code = _complain(str(error))
    except PeerError as error:
        time.sleep(REPORT_DELAY)  # under torchrun this process ends here, and the other one has reported the cause
        _complain(str(error))
        code = 1
    except KeyboardInterrupt:
        code = 130
    except OSError as error:  # files are written elsewhere, with a UserError: this is standard output
        if error.errno not in (errno.EPIPE, errno.ENOSPC):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # drop buffered output
        code = 1 if error.errno == errno.EPIPE else _complain(f"standard output: cannot write ({error.strerror})")
    except Exception as error:
        if not hasattr(error, "format_message"):  # not a usage error of typer
            raise
        let_main_report_first()  # under torchrun every process has the same arguments
        code = _complain(error.format_message().replace("Value error, ", ""))  # pydantic's, which typer passes on
    sys.exit(code if isinstance(code, int) else 0)


def _complain(message: str) -> int:
    print(f"synthreal: {printable(one_line(message))}", file=sys.stderr)
    return 2
