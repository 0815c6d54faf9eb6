"""Dagster's webserver, deaf to the pages of other sites: `python -m lakehouse_assets.webserver`, options as its own.

dagster-webserver 1.13 has no login and runs a mutation from a plain GET, from a form's POST, and over a WebSocket from
any origin. So any page that is open in a browser on this machine could launch a run or a deploy. This can go when
Dagster refuses that itself.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

LOOPBACK = ("localhost", "127.0.0.1", "::1")
ELSEWHERE = ("cross-site", "same-site")
"""Sec-Fetch-Site: another port of this machine is "same-site", and is no page of ours either."""


class SameOriginOnly:
    """Lets programs through, and browsers only when the page that asks came from here.

    Listening on loopback it also answers to loopback's names only: a stranger's name that suddenly means 127.0.0.1
    makes every page of his one of ours.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str] = ()) -> None:
        self.app = app
        self.hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass it on, or answer 403."""
        reason = _reason(scope, self.hosts) if scope["type"] in ("http", "websocket") else ""
        if not reason:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await WebSocketClose(1008, reason)(scope, receive, send)
        else:
            await PlainTextResponse(reason, 403)(scope, receive, send)


def _reason(scope: Scope, hosts: Sequence[str]) -> str:
    """Why it is refused; empty when it is not."""
    headers = Headers(scope=scope)
    host = headers.get("host", "")
    name = urlsplit(f"//{host}").hostname or ""
    if hosts and name not in hosts:
        return f"The web UI listens on this machine only and does not answer to the name {name!r}."
    if scope["type"] == "http" and scope["method"] == "GET":
        asked = scope["path"].endswith("/graphql") and "query" in parse_qs(scope["query_string"].decode("latin-1"))
        return "GraphQL is asked with POST: a GET could be a picture on another site's page." if asked else ""
    origin = headers.get("origin")
    if headers.get("sec-fetch-site") in ELSEWHERE or (origin is not None and urlsplit(origin).netloc != host):
        return "Another site's page asks, and may not."
    return ""


def main() -> None:
    """As `dagster-webserver`."""
    from dagster_webserver.cli import main as serve
    from dagster_webserver.webserver import DagsterWebserver

    own = DagsterWebserver.build_middleware
    listens = sys.argv[sys.argv.index("-h") + 1] if "-h" in sys.argv[:-1] else "127.0.0.1"
    hosts = LOOPBACK if listens in LOOPBACK else ()

    def build_middleware(self: DagsterWebserver) -> list[Middleware]:
        return [Middleware(SameOriginOnly, hosts=hosts), *own(self)]

    DagsterWebserver.build_middleware = build_middleware  # type: ignore[method-assign]
    serve()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
