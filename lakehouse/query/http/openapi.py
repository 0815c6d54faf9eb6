"""The service's description for programs (OpenAPI 3.1) and the page that shows it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from lakehouse.query.engine.formats import FORMATS
from lakehouse.query.engine.problems import STATUS
from lakehouse.query.http.requests import schema

PAGE_POLICY = "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'"
PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Lakehouse query service</title>
<link rel="stylesheet" href="swagger/swagger-ui.css"></head>
<body><div id="swagger-ui"></div>
<script src="swagger/swagger-ui-bundle.js"></script>
<script src="swagger/start.js"></script></body>
</html>
"""
PROBLEM = {"$ref": "#/components/schemas/Problem"}


def page_folder() -> Path | None:
    """Where Swagger UI's files lie, in its wheel; None where it is not installed."""
    found = importlib.util.find_spec("swagger_ui_bundle")
    if found is None or found.origin is None:
        return None
    folders = sorted(Path(found.origin).parent.glob("vendor/swagger-ui-*"))
    return folders[-1] if folders else None


START = """window.onload = () => SwaggerUIBundle({url: "openapi.json", dom_id: "#swagger-ui", deepLinking: true});
"""
"""The page's own script: a file, so that the page needs no inline scripts."""


def document(environment: str, *, needs_token: bool) -> dict[str, Any]:
    """The OpenAPI document of a service whose own environment is this."""
    asked = [
        _parameter("environment", "string", f"Default: {environment}."),
        _parameter("release", "integer", "Default: the release that readers get."),
    ]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Lakehouse query service",
            "version": "1",
            "description": "One SELECT in, rows out. Every answer comes from one release, whole, and names it.",
        },
        "security": [{"token": []}] if needs_token else [],
        "paths": {
            "/query": {
                "post": {
                    "summary": "Answer one SELECT",
                    "requestBody": {
                        "required": True,
                        "content": {
                            "application/json": {
                                "schema": schema(),
                                "example": {"sql": "SELECT * FROM marts.daily_revenue ORDER BY 1 DESC", "limit": 7},
                            }
                        },
                    },
                    "responses": {
                        "200": {
                            "description": "The answer, in the format of the Accept header. Headers say the release, "
                            "whether it is cut (Lakehouse-Cut), and how long it took.",
                            "content": {media: {} for media in FORMATS},
                        },
                        "304": {"description": "The answer is the one that the ETag in If-None-Match names."},
                        **_problems(
                            "invalid-request", "unauthorized", "forbidden", "not-found", "not-acceptable",
                            "too-large", "unsupported-type", "time-limit", "too-many-calls", "unavailable",
                        ),
                    },
                }
            },
            "/tables": _page("The tables of a release, their columns, descriptions and rows", asked),
            "/pages": _page("The dashboard's pages that a release carries, as their teams wrote them", asked),
            "/releases": _page("The releases that are kept, the newest first, and what readers get", asked[:1]),
            "/healthz": _page("Whether the service is alive", []),
            "/readyz": _page("Whether it can answer", []),
            "/metrics": _page("Counters for Prometheus", [], "text/plain"),
        },
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {
                "Problem": {
                    "type": "object",
                    "description": "Problem details (RFC 9457), with the place in the SQL where there is one.",
                    "properties": {
                        "type": {"type": "string", "enum": [f"urn:lakehouse:{kind}" for kind in STATUS]},
                        "title": {"type": "string"},
                        "status": {"type": "integer"},
                        "detail": {"type": "string"},
                        "line": {"type": "integer", "minimum": 1},
                        "column": {"type": "integer", "minimum": 1},
                    },
                }
            },
        },
    }  # fmt: skip


def _parameter(name: str, kind: str, text: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": text, "schema": {"type": kind}}


def _page(summary: str, parameters: list[dict[str, Any]], media: str = "application/json") -> dict[str, Any]:
    answers = {"200": {"description": "Here it is.", "content": {media: {}}}}
    problems = _problems("unauthorized", "forbidden", "not-found") if parameters else {}
    return {"get": {"summary": summary, "parameters": parameters, "responses": answers | problems}}


def _problems(*kinds: str) -> dict[str, Any]:
    by_status: dict[str, list[str]] = {}
    for kind in kinds:
        by_status.setdefault(str(STATUS[kind]), []).append(kind)
    return {
        status: {"description": ", ".join(found), "content": {"application/problem+json": {"schema": PROBLEM}}}
        for status, found in by_status.items()
    }
