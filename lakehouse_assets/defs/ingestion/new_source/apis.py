"""A JSON API as a new source: its auth, where the rows lie, how it pages, what tells rows apart."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urljoin, urlsplit, urlunsplit

import requests

from lakehouse_assets.defs.ingestion.new_source.openapi import Description, described
from lakehouse_assets.defs.ingestion.new_source.parts import (
    NONE,
    Asking,
    Code,
    Given,
    NewSourceError,
    Written,
    changed_column,
    check_tables,
    code,
    given_secret,
    variable,
)

SECONDS = 30
PAGES = ("page", "page_number", "pageNumber", "p")
OFFSETS = (("offset", "limit"), ("skip", "limit"), ("start", "limit"))
CURSORS = ("cursor", "page_token", "pageToken", "next_token", "after", "starting_after")
SINCE = ("since", "updated_since", "modified_since", "updated_after", "modified_after", "changed_since")
"""Parameters that a description may name for rows changed since a time."""
KEYS = ("id", "_id", "uuid", "guid", "key", "number", "code")


@dataclass
class Api:
    """An API that is being looked at: what each request carries."""

    given: Given
    asking: Asking
    headers: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    auth: dict[str, Any] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)

    def get(self, url: str, params: dict[str, Any] | None = None) -> requests.Response:
        """An answer that is JSON. Raises NewSourceError."""
        answer = self.ask_for(url, params)
        if answer.status_code in (401, 403) and not self.auth:
            self.take_auth(self.given.auth or self.asking.ask(
                f"{url} wants a login: bearer, header:NAME, query:NAME or basic:USER", "bearer", "--auth"
            ))  # fmt: skip
            answer = self.ask_for(url, params)
        if answer.status_code != 200:
            raise NewSourceError(f"{url} answers {answer.status_code} {answer.reason}.")
        try:
            answer.json()
        except ValueError as error:
            kind = answer.headers.get("Content-Type", "something")
            raise NewSourceError(f"{url} answers {kind}, not JSON.") from error
        return answer

    def ask_for(self, url: str, params: dict[str, Any] | None = None) -> requests.Response:
        """Whatever comes back. Raises NewSourceError: nothing does."""
        try:
            return requests.get(url, {**self.params, **(params or {})}, headers=self.headers, timeout=SECONDS)
        except requests.RequestException as error:
            raise NewSourceError(f"{url} can't be reached: {type(error).__name__}.") from None

    def take_auth(self, kind: str) -> None:
        """Log in from now on as `kind` says."""
        way, _, name = kind.partition(":")
        wanted = {"bearer": "token", "header": "api_key", "query": "api_key", "basic": "password"}
        if way == "none":
            return
        if way not in wanted or bool(name) == (way == "bearer"):
            raise NewSourceError(f"--auth {kind}: it is bearer, header:NAME, query:NAME, basic:USER or none.")
        key = wanted[way]
        secret = given_secret(self.given.name, key)
        if not secret:
            secret = self.asking.secret(f"The {key.replace('_', ' ')}", variable(self.given.name, key))
            if not secret:
                raise NewSourceError(f"A {key} is wanted. Set {variable(self.given.name, key)}.")
            self.secrets[key] = secret
        told = Code(f'dlt.secrets["sources.{self.given.name}.{key}"]')
        if way == "bearer":
            self.headers["Authorization"] = f"Bearer {secret}"
            self.auth = {"type": "bearer", "token": told}
        elif way == "basic":
            self.headers["Authorization"] = "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()
            self.auth = {"type": "http_basic", "username": name, "password": told}
        else:
            (self.headers if way == "header" else self.params)[name] = secret
            self.auth = {"type": "api_key", "name": name, "api_key": told, "location": way}


def make(given: Given, asking: Asking) -> Written:
    """Look at the API and ask what it doesn't say. Raises NewSourceError."""
    api = Api(given, asking)
    address = urlsplit(given.address)
    params = dict(parse_qsl(address.query))
    bare = urlunsplit((address.scheme, address.netloc, address.path, "", ""))
    if given.auth:
        api.take_auth(given.auth)
    description = described(api.ask_for, bare, given.openapi)
    if description and description.auth and not api.auth and not given.auth:
        api.take_auth(description.auth)
    base, paths = _paths(given, asking, bare, description)
    resources, told = [], []
    for path in paths:
        resource, said = _resource(api, base, path, params, description)
        resources.append(resource)
        told.append((resource["name"], said))
    check_tables(Given(given.name, given.address, (), given.keys, given.cursors), [one["name"] for one in resources])
    pagings = [resource["endpoint"].get("paginator") for resource in resources]
    client: dict[str, Any] = {"base_url": base, **({"auth": api.auth} if api.auth else {})}
    if pagings and all(paging == pagings[0] for paging in pagings):
        client["paginator"] = pagings[0]
        for resource in resources:
            del resource["endpoint"]["paginator"]
    uses_dlt = "import dlt\n" if api.secrets or api.auth else ""
    text = (
        f'"""The API at {base}"""\n\n{uses_dlt}from dlt.sources.rest_api import rest_api_source\n\n'
        f"{given.name} = rest_api_source(\n    {code({'client': client, 'resources': resources}, 4)}\n)\n"
    )
    return Written(text, told, api.secrets)


