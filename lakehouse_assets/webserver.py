"""Dagster's webserver, deaf to the pages of other sites: `python -m lakehouse_assets.webserver`, options as its own.

dagster-webserver 1.13 has no login and runs a mutation from a plain GET, from a form's POST, and over a WebSocket from
any origin. So any page that is open in a browser on this machine could launch a run or a deploy. This can go when
Dagster refuses that itself.
"""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Collection
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from lakehouse.settings import SettingsError, load_settings

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
        reason = _reason(scope, self.names) if scope["type"] in ("http", "websocket") else ""
        if not reason:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await WebSocketClose(1008, reason)(scope, receive, send)
        else:
            await PlainTextResponse(reason, 403)(scope, receive, send)


def _reason(scope: Scope, names: Collection[str]) -> str:
    """Why it is refused; empty when it is not."""
    headers = Headers(scope=scope)
    host = headers.get("host", "")
    name = _name(host)
    if name not in names and not _is_address(name):
        return f"The web UI does not answer to the name {name!r}. LAKEHOUSE_WEBSERVER_NAMES has those that it does."
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
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def main() -> None:
    """As `dagster-webserver`."""
    from dagster_webserver.cli import main as serve
    from dagster_webserver.webserver import DagsterWebserver

    own = DagsterWebserver.build_middleware
    try:
        names = load_settings().web_ui_names
    except SettingsError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(2)

    def build_middleware(self: DagsterWebserver) -> list[Middleware]:
        return [Middleware(SameOriginOnly, names=names), *own(self)]

    DagsterWebserver.build_middleware = build_middleware  # type: ignore[method-assign]
    serve()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
