"""The web server of a visual Turing test. It answers requests that are addressed to it and come from its own pages."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
from contextlib import suppress

import uvicorn
from h11 import LocalProtocolError
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from synthreal.errors import UserError
from synthreal.turing.application import application
from synthreal.turing.study import Study

ANY_ADDRESS = ("0.0.0.0", "::")
LARGEST_HEADERS = 16 * 1024  # bytes
MOST_HEADERS = 100
SLOWEST_HEAD = 10  # seconds
RESPONSE_HEADERS = {
    "Cache-Control": "no-store",
    "Connection": "close",  # ends bodies that no handler reads, which uvicorn would read on for ever
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
        raise UserError(
            f"cannot serve at {host}, port {port} ({os.strerror(error.errno or 0)}); choose another --port or --host"
        ) from error


def server_of(study: Study, *, host: str) -> uvicorn.Server:
    """The server of a study, to run on a socket bound to ``host``; it logs errors only."""
    return uvicorn.Server(
        uvicorn.Config(
            application(study, access_rules(host)),
            http=_Protocol,
            h11_max_incomplete_event_size=LARGEST_HEADERS,
            headers=list(RESPONSE_HEADERS.items()),
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=2,
        )
    )


def address(listener: socket.socket, host: str) -> tuple[str, bool]:
    """The URL of a server that listens at ``host``, and whether other machines can reach it."""
    bound, port = listener.getsockname()[:2]
    name = outward_address() if host in ANY_ADDRESS else host
    return f"http://{bracket_host(name)}:{port}/", not ipaddress.ip_address(bound).is_loopback


def outward_address() -> str:
    """The address at which other machines reach this one; its name where there is no network."""
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # an address reserved for documentation; nothing is sent
        return str(probe.getsockname()[0])
    return socket.gethostname()


def access_rules(host: str) -> list[Middleware]:
    """The middleware of a server bound to ``host``; it refuses requests whose ``Host`` header names another one."""
    names = ["127.0.0.1", "localhost", "[::1]"]
    if host in ANY_ADDRESS:
        name = socket.gethostname().lower()
        # Any IPv4 address, which may be that of a router or container host; no domain name ends in a number.
        names += [name, f"{name.partition('.')[0]}.local", *(f"*.{number}" for number in range(1, 255))]
    else:
        names.append(bracket_host(host.lower()))
    trusted = Middleware(TrustedHostMiddleware, allowed_hosts=names, www_redirect=False)
    return [Middleware(_HeaderLimit), Middleware(_OriginCheck), trusted]


def bracket_host(host: str) -> str:
    """A host as it stands in a URL: IPv6 addresses in brackets."""
    return f"[{host}]" if ":" in host else host


class _Protocol(H11Protocol):
    """Close a connection that has sent no complete head of a request after 10 s."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.loop.call_later(SLOWEST_HEAD, self._check_head)

    def _check_head(self) -> None:
        if self.cycle is None:  # no request yet
            self.transport.close()


class _HeaderLimit:
    """Refuse more than 100 headers, or headers and URLs of more than 16 KiB, which h11 accepts if they arrive at once.

    An answer to a request whose body then breaks the protocol is not sent, because uvicorn has sent an error.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        lines = [(scope.get("raw_path", b""), scope.get("query_string", b"")), *scope["headers"]]
        limits = f"{MOST_HEADERS} headers of together {LARGEST_HEADERS} bytes"
        refusal = JSONResponse({"error": f"send at most {limits}"}, 431)
        size = sum(len(name) + len(value) + 4 for name, value in lines)  # with ": " and the end of the line
        allowed = len(scope["headers"]) <= MOST_HEADERS and size <= LARGEST_HEADERS
        with suppress(LocalProtocolError):
            await (self.app if allowed else refusal)(scope, receive, send)


class _OriginCheck:
    """Refuse requests from scripts and forms of other web sites that are open in a rater's browser.

    A link from another site works. Sites that point their own name at this server (DNS rebinding) are refused by
    Starlette's ``TrustedHostMiddleware``.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        own = f"http://{headers.get('host')}".lower()
        same_site = headers.get("sec-fetch-site", "none") in ("same-origin", "none")
        link = scope["method"] in ("GET", "HEAD") and headers.get("sec-fetch-mode") == "navigate"
        allowed = link or (same_site and headers.get("origin", own).lower() == own)
        refusal = JSONResponse({"error": "this request comes from another site"}, 403)
        await (self.app if allowed else refusal)(scope, receive, send)
