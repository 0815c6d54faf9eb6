"""What a request's head may say: what it may not is refused before anything of the body is read."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from lakehouse.query.engine.problems import QueryError
from lakehouse.query.http.requests import MAX_BODY_BYTES
from lakehouse.query.http.responses import problem_response

HEADER_BYTES = 32_768
HEADER_FIELDS = 100
TARGET_BYTES = 8_192


class HeadLimits:
    """Passes a request on, or answers it and has its connection closed."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse by the head alone."""
        try:
            if scope["type"] == "http":
                _check(scope)
        except QueryError as error:
            response = problem_response(error)
            response.headers["connection"] = "close"
            if error.kind == "unsupported-type":
                response.headers["accept-encoding"] = "identity"
            await response(scope, receive, send)
        else:
            await self.app(scope, receive, send)


def _check(scope: Scope) -> None:
    fields = scope["headers"]
    size = sum(len(name) + len(value) for name, value in fields)
    if size > HEADER_BYTES or len(fields) > HEADER_FIELDS:
        raise QueryError("head-too-large", f"A head may have {HEADER_BYTES:,} bytes in {HEADER_FIELDS} fields.")
    if len(scope["raw_path"]) + len(scope["query_string"]) > TARGET_BYTES:
        raise QueryError("head-too-large", f"An address may have {TARGET_BYTES:,} bytes.")
    headers = Headers(scope=scope)
    length = headers.get("content-length")
    if length is not None and "transfer-encoding" in headers:
        raise QueryError("invalid-request", "Content-Length and Transfer-Encoding exclude each other.")
    if length is not None and int(length) > MAX_BODY_BYTES:
        raise QueryError("too-large", f"A request may have {MAX_BODY_BYTES:,} bytes.")
    encoding = ", ".join(headers.getlist("content-encoding")).strip()
    if encoding.lower() not in ("", "identity"):
        raise QueryError("unsupported-type", "Send the body as it is: no Content-Encoding is read here.")
