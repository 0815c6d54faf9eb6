"""A local open-data portal: answers as the real one does (SODA 2), from a Parquet file of strings.

`python -m lakehouse.demo.portal FILE --port 8090` serves until it is stopped. Tests use `serve`.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import hashlib
import io
import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import format_datetime
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from lakehouse.demo.portal_faults import CutConnection, Faults, Meanwhile, NeverAnswer, NotJson, ShortPage, Status
from lakehouse.demo.portal_rows import Page, PortalRows
from lakehouse.demo.soql import CLAUSES, Malformed, NoSuchColumn, split_query

DATASET_ID = "h9gi-nx95"
DEFAULT_LIMIT = 1000
LARGEST_LIMIT = 50_000
CHUNK_BYTES = 1 << 20


@dataclass
class Portal:
    """The portal: its rows, the app tokens that it accepts, the faults ordered, the requests it has seen."""

    rows: PortalRows
    tokens: frozenset[str] = frozenset({"local-token"})
    faults: Faults = field(default_factory=Faults)
    requests: list[dict[str, str]] = field(default_factory=list)

    def app(self) -> Starlette:
        """The ASGI application."""
        return Starlette(
            routes=[
                Route("/resource/{name}", self._resource),
                Route("/api/views/{name}", self._metadata),
            ]
        )

    async def _resource(self, request: Request) -> Response:
        name, _, ending = request.path_params["name"].partition(".")
        parameters = dict(request.query_params)
        self.requests.append(parameters)
        if name != DATASET_ID or ending not in ("", "json", "csv"):
            return _not_found(name)
        token = request.headers.get("X-App-Token") or parameters.get("$$app_token")
        if token is not None and token not in self.tokens:
            return _error(403, "permission_denied", "Invalid app_token specified")
        fault = self.faults.take()
        if isinstance(fault, Status):
            return Response(fault.body, fault.code, dict(fault.headers), "application/json;charset=utf-8")
        if isinstance(fault, NotJson):
            return Response(fault.body, media_type="application/json;charset=utf-8")
        if isinstance(fault, NeverAnswer):
            await asyncio.sleep(3600)
        if isinstance(fault, Meanwhile):
            await run_in_threadpool(fault.act)
        etag = f'"{hashlib.md5(f"{self.rows.version} {request.url.query}".encode()).hexdigest()}"'
        if request.headers.get("If-None-Match") == etag:
            return Response(status_code=304, headers={"ETag": etag})
        try:
            page = await run_in_threadpool(self._page, parameters)
        except NoSuchColumn as error:
            return _no_such_column(error.column)
        except Malformed as error:
            return _malformed(str(error))
        if isinstance(fault, ShortPage):
            page = Page(page.rows[: fault.rows], page.fields, page.types)
        headers = self._headers(page) | {"ETag": etag}
        if ending == "csv":
            return Response(_csv(page), headers=headers, media_type="text/csv;charset=utf-8")
        body = ("[" + "\n,".join(page.rows) + "]\n").encode()
        chunks = _chunks(body, cut=isinstance(fault, CutConnection))
        return StreamingResponse(chunks, headers=headers, media_type="application/json;charset=utf-8")

    def _page(self, parameters: dict[str, str]) -> Page:
        if query := parameters.get("$query"):
            clauses = split_query(query)
        else:
            clauses = {name: parameters[f"${name}"] for name in (*CLAUSES, "q") if parameters.get(f"${name}")}
        equalities = {name: value for name, value in parameters.items() if not name.startswith("$")}
        for name in equalities:
            if name not in self.rows.types:
                raise NoSuchColumn(name)
        try:
            limit = int(clauses.pop("limit", DEFAULT_LIMIT))
            offset = int(clauses.pop("offset", 0))
        except ValueError as error:
            raise Malformed(str(error)) from error
        if min(limit, offset) < 0:
            raise Malformed(f"limit {limit} offset {offset}")
        return self.rows.query(equalities | clauses, min(limit, LARGEST_LIMIT), offset)

    def _headers(self, page: Page) -> dict[str, str]:
        modified = format_datetime(self.rows.last_modified()).replace("-0000", "GMT")
        return {
            "X-SODA2-Fields": json.dumps(page.fields, separators=(",", ":")),
            "X-SODA2-Types": json.dumps(page.types, separators=(",", ":")),
            "X-SODA2-Truth-Last-Modified": modified,
            "Last-Modified": modified,
        }

    async def _metadata(self, request: Request) -> Response:
        name = request.path_params["name"].removesuffix(".json")
        if name != DATASET_ID:
            return _not_found(name)
        columns = [
            {"fieldName": field, "name": field.upper().replace("_", " "), "dataTypeName": kind}
            for field, kind in self.rows.types.items()
            if not field.startswith(":")
        ]
        updated = int(self.rows.last_modified().timestamp())
        title = "Motor Vehicle Collisions - Crashes"
        return JSONResponse({"id": name, "name": title, "rowsUpdatedAt": updated, "columns": columns})


def _error(status: int, code: str, message: str, data: dict[str, str] | None = None) -> Response:
    body = {"code": code, "error": True, "message": message} | ({"data": data} if data else {})
    return JSONResponse(body, status)


def _not_found(name: str) -> Response:
    return _error(404, "dataset.missing", "Not found", {"id": name})


def _malformed(query: str) -> Response:
    message = f'Could not parse SoQL query "{query}"'
    return _error(400, "query.compiler.malformed", message, {"query": query})


def _no_such_column(column: str) -> Response:
    code = "query.soql.no-such-column"
    message = f"Query coordinator error: {code}; No such column: {column}; position: Map(row -> 1, column -> 1)"
    return JSONResponse({"message": message, "errorCode": code, "data": {"column": column}}, 400)


def _csv(page: Page) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, page.fields, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writeheader()
    for row in page.rows:
        values = json.loads(row)
        writer.writerow({k: json.dumps(v) if isinstance(v, dict) else v for k, v in values.items()})
    return out.getvalue()


async def _chunks(body: bytes, *, cut: bool) -> AsyncIterator[bytes]:
    end = len(body) // 2 if cut else len(body)
    for start in range(0, end, CHUNK_BYTES):
        yield body[start : min(start + CHUNK_BYTES, end)]
    if cut:
        raise ConnectionAbortedError("ordered by a test")


@dataclass(frozen=True)
class RunningPortal:
    """A portal that answers at `base_url`."""

    base_url: str
    portal: Portal

    @property
    def rows(self) -> PortalRows:
        """Its rows, to insert and change."""
        return self.portal.rows

    @property
    def faults(self) -> Faults:
        """The faults to come."""
        return self.portal.faults


def _server(portal: Portal) -> uvicorn.Server:
    config = uvicorn.Config(portal.app(), log_level="critical", access_log=False, lifespan="off")
    return uvicorn.Server(config)


def _socket(port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(("127.0.0.1", port))
    except OSError as error:
        listening.close()
        raise OSError(f"the local portal can't listen on port {port}: {error}; choose another port") from error
    listening.listen(128)
    return listening


@contextmanager
def serve(parquet: Path, port: int = 0) -> Iterator[RunningPortal]:
    """Serve the file from a thread; port 0 takes a free one. Loopback only."""
    portal = Portal(PortalRows(parquet))
    listening = _socket(port)
    server = _server(portal)
    server.force_exit = False
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        yield RunningPortal(f"http://127.0.0.1:{listening.getsockname()[1]}", portal)
    finally:
        server.should_exit = True
        server.force_exit = True
        thread.join(timeout=10)
        listening.close()


def main() -> None:
    """The command line: serve a file until stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parquet", type=Path)
    parser.add_argument("--port", type=int, default=8090)
    arguments = parser.parse_args()
    portal = Portal(PortalRows(arguments.parquet))
    listening = _socket(arguments.port)
    address = f"http://127.0.0.1:{listening.getsockname()[1]}"
    print(f"{portal.rows.count():,} rows at {address}/resource/{DATASET_ID}", flush=True)
    _server(portal).run(sockets=[listening])


if __name__ == "__main__":
    main()
