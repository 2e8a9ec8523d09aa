"""What a request must be to get in, and what every response says to the browser.

The pages are for people at this machine, but any web site they have open can send requests to it too. So a request
must name this server as its host (a site that points its own name here, DNS rebinding, does not), and a request that
changes something must be JSON from these very pages: a form of another site cannot send JSON, and a browser says in
``Origin`` and ``Sec-Fetch-Site`` where a request comes from. Of other sites' requests that change nothing only links
get in: whatever asks for a state takes memory. Who typed an address that is refused is told the one to use.
"""

from __future__ import annotations

import ipaddress
import socket
from html import escape
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

ELSEWHERE = "this request comes from another site"
UNKNOWN = "this is not the address of this server"
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


class Gate:
    """The application behind these rules.

    Args:
        app: what answers the requests that get in.
        host: the address the server was told to bind.
    """

    def __init__(self, app: ASGIApp, *, host: str) -> None:
        self.app = app
        self.host = host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        refused = self.refusal(scope["method"], Headers(scope=scope))
        if refused is None:
            await self.app(scope, receive, guarded)
        else:
            await self._refused(scope, *refused)(scope, receive, guarded)

    def _refused(self, scope: Scope, status: int, reason: str) -> Response:
        """A refusal, which ends with the address to use where that was what was wrong; a link for who typed it."""
        home = self._home(scope) if reason == UNKNOWN else None
        told = reason if home is None else f"{reason}; open {home}"
        if "text/html" not in Headers(scope=scope).get("accept", ""):
            return JSONResponse({"error": told}, status)
        link = "" if home is None else f'; open <a href="{escape(home)}">{escape(home)}</a>'
        view = '<meta name="viewport" content="width=device-width, initial-scale=1">'
        return HTMLResponse(f"<!doctype html>{view}<title>Refused</title><p>{escape(reason)}{link}</p>", status)

    def _home(self, scope: Scope) -> str | None:
        """The address of this server: the one it was bound to, of all addresses that at which this request came."""
        name, port = scope.get("server") or ("", None)
        if port is None:
            return None
        return url_of(name if is_wildcard(self.host) else self.host, port)

    def refusal(self, method: str, headers: Headers) -> tuple[int, str] | None:
        """Why a request stays out: its HTTP status and a sentence; None when it may come in."""
        host = headers.get("host", "")
        if not self._is_ours(host):
            return 403, UNKNOWN
        site = headers.get("sec-fetch-site", "same-origin")
        if method in ("GET", "HEAD"):
            followed = headers.get("sec-fetch-mode") == "navigate"
            return (403, ELSEWHERE) if site in ("cross-site", "same-site") and not followed else None
        if headers.get("origin", f"http://{host}").lower() != f"http://{host}".lower() or site != "same-origin":
            return 403, ELSEWHERE
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return 415, "send JSON"
        return None

    def _is_ours(self, host: str) -> bool:
        """Whether a ``Host`` names this server; bound to every address, it has the machine's names and any address."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if is_wildcard(name):
            return False
        if name in LOOPBACK or name == self.host.lower():
            return True
        return is_wildcard(self.host) and (_address(name) is not None or name in _names())


def is_wildcard(host: str) -> bool:
    """Whether binding to this address is binding to every address of the machine."""
    address = _address(host)
    return address is not None and address.is_unspecified


def url_of(name: str, port: int) -> str:
    """What to type into a browser for a name or an address of this machine."""
    address = _address(name)
    if isinstance(address, ipaddress.IPv6Address):
        mapped = address.ipv4_mapped
        name = f"[{address}]" if mapped is None else str(mapped)
    return f"http://{name}:{port}/"


def _names() -> tuple[str, str]:
    """The machine's name, and the same as its neighbours resolve it by multicast; no site can own either."""
    name = socket.gethostname().lower()
    return name, f"{name.partition('.')[0]}.local"


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
