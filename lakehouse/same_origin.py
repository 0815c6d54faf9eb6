"""Who may use a page's server from a browser: the page itself. For the web UI, the dashboard and the query service."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

ELSEWHERE = ("cross-site", "same-site")
"""Sec-Fetch-Site: another port of this machine is "same-site", and is no page of ours either."""


class SameOriginOnly:
    """Lets programs through, and browsers only when the page that asks came from here.

    It also answers to an address, to localhost and to `names` only: a stranger's name that suddenly means this machine
    makes every page of his one of ours (DNS rebinding).
    """

    def __init__(self, app: ASGIApp, names: Collection[str] = ()) -> None:
        self.app = app
        self.names = {"localhost", *(name.lower() for name in names)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass it on, or answer 403."""
        reason = reason_to_refuse(scope, self.names) if scope["type"] in ("http", "websocket") else ""
        if not reason:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await WebSocketClose(1008, reason)(scope, receive, send)
        else:
            await PlainTextResponse(reason, 403)(scope, receive, send)


def reason_to_refuse(scope: Scope, names: Collection[str]) -> str:
    """Why it is refused; empty when it is not. `names` are in lower case."""
    headers = Headers(scope=scope)
    host = headers.get("host", "")
    name = _name(host)
    if name not in names and not _is_address(name):
        return f"The name {name!r} is not answered here. LAKEHOUSE_WEBSERVER_NAMES has those that are."
    if scope["type"] == "http" and scope["method"] == "GET":
        asked = scope["path"].endswith("/graphql") and "query" in parse_qs(scope["query_string"].decode("latin-1"))
        return "GraphQL is asked with POST: a GET could be a picture on another site's page." if asked else ""
    origin = headers.get("origin")
    if headers.get("sec-fetch-site") in ELSEWHERE or (origin is not None and urlsplit(origin).netloc != host):
        return "Another site's page asks, and may not."
    return ""


def _name(host: str) -> str:
    """Without the port; empty when it is no host at all."""
    try:
        parts = urlsplit(f"//{host}")
        return (parts.hostname or "").rstrip(".") if parts.netloc == host and "@" not in host else ""
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
