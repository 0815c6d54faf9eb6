"""The query service as an AWS Lambda function: called directly, by a function URL or by API Gateway (v1 and v2).

`{"q": "SELECT …", "limit": 20}` in, `{"metadata": {…}, "data": {"records": [{…}]}}` out. Settings come from the
environment; the worker process is made by a container's first call and kept for the next ones.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import time
import uuid
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from lakehouse.query.formats import JSON, unique_names
from lakehouse.query.problems import QueryError
from lakehouse.query.requests import parse_request
from lakehouse.query.service import QueryService, Reply
from lakehouse.query.tokens import Limits, TokenBook
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
LOG = logging.getLogger("lakehouse.query")

_calls = 0


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
        asked = _asked(event, is_http=is_http)
        metadata["query"] = asked.get("q") if isinstance(asked.get("q"), str) else None
        body["data"] = {"records": _records(asked, _token(event) if is_http else None, metadata)}
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
    method = event.get("httpMethod") or (event["requestContext"] or {}).get("http", {}).get("method") or "GET"
    if method in ("GET", "HEAD"):
        return _numbered(event.get("queryStringParameters") or {})
    body = event.get("body") or ""
    try:
        content = base64.b64decode(body, validate=True) if event.get("isBase64Encoded") else str(body).encode()
        asked = json.loads(content)
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


def _token(event: Mapping[str, Any]) -> str:
    headers = {str(name).lower(): str(value) for name, value in (event.get("headers") or {}).items()}
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _limits(service: QueryService, token: str | None, environment: str) -> Limits:
    """The caller's limits. Without LAKEHOUSE_QUERY_TOKEN_REQUIRED it is AWS that decides who may call."""
    if token is None or not service.settings.query_token_required:
        return service.limits
    try:
        grant = _tokens().find(token)
    except StorageError:
        raise QueryError("unavailable", "Tokens can't be checked now.") from None
    if grant is None:
        raise QueryError("unauthorized", "Send a token that is known and has not expired: Authorization: Bearer …")
    if environment not in grant.environments:
        raise QueryError("forbidden", f"This token is not for {environment}.")
    return grant.limits(service.limits)


def _records(asked: dict[str, Any], token: str | None, metadata: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows, each by its columns' names. Notes in the metadata where they came from."""
    rest = {name: value for name, value in asked.items() if name != "q"}
    if not isinstance(asked.get("q"), str) or "sql" in rest:
        raise QueryError("invalid-request", 'Send the SQL as q: {"q": "SELECT …"}.')
    request = parse_request(json.dumps({"limit": ROWS, **rest, "sql": asked["q"]}).encode())
    service = _service()
    question = request.question(service.settings.environment, JSON)
    limits = _limits(service, token, question.environment)
    reply = service.ask(question, replace(limits, bytes=min(limits.bytes, RESPONSE_BYTES)))
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
