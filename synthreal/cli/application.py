"""The application that commands join, and what the console script runs."""

from __future__ import annotations

import os
import sys
import time

import typer

from synthreal.errors import PeerError, UserError

SHARED = ("fit", "refine")  # what several processes do together

app = typer.Typer(
    help="Make simulated images look real with unlabelled real ones, and keep every label true (S+U learning, SimGAN).",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.callback()
def check(context: typer.Context) -> None:
    """Refuse what each of torchrun's processes would do anew, all writing the same files."""
    command, torchrun = context.invoked_subcommand, "TORCHELASTIC_RUN_ID" in os.environ
    if torchrun and os.environ.get("WORLD_SIZE", "1") != "1" and command not in SHARED:
        several = " and ".join(SHARED)
        context.fail(f"{command} is the work of one process; start it without torchrun, which is for {several}")


def main() -> None:
    """The console script: run the app, turn a user's mistake into one line and exit code 2."""
    from synthreal.distributed.rank import REPORT_DELAY, let_main_report_first

    if "" not in sys.path:
        sys.path.append("")  # --plugin package.module may lie in the working directory; what is installed comes first
    try:
        code = app(sys.argv[1:] or ["--help"], prog_name="synthreal", standalone_mode=False)
    except UserError as error:
        let_main_report_first()
        code = _complain(str(error))
    except PeerError as error:
        time.sleep(REPORT_DELAY)  # torchrun ends this process meanwhile: the other one has reported the cause
        _complain(str(error))
        code = 1
    except KeyboardInterrupt:
        code = 130
    except Exception as error:  # typer's usage errors, whichever click it carries; anything else goes on
        if not hasattr(error, "format_message"):
            raise
        let_main_report_first()  # torchrun gives all its processes the same words
        code = _complain(error.format_message())
    sys.exit(code if isinstance(code, int) else 0)


def _complain(message: str) -> int:
    print(f"synthreal: {' '.join(message.split())}", file=sys.stderr)
    return 2