def _paths(given: Given, asking: Asking, bare: str, description: Description | None) -> tuple[str, list[str]]:
    """The base address and the paths below it that are loaded."""
    if not description:
        if given.tables:
            return bare.rstrip("/") + "/", [path.strip("/") for path in given.tables]
        base, _, path = bare.rstrip("/").rpartition("/")
        if base.endswith("/"):  # only a host was given
            path = asking.ask("Which path gives rows?", "", "--table").strip("/")
            return bare.rstrip("/") + "/", [path]
        return base + "/", [path]
    own = bare.rstrip("/").removeprefix(description.base.rstrip("/")).strip("/")
    if given.tables:
        paths = [path.strip("/") for path in given.tables]
    elif own in description.parameters:
        paths = [own]
    else:
        known = list(description.parameters)
        answer = asking.ask(f"Which paths? {', '.join(known)}", "all", "--table") if known else ""
        paths = known if answer == "all" else [path.strip().strip("/") for path in answer.split(",") if path.strip()]
    check_tables(Given("", "", paths), list(description.parameters))
    return description.base.rstrip("/") + "/", paths


def _resource(
    api: Api, base: str, path: str, params: dict[str, str], description: Description | None
) -> tuple[dict[str, Any], str]:
    """One resource of `rest_api`, and the same in words."""
    url = urljoin(base, path)
    name = re.sub(r"\W+", "_", path.rstrip("/").rpartition("/")[2]).strip("_").lower()
    first = api.get(url, params)
    selector, rows = _rows(api, name, first.json())
    known = description.parameters.get(path, ()) if description else ()
    paging, paging_words = _paging(api, url, params, first, selector, known)
    key = _key(api, name, rows)
    endpoint: dict[str, Any] = {"path": path, "data_selector": selector, "paginator": paging}
    cursor = _cursor(api, name, rows, known)
    if cursor:
        column, parameter, initial = cursor
        params = {**params, parameter: "{incremental.start_value}"}
        endpoint["incremental"] = {"cursor_path": column, "initial_value": initial}
    if params:
        endpoint["params"] = params
    way = "merge" if key else "append" if cursor else "replace"
    keys = {"primary_key": key if len(key) > 1 else key[0]} if key else {}
    told = f"key {', '.join(key)}" if key else "no key"
    words = f"{told}; {paging_words}; {f'increments by {cursor[0]}' if cursor else 'asked for whole each time'}"
    return {"name": name, **keys, "write_disposition": way, "endpoint": endpoint}, words


def _rows(api: Api, name: str, body: Any) -> tuple[str, list[dict[str, Any]]]:
    """Where the rows lie in an answer, as dlt's data selector, and those that came."""
    if isinstance(body, list):
        return "$", [row for row in body if isinstance(row, dict)]
    found = dict(_lists(body))
    if not found:
        return "$", [body] if isinstance(body, dict) else []
    filled = {path: rows for path, rows in found.items() if rows} or found
    paths = list(filled)
    if len(paths) > 1:
        answer = api.asking.ask(f"{name}: where do the rows lie? {', '.join(paths)}", paths[0], "an own path")
        if answer not in found:
            raise NewSourceError(f"{name}: no rows lie in {answer}; there are {', '.join(paths)}.")
        return answer, found[answer]
    return paths[0], filled[paths[0]]


def _lists(body: Any, path: str = "") -> list[tuple[str, list[dict[str, Any]]]]:
    """Every list of objects outside of lists, the outermost first."""
    if not isinstance(body, dict):
        return []
    here = [
        (f"{path}{key}", value)
        for key, value in body.items()
        if isinstance(value, list) and all(isinstance(row, dict) for row in value)
    ]
    return here + [found for key, value in body.items() for found in _lists(value, f"{path}{key}.")]


def _at(body: Any, selector: str) -> list[Any] | None:
    if selector == "$":
        return body if isinstance(body, list) else [body]
    for part in selector.split("."):
        body = body.get(part) if isinstance(body, dict) else None
    return body if isinstance(body, list) else None


