"""The service's description for programs (OpenAPI 3.1) and the page that shows it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from lakehouse.query.formats import FORMATS
from lakehouse.query.problems import STATUS
from lakehouse.query.requests import schema

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
