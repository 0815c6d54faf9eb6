"""The query service as an AWS Lambda function: called directly, by a function URL or by API Gateway (v1 and v2).

`{"q": "SELECT …", "limit": 20}` in, `{"metadata": {…}, "data": {"records": [{…}]}}` out. Settings come from the
environment; the worker process is made by a container's first call and kept for the next ones.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from lakehouse.query.engine.formats import JSON, unique_names
from lakehouse.query.engine.problems import QueryError
from lakehouse.query.engine.service import QueryService, Reply
from lakehouse.query.engine.tokens import Limits, TokenBook, environment_of
from lakehouse.query.http.requests import parse_request
from lakehouse.settings import SettingsError, load_settings
from lakehouse.storage import StorageError

ROWS = 20
RESPONSE_BYTES = 5_500_000
"""Lambda gives 6 MB at most to a caller, the envelope and its escapes included."""
HEADERS = {
    "content-type": "application/json",
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
}
MARGIN_SECONDS = 0.5
"""What is left of the function's time for its answer."""
ALLOWED = ("GET", "HEAD", "POST")
LOG = logging.getLogger("lakehouse.query")

_calls = 0
_making = threading.Lock()


def handler(event: Any, context: Any = None) -> dict[str, Any]:
    """Lambda's entry point. Whatever happens the answer is an envelope: with `data`, or with `error`."""
    global _calls
    _calls += 1
    started = time.perf_counter()
    metadata: dict[str, Any] = {
        "timeMs": 0,
        "epochMs": round(time.time() * 1000),
        "eventId": str(getattr(context, "aws_request_id", "") or uuid.uuid4()),
        "query": None,
        "warm": _calls > 1,
        "release": None,
        "environment": None,
        "cut": None,
    }
    is_http = isinstance(event, Mapping) and "requestContext" in event
    error: QueryError | None = None
    status = 200
    body: dict[str, Any] = {"metadata": metadata}
    try:
        until = _until(context, time.monotonic())
        asked = _asked(event, is_http=is_http)
        metadata["query"] = asked.get("q") if isinstance(asked.get("q"), str) else None
        body["data"] = {"records": _records(asked, _token(event) if is_http else None, metadata, until)}
    except QueryError as problem:
        error, status = problem, problem.status
        told = problem.problem()
        body["error"] = {name: told.get(name) for name in ("type", "title", "detail", "line", "column")}
    except Exception as failure:
        # Ours, not the caller's: its text may name what is nobody's business.
        LOG.exception("unexpected %s", type(failure).__name__)
        status = 500
        body["error"] = {
            "type": "about:blank", "title": "The service failed on this request", "detail": None, "line": None,
            "column": None,
        }  # fmt: skip
    metadata["timeMs"] = round((time.perf_counter() - started) * 1000)
    if not is_http:
        return body
    headers = dict(HEADERS)
    if error and error.retry_after:
        headers["retry-after"] = str(error.retry_after)
    if error and error.kind == "method":
        headers["allow"] = ", ".join(ALLOWED)
    if error and error.kind == "unauthorized":
        headers["www-authenticate"] = 'Bearer realm="lakehouse"'
    return {"statusCode": status, "headers": headers, "body": json.dumps(body), "isBase64Encoded": False}


@lru_cache(maxsize=1)
def _service() -> QueryService:
    try:
        # A container has one call at a time.
        return QueryService(load_settings(), workers=1)
    except SettingsError as error:
        LOG.error("%s", error)
        raise QueryError("unavailable", "The function's settings are wrong: its log says which.") from None


@lru_cache(maxsize=1)
def _tokens() -> TokenBook:
    return TokenBook(_service().storage)


def _asked(event: Any, *, is_http: bool) -> dict[str, Any]:
    """What is asked, out of any shape of event."""
    if not isinstance(event, Mapping):
        raise QueryError("invalid-request", 'Send {"q": "SELECT …"}.')
    if not is_http:
        return dict(event)
    method = _method(event)
    if method not in ALLOWED:
        raise QueryError("method", f"Ask with {', '.join(ALLOWED)}.")
    if method != "POST":
        return _numbered(_texts(event, "queryStringParameters"))
    body, is_base64 = event.get("body") or "", event.get("isBase64Encoded") or False
    if not isinstance(body, str) or not isinstance(is_base64, bool):
        raise QueryError("invalid-request", "The event's body must be a text, and isBase64Encoded true or false.")
    try:
        asked = json.loads(base64.b64decode(body, validate=True) if is_base64 else body.encode())
    except (ValueError, binascii.Error, RecursionError, UnicodeError):
        raise QueryError("invalid-request", 'The body is no JSON: send {"q": "SELECT …"}.') from None
    if not isinstance(asked, dict):
        raise QueryError("invalid-request", 'The body is no object: send {"q": "SELECT …"}.')
    return asked


