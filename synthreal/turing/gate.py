"""Which requests the server answers: those addressed to it, from its own pages.

Any web site open in a rater's browser can send requests to this server. Starlette's ``TrustedHostMiddleware`` refuses
sites that point their own name at it (DNS rebinding), :class:`OriginCheck` refuses scripts and forms of other sites.
A link from another site works.
"""

from __future__ import annotations

import socket

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

ANY_ADDRESS = ("0.0.0.0", "::")


def access_rules(host: str) -> list[Middleware]:
    """The middleware of a server bound to ``host``; it refuses requests whose ``Host`` header names another one."""
    names = ["127.0.0.1", "localhost", "[::1]"]
    if host in ANY_ADDRESS:
        name = socket.gethostname().lower()
        # Any IPv4 address, which may be that of a router or container host; no domain name ends in a number.
        names += [name, f"{name.partition('.')[0]}.local", *(f"*.{number}" for number in range(1, 255))]
    else:
        names.append(bracketed(host.lower()))
    trusted = Middleware(TrustedHostMiddleware, allowed_hosts=names, www_redirect=False)
    return [Middleware(OriginCheck), trusted]


def bracketed(host: str) -> str:
    """A host as it stands in a URL: IPv6 addresses in brackets."""
    return f"[{host}]" if ":" in host else host


class OriginCheck:
    """Refuse requests from scripts and forms of other web sites."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers = Headers(scope=scope)
        own = f"http://{headers.get('host')}".lower()
        same_site = headers.get("sec-fetch-site", "none") in ("same-origin", "none")
        link = scope["method"] in ("GET", "HEAD") and headers.get("sec-fetch-mode") == "navigate"
        allowed = link or (same_site and headers.get("origin", own).lower() == own)
        refusal = JSONResponse({"error": "this request comes from another site"}, 403)
        await (self.app if allowed else refusal)(scope, receive, send)
