"""The server of a visual Turing test: its address, its images, and its end."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import uvicorn

from synthreal.errors import UserError
from synthreal.web.answers import Against, Answers
from synthreal.web.application import application
from synthreal.web.gate import is_wildcard
from synthreal.web.pictures import choose
from synthreal.web.study import Study


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
        UserError: an address that is taken or not this machine's, and what :func:`synthreal.web.pictures.choose`
            raises.
    """
    with listen(host, port) as listener:
        pictures = choose(run, against=against, images=images, seed=seed, device=device, on_refine=on_refine)
        answers.prepare()
        study = Study(pictures, answers, against=against, images=images, seed=seed)
        address = listener.getsockname()
        on_ready(_url(host, address[1]), not ipaddress.ip_address(address[0]).is_loopback)
        with suppress(KeyboardInterrupt):
            server_of(study, host=host).run(sockets=[listener])


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


def _url(host: str, port: int) -> str:
    """What to type into a browser for a server bound to ``host``."""
    name = socket.gethostname() if is_wildcard(host) else host
    return f"http://[{name}]:{port}/" if ":" in name else f"http://{name}:{port}/"
