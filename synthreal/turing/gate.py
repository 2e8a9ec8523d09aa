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
    """The middleware of a server bound to ``host``."""
    return [
        Middleware(OriginCheck),
        Middleware(TrustedHostMiddleware, allowed_hosts=allowed_hosts(host), www_redirect=False),
    ]


def allowed_hosts(host: str) -> list[str]:
    """The names in a ``Host`` header that mean a server bound to ``host``."""
    loopback = ["127.0.0.1", "localhost", "[::1]"]
    if host not in ANY_ADDRESS:
        return [*loopback, bracketed(host)]
    name = socket.gethostname()
    # Any IPv4 address, which may be that of a router or container host; no domain name ends in a number.
    addresses = [f"*.{number}" for number in range(1, 255)]
    return [*loopback, name, f"{name.partition('.')[0]}.local", *addresses]


def bracketed(host: str) -> str:
    """A host as it stands in a URL: IPv6 addresses in brackets."""
    return f"[{host}]" if ":" in host else host


class OriginCheck:
    """Refuse requests from other web sites."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        allowed = is_same_origin(scope["method"], Headers(scope=scope))
        app = self.app if allowed else JSONResponse({"error": "this request comes from another site"}, 403)
        await app(scope, receive, send)


def is_same_origin(method: str, headers: Headers) -> bool:
    """Whether a request comes from the server's own pages, or follows a link."""
    if method in ("GET", "HEAD") and headers.get("sec-fetch-mode") == "navigate":
        return True
    own = f"http://{headers.get('host')}".lower()
    site = headers.get("sec-fetch-site", "same-origin")
    return site in ("same-origin", "none") and headers.get("origin", own).lower() == own
