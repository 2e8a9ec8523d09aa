"""The web server of a visual Turing test."""

from __future__ import annotations

import ipaddress
import os
import socket
from contextlib import suppress

import uvicorn

from synthreal.errors import UserError
from synthreal.turing.application import application
from synthreal.turing.gate import ANY_ADDRESS, bracketed
from synthreal.turing.study import Study

LARGEST_HEADERS = 16 * 1024  # bytes
RESPONSE_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises ``UserError`` when the address cannot be bound."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError):
        raise UserError(f"--host {host}: not an address of this machine; use 127.0.0.1") from None
    try:
        return socket.create_server(address, family=family, dualstack_ipv6=family == socket.AF_INET6)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise UserError(
            f"cannot serve at {host}, port {port} ({reason}); choose another --port (0: any free one) or --host"
        ) from error


def server_of(study: Study, *, host: str) -> uvicorn.Server:
    """The server of a study, to run on a socket bound to ``host``; it logs errors only."""
    return uvicorn.Server(
        uvicorn.Config(
            application(study, host=host),
            http="h11",
            h11_max_incomplete_event_size=LARGEST_HEADERS,
            headers=list(RESPONSE_HEADERS.items()),
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=2,
        )
    )


def address(listener: socket.socket, host: str) -> tuple[str, bool]:
    """The URL of a server that listens at ``host``, and whether other machines can reach it."""
    bound, port = listener.getsockname()[:2]
    name = outward_address() if host in ANY_ADDRESS else host
    return f"http://{bracketed(name)}:{port}/", not ipaddress.ip_address(bound).is_loopback


def outward_address() -> str:
    """The address at which other machines reach this one; its name where there is no network."""
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # an address reserved for documentation; nothing is sent
        return str(probe.getsockname()[0])
    return socket.gethostname()
