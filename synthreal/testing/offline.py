"""A block in which nothing reaches the network: every connection is refused and noted.

Python's sockets are refused, which covers ``urllib``, ``requests``, ``httpx`` and ``torch.hub``. A library that opens
connections in C code is not seen. Sockets between processes of one machine (``AF_UNIX``) work.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

_METHODS = ("connect", "connect_ex", "sendto")
_FUNCTIONS = ("getaddrinfo", "gethostbyname", "gethostbyname_ex")


@contextmanager
def offline() -> Iterator[list[str]]:
    """Refuse connections in the block with ``ConnectionRefusedError``; yields the growing list of what was asked for.

    It works in all threads of the process. Blocks may be nested: the inner one notes what happens in it.
    """
    attempts: list[str] = []

    def refuse(address: Any) -> None:
        attempts.append(_shown(address))
        raise ConnectionRefusedError(f"no network here; {_shown(address)} was asked for")

    def method(original: Callable[..., Any]) -> Callable[..., Any]:
        def refused(self: socket.socket, *arguments: Any) -> Any:
            if self.family != getattr(socket, "AF_UNIX", None):
                refuse(arguments[-1])
            return original(self, *arguments)

        return refused

    with ExitStack() as stack:
        for name in _METHODS:
            stack.enter_context(patch.object(socket.socket, name, method(getattr(socket.socket, name))))
        for name in _FUNCTIONS:
            stack.enter_context(patch.object(socket, name, lambda host, *rest, **options: refuse((host, *rest))))
        yield attempts


def _shown(address: Any) -> str:
    if isinstance(address, tuple):
        return ":".join(str(part) for part in address[:2] if part is not None)
    return str(address)
