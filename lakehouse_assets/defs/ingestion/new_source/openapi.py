"""What an API says of itself in an OpenAPI description (2 and 3): paths that give rows, their parameters, its login."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import requests
import yaml

from lakehouse_assets.defs.ingestion.new_source.parts import NewSourceError

NAMES = ("openapi.json", "swagger.json")
DEEPEST = 20


@dataclass(frozen=True)
class Description:
    """Of an API: where it begins, by path the parameters of its query, and how one logs in, as `--auth` says it."""

    base: str
    parameters: dict[str, tuple[str, ...]]
    auth: str


def described(get: Callable[[str], requests.Response], address: str, given: str) -> Description | None:
    """The description that was given, or that lies where most do; None where there is none."""
    if given and "://" not in given:
        try:
            return _read(Path(given).expanduser().read_text(), address, given)
        except OSError as error:
            raise NewSourceError(f"The description {given} can't be read: {error.strerror}.") from error
    for url in [given] if given else dict.fromkeys(urljoin(start, name) for start in (address, "/") for name in NAMES):
        answer = get(urljoin(address, url))
        if answer.status_code == 200 and (found := _read(answer.text, urljoin(address, url), url)):
            return found
        if given:
            raise NewSourceError(f"{given} answers {answer.status_code}, and no OpenAPI description.")
    return None


def _read(text: str, address: str, name: str) -> Description | None:
    try:
        spec = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise NewSourceError(f"The description {name} is neither JSON nor YAML.") from error
    if not isinstance(spec, dict) or not isinstance(spec.get("paths"), dict):
        return None
    server = (spec.get("servers") or [{}])[0].get("url", "")
    if not server and "host" in spec:
        server = f"{(spec.get('schemes') or ['https'])[0]}://{spec['host']}{spec.get('basePath', '')}"
    parameters = {}
    for path, item in spec["paths"].items():
        operation = item.get("get") if isinstance(item, dict) else None
        if operation and "{" not in path and _gives_rows(spec, operation):
            known = [_resolved(spec, one) for one in (*item.get("parameters", ()), *operation.get("parameters", ()))]
            parameters[path.strip("/")] = tuple(one["name"] for one in known if one.get("in") == "query")
    return Description(urljoin(address, server or "."), parameters, _auth(spec))


def _resolved(spec: Any, node: Any) -> Any:
    for _ in range(DEEPEST):
        if not isinstance(node, dict) or not str(node.get("$ref", "")).startswith("#/"):
            return node
        found = spec
        for part in node["$ref"][2:].split("/"):
            found = found.get(part.replace("~1", "/").replace("~0", "~"), {})
        node = found
    return {}


def _gives_rows(spec: Any, operation: Any) -> bool:
    """Whether the answer is a list, or has one inside."""
    responses = operation.get("responses", {})
    answer = _resolved(spec, responses.get("200") or responses.get(200) or responses.get("default") or {})
    contents = answer.get("content", {})
    schema = next((one.get("schema") for kind, one in contents.items() if "json" in kind), answer.get("schema"))
    return schema is None or _has_list(spec, schema, 0)


def _has_list(spec: Any, schema: Any, depth: int) -> bool:
    schema = _resolved(spec, schema)
    if not isinstance(schema, dict) or depth > 3:
        return False
    if schema.get("type") == "array" or "items" in schema:
        return True
    parts = (*schema.get("properties", {}).values(), *schema.get("allOf", ()))
    return any(_has_list(spec, part, depth + 1) for part in parts)


def _auth(spec: Any) -> str:
    schemes = spec.get("components", {}).get("securitySchemes") or spec.get("securityDefinitions") or {}
    for scheme in (_resolved(spec, one) for one in schemes.values()):
        if scheme.get("type") == "http" and str(scheme.get("scheme")).lower() == "bearer":
            return "bearer"
        if scheme.get("type") == "apiKey" and scheme.get("in") in ("header", "query"):
            return f"{scheme['in']}:{scheme['name']}"
    return ""
