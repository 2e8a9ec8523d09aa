"""Exceptions whose message is written for the user: one line that names the cause and the remedy."""

from __future__ import annotations


class UserError(Exception):
    """Bad input, described in one line: the file or setting, what is wrong with it, and the remedy.

    The command line prints the message on stderr and exits with code 2. Any other exception is a bug and keeps its
    traceback.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(str(message).split()))


class WriteError(UserError):
    """A failed write at or below ``path``, for ``reason``."""

    def __init__(self, path: object, reason: str) -> None:
        super().__init__(f"{path}: cannot write ({reason}); free or choose another place and run again")
        self.reason = reason


class PeerError(RuntimeError):
    """Another process of the same run has ended, so this one cannot continue.

    The process that failed first reports the reason; for this exception the command line prints nothing and exits with
    code 1.
    """