def _numbered(given: Mapping[str, str]) -> dict[str, Any]:
    """The values of a query string: numbers are text there."""
    asked: dict[str, Any] = dict(given)
    for name in ("limit", "release"):
        text = asked.get(name)
        if isinstance(text, str) and text.isascii() and text.isdigit() and len(text) <= 9:
            asked[name] = int(text)
    return asked


def _method(event: Mapping[str, Any]) -> str:
    context = event["requestContext"]
    http = context.get("http") if isinstance(context, Mapping) else None
    method = event.get("httpMethod") or (http.get("method") if isinstance(http, Mapping) else None)
    if not isinstance(context, Mapping) or not isinstance(method, str):
        raise QueryError("invalid-request", "The event names no HTTP method.")
    return method.upper()


def _texts(event: Mapping[str, Any], name: str) -> dict[str, str]:
    found = event.get(name)
    given = found.items() if isinstance(found, Mapping) else ()
    if not isinstance(found, Mapping | None) or not all(isinstance(one, str | None) for pair in given for one in pair):
        raise QueryError("invalid-request", f"The event's {name} must be texts by their names.")
    return {key: value for key, value in given if value is not None}


def _token(event: Mapping[str, Any]) -> str:
    headers = {name.lower(): value for name, value in _texts(event, "headers").items()}
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _until(context: Any, now: float) -> float | None:
    """When Lambda ends this call, by the monotonic clock; None when it doesn't say."""
    left = getattr(context, "get_remaining_time_in_millis", None)
    return now + left() / 1000 - MARGIN_SECONDS if left else None


def _allowed(service: QueryService, token: str | None, asked: str | None) -> tuple[Limits, str]:
    """The caller's limits and environment. Without LAKEHOUSE_QUERY_TOKEN_REQUIRED AWS decides who may call."""
    own = service.settings.environment
    if token is None or not service.settings.query_token_required:
        return service.limits, environment_of(None, asked, own)
    try:
        grant = _tokens().find(token)
    except StorageError:
        raise QueryError("unavailable", "Tokens can't be checked now.") from None
    if grant is None:
        raise QueryError("unauthorized", "Send a token that is known and has not expired: Authorization: Bearer …")
    return grant.limits(service.limits), environment_of(grant.environments, asked, own)


def _records(
    asked: dict[str, Any], token: str | None, metadata: dict[str, Any], until: float | None
) -> list[dict[str, Any]]:
    """The rows, each by its columns' names. Notes in the metadata where they came from."""
    rest = {name: value for name, value in asked.items() if name != "q"}
    if not isinstance(asked.get("q"), str) or "sql" in rest:
        raise QueryError("invalid-request", 'Send the SQL as q: {"q": "SELECT …"}.')
    try:
        body = json.dumps({"limit": ROWS, **rest, "sql": asked["q"]}).encode()
    except (TypeError, ValueError, RecursionError):
        raise QueryError("invalid-request", "The event is no JSON.") from None
    request = parse_request(body)
    with _making:
        service = _service()
    limits, environment = _allowed(service, token, request.environment)
    within = replace(limits, bytes=min(limits.bytes, RESPONSE_BYTES))
    reply = service.ask(request.question(environment, JSON), within, until=until)
    answer = _whole(reply)
    metadata |= {"release": answer["release"], "environment": answer["environment"], "cut": answer["cut"]}
    names = unique_names([column["name"] for column in answer["columns"]])
    records: list[dict[str, Any]] = []
    size = 0
    for row in answer["rows"]:
        record = dict(zip(names, row, strict=True))
        # Over HTTP the envelope is a text inside of JSON: escaped twice.
        size += len(json.dumps(json.dumps(record)))
        if size > RESPONSE_BYTES:
            metadata["cut"] = "bytes"
            break
        records.append(record)
    return records


def _whole(reply: Reply) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = json.loads(b"".join(reply.body))
        return answer
    finally:
        reply.close()
