"""Exceptions whose message is meant for users: one line that names the cause and the remedy."""

from __future__ import annotations

import re
from importlib.util import find_spec

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
LONGEST = 500  # characters of a message; a line of a damaged file can be a million


def printable(text: str) -> str:
    r"""Text that can be written as UTF-8 and does not control a terminal.

    A byte of a file name that is not UTF-8 becomes ``\udcff`` in letters, a control character ``\x1b``.
    """
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], text.encode("utf-8", "backslashreplace").decode("utf-8"))


class UserError(Exception):
    """Bad input, described in one line: the file or setting, the problem, and the remedy.

    The command line prints the message on stderr and exits with code 2. Any other exception is a bug of this library
    and keeps its traceback.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(one_line(message)))


def one_line(text: object) -> str:
    """A message as one line of at most 500 characters, of which the end, the remedy, is kept."""
    line = " ".join(str(text).split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST // 2]} ... {line[5 - LONGEST // 2 :]}"


class WriteError(UserError):
    """Writing to ``path`` or below failed."""

    def __init__(self, path: object, reason: str) -> None:
        super().__init__(f"{path}: cannot write ({reason}); free or choose another place and run again")
        self.reason = reason


class PeerError(RuntimeError):
    """Another process of the run has exited or does not respond, so this one cannot continue."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"another process of this run is gone, or has not answered for too long ({reason}); see its own message; "
            "run the same command again (fit: with --resume)"
        )


def require(extra: str, feature: str, *libraries: str) -> None:
    """Raise ``UserError`` with the command to install an extra if some of its libraries are missing."""
    if missing := [library for library in libraries if find_spec(library) is None]:
        raise UserError(f"{feature} needs {' and '.join(missing)}; pip install 'synthreal[{extra}]'")
