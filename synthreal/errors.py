"""The one exception a user is meant to read: a single line that names the offender and the remedy."""

from __future__ import annotations


class UserError(Exception):
    """Bad input, told in one line: the file or setting, what is wrong with it, and what to do.

    The command line prints the message on stderr and exits with code 2. Everything else that is raised
    is a bug of this library and keeps its traceback.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(str(message).split()))


class WriteError(UserError):
    """A disk that does not take what is written below ``path``, for ``reason``."""

    def __init__(self, path: object, reason: str) -> None:
        super().__init__(f"{path}: cannot write ({reason}); free or choose another place and run again")
        self.reason = reason


class PeerError(RuntimeError):
    """Another process of the same run is gone, so this one cannot go on.

    The process that failed first tells why; the command line prints nothing of this one and exits with code 1.
    """
