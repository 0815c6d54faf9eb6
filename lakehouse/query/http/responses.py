"""Answers of the query service as HTTP has them: headers, and problem details for what goes wrong."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from lakehouse.query.engine.problems import QueryError
from lakehouse.query.engine.service import Reply

LOG = logging.getLogger("lakehouse.query")
SAFE_HEADERS = {"x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}


def reply_headers(reply: Reply) -> dict[str, str]:
    """What an answer's headers tell: release, environment, limits, cache."""
    source = reply.source
    headers = {
        **SAFE_HEADERS,
        "lakehouse-environment": source.manifest.environment,
        "lakehouse-release": str(source.manifest.number),
        "lakehouse-cut-at": source.manifest.cut_at,
        "lakehouse-start": "warm" if reply.is_warm else "cold",
        "lakehouse-cached": "yes" if reply.is_cached else "no",
        "lakehouse-query-id": uuid.uuid4().hex,
        "vary": "Accept, Authorization",
        "cache-control": "private, no-cache" if reply.etag else "private, no-store",
    }
    if source.held:
        headers["lakehouse-held"] = source.held
    if reply.etag:
        headers["etag"] = f'"{reply.etag}"'
    if reply.is_whole:
        headers |= {
            "lakehouse-rows": str(reply.rows),
            "lakehouse-cut": reply.cut or "no",
            "lakehouse-execution-ms": f"{reply.execution_ms:.3f}",
        }
    return headers


def content_type(chosen: str) -> str:
    """The header of a format."""
    return "text/csv; charset=utf-8; header=present" if chosen == "text/csv" else chosen


def problem_response(error: QueryError) -> Response:
    """RFC 9457."""
    headers = dict(SAFE_HEADERS)
    if error.retry_after:
        headers["retry-after"] = str(error.retry_after)
    if error.kind == "unauthorized":
        headers["www-authenticate"] = 'Bearer realm="lakehouse"'
    return Response(json.dumps(error.problem()), error.status, media_type="application/problem+json", headers=headers)


async def http_problem(request: Request, error: Exception) -> Response:
    """What Starlette itself refuses: an address or a method that is not there."""
    assert isinstance(error, HTTPException)
    body: Mapping[str, Any] = {"type": "about:blank", "title": error.detail, "status": error.status_code}
    return Response(
        json.dumps(body), error.status_code, media_type="application/problem+json", headers=dict(error.headers or {})
    )


async def unexpected(request: Request, error: Exception) -> Response:
    """A fault of ours: never its words, which might hold somebody's data."""
    LOG.error("unexpected %s", type(error).__name__)
    body = {"type": "about:blank", "title": "The service failed on this request", "status": 500}
    return Response(json.dumps(body), 500, media_type="application/problem+json")