def _paging(
    api: Api, url: str, params: dict[str, str], first: requests.Response, selector: str, known: tuple[str, ...]
) -> tuple[dict[str, Any], str]:
    """How `rest_api` gets the next page: what the answer says, else what asking for a second page shows."""
    if first.links.get("next"):
        return {"type": "header_link"}, "paged by the Link header"
    body, rows = first.json(), _at(first.json(), selector)

    def page(**more: Any) -> list[Any] | None:
        answer = api.ask_for(url, {**params, **more})
        try:
            return _at(answer.json(), selector) if answer.status_code == 200 else None
        except ValueError:
            return None

    fields = dict(_fields(body)) if isinstance(body, dict) else {}
    for path, value in fields.items():
        last = path.rpartition(".")[2].lower()
        if (path.lower().startswith(("next", "links.next", "paging.next")) or last == "next") and (
            (isinstance(value, str) and "/" in value) or (value is None and last in ("next", "next_url", "nexturl"))
        ):
            return {"type": "json_link", "next_url_path": path}, f"paged by the link in {path}"
    for path, value in fields.items():
        if re.search("cursor|token|after", path, re.I) and isinstance(value, str | int) and value:
            for parameter in sorted(CURSORS, key=lambda one: one not in known):
                if page(**{parameter: value}) not in (None, rows):
                    paginator = {"type": "cursor", "cursor_path": path, "cursor_param": parameter}
                    return paginator, f"paged by {parameter}, from {path}"
    for parameter in sorted(PAGES, key=lambda one: one not in known):
        second = page(**{parameter: 2})
        if second is not None and second != rows:
            start = 0 if page(**{parameter: 1}) != rows and page(**{parameter: 0}) == rows else 1
            total = next((p for p in fields if re.fullmatch(r"(.*\.)?(total_?pages|pages|page_?count)", p, re.I)), None)
            numbered = {"type": "page_number", "page_param": parameter, "base_page": start, "total_path": total}
            return numbered, f"paged by {parameter}, from {start} on"
    for offset, limit in sorted(OFFSETS, key=lambda pair: pair[0] not in known):
        if rows and page(**{offset: len(rows), limit: len(rows)}) not in (None, rows):
            by_offset = {"type": "offset", "limit": len(rows), "offset_param": offset, "limit_param": limit}
            return {**by_offset, "total_path": None}, f"paged by {offset} and {limit}"
    return {"type": "single_page"}, "one page, as far as can be seen"


def _fields(body: dict[str, Any], path: str = "") -> list[tuple[str, Any]]:
    """What an answer says beside its rows."""
    found = [(f"{path}{key}", value) for key, value in body.items() if not isinstance(value, dict | list)]
    return found + [
        one for key, value in body.items() if isinstance(value, dict) for one in _fields(value, f"{path}{key}.")
    ]


def _key(api: Api, name: str, rows: list[dict[str, Any]]) -> list[str]:
    """What tells the rows apart: by its name, and in the rows that came."""
    given = api.given.keys.get(name, "")
    fields = list(rows[0]) if rows else []
    if not given:
        names = (*KEYS, f"{name}_id", f"{name.rstrip('s')}_id", f"{name.rstrip('s')}Id")
        for field_name in names:
            values = [json.dumps(row.get(field_name)) for row in rows]
            if field_name in fields and "null" not in values and len(set(values)) == len(values):
                return [field_name]
        given = api.asking.ask(
            f"{name}: which fields tell rows apart? {', '.join(fields)}, or {NONE}", NONE, f"--key {name}=FIELD"
        )
    wanted = [] if given == NONE else [one.strip() for one in given.split(",")]
    if rows and (missing := [one for one in wanted if one not in fields]):
        raise NewSourceError(f"{name} has no {', '.join(missing)}. It has: {', '.join(fields)}.")
    return wanted


def _cursor(
    api: Api, name: str, rows: list[dict[str, Any]], known: tuple[str, ...]
) -> tuple[str, str, str | int] | None:
    """The field that says when a row was changed, and the parameter that asks for what changed since."""
    given = api.given.cursors.get(name, "")
    if given == NONE:
        return None
    column, _, parameter = given.partition(":")
    if given and not parameter:
        raise NewSourceError(f"--cursor {name}={given}: an API is asked by a parameter, as {name}=updated_at:since.")
    if not given:
        columns = changed_column(list(rows[0]) if rows else [])
        parameters = [one for one in SINCE if one in known]
        if not columns or not parameters:
            return None
        column, parameter = columns[0], parameters[0]
    value = rows[0].get(column) if rows else ""
    return column, parameter, 0 if isinstance(value, int) else "1970-01-01T00:00:00Z"
