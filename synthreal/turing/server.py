"""The server of a visual Turing test: its address, its images, and its end."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import uvicorn

from synthreal.errors import UserError
from synthreal.turing.answers import Against, Answers
from synthreal.turing.application import application
from synthreal.turing.gate import is_wildcard, url_of
from synthreal.turing.pictures import choose
from synthreal.turing.study import Study


def serve(
    run: Path,
    answers: Answers,
    *,
    port: int = 8765,
    images: int = 50,
    against: Against = "refined",
    host: str = "127.0.0.1",
    seed: int = 0,
    device: str = "auto",
    on_refine: Callable[[int], None],
    on_ready: Callable[[str, bool], None],
) -> None:
    """Serve the study of a run until Ctrl-C.

    Args:
        run: run directory.
        answers: where answers are kept.
        port: of the server; 0 takes a free one.
        images: how many of either kind each rater judges.
        against: what real images are compared with.
        host: the address to bind.
        seed: of the choice and order of images.
        device: where to refine.
        on_refine: told how many images are about to be refined.
        on_ready: told the address to open, and whether other machines can reach it.

    Raises:
        UserError: an address that is taken or not this machine's, and what :func:`synthreal.turing.pictures.choose`
            raises.
    """
    with listen(host, port) as listener:
        pictures = choose(run, against=against, images=images, seed=seed, device=device, on_refine=on_refine)
        answers.prepare()
        study = Study(pictures, answers, against=against, images=images, seed=seed)
        server = server_of(study, host=host)
        address = listener.getsockname()
        on_ready(
            url_of(_reached(listener) if is_wildcard(host) else host, address[1]),
            not ipaddress.ip_address(address[0]).is_loopback,
        )
        with suppress(KeyboardInterrupt):
            server.run(sockets=[listener])


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens at an address. Raises ``UserError`` when that is taken or not this machine's."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError):
        raise UserError(f"--host {host}: no address of this machine; use 127.0.0.1") from None
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()
    except OSError as error:
        listener.close()
        raise UserError(
            f"cannot serve at {host}, port {port} ({error.strerror}); choose another --port (0: any free one) or --host"
        ) from error
    return listener


def server_of(study: Study, *, host: str) -> uvicorn.Server:
    """The server of a study, to run on a listening socket bound to ``host``; it logs nothing but errors."""
    return uvicorn.Server(
        uvicorn.Config(
            application(study, host=host),
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=2,
        )
    )


def _reached(listener: socket.socket) -> str:
    """Where others reach a socket bound to every address: at the one this machine would send from, else by its name.

    A name alone would not do: a phone rarely resolves it. Nothing is sent; the targets are addresses of examples.
    """
    for family, target in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        if family == listener.family or _takes_both(listener):
            with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((target, 9))
                return str(probe.getsockname()[0])
    return socket.gethostname()


def _takes_both(listener: socket.socket) -> bool:
    """Whether a socket of version 6 takes connections of version 4, too."""
    six = listener.family == socket.AF_INET6
    return six and not listener.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
