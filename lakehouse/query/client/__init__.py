"""Asking a query service from Python: answers as Arrow, pandas or Polars, and the release that they came from."""

from __future__ import annotations

import json
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import asdict
from datetime import date
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from lakehouse.query.client.result import About, Result, Stream, columns_of, read_arrow
from lakehouse.query.engine.formats import ARROW
from lakehouse.query.engine.problems import STATUS, QueryError

if TYPE_CHECKING:
    import httpx

ROWS = 100_000
CONNECT_SECONDS = 10.0
PROBLEM_BYTES, PAGE_BYTES = 64 << 10, 16 << 20
"""The most that is read of an error, and of a list of tables: whatever answers there may be no lakehouse."""
PROBLEM_CHARACTERS = 4000
URN = "urn:lakehouse:"


class Client(ABC):
    """Asks questions. Where they are answered is its subclass's business. May be used by several threads at once."""

    @abstractmethod
    def open(
        self,
        sql: str,
        *,
        media_type: str = ARROW,
        parameters: Mapping[str, Any] | None = None,
        release: int | None = None,
        environment: str | None = None,
        limit: int = ROWS,
    ) -> AbstractContextManager[Stream]:
        """The answer piece by piece, in a format of `formats.FORMATS`; leaving the block stops it.

        Raises:
            QueryError: there is no answer; it says why.
        """

    @abstractmethod
    def newest(self, environment: str | None = None) -> int:
        """The number of the release that readers get now."""

    @abstractmethod
    def close(self) -> None:
        """Let go of connections and processes."""

    def query(
        self,
        sql: str,
        *,
        parameters: Mapping[str, Any] | None = None,
        release: int | None = None,
        environment: str | None = None,
        limit: int = ROWS,
    ) -> Result:
        """The answer to one SELECT, at most `limit` rows of it: look at `cut`.

        `parameters` are the values of `$name` in the SQL: text, numbers, booleans, None.

        Raises:
            QueryError: there is no answer; it says why.
        """
        started = time.perf_counter()
        with self.open(sql, parameters=parameters, release=release, environment=environment, limit=limit) as stream:
            table, cut = read_arrow(b"".join(stream.pieces))
        about = stream.about
        about.rows, about.cut = table.num_rows, cut or about.cut
        took = (time.perf_counter() - started) * 1000
        return Result(**asdict(about), round_trip_ms=took, columns=columns_of(table), _table=table)

    def query_by_day(
        self,
        sql: str,
        days: Iterable[date | str],
        *,
        combine: str | None = None,
        at_once: int = 4,
        parameters: Mapping[str, Any] | None = None,
        release: int | None = None,
        environment: str | None = None,
        limit: int = ROWS,
    ) -> Result:
        """The answer to a SELECT that names its day as `$day`: a call a day, `at_once` in parallel, of one release.

        `combine` is SQL over the table `parts`, which holds the rows of all days; without it these are the answer.
        `limit` is each day's.

        Raises:
            QueryError: there is no answer, or one day's was cut: a total over a part would be wrong.
        """
        from lakehouse.query.client.split import query_by_day

        return query_by_day(
            self, sql, days, combine=combine, at_once=at_once, parameters=parameters, release=release,
            environment=environment, limit=limit,
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class LakehouseClient(Client):
    """Asks a query service over HTTP.

    `timeout` is in seconds: how long it waits for the next byte, and, when the service is busy (429), for its turn.
    """

    def __init__(self, url: str, token: str = "", timeout: float = 60):
        import httpx

        self.url = _address(url)
        self._timeout = timeout
        headers = {"user-agent": "lakehouse-client"}
        if token := token.strip():
            # A library would show a header that it can't send in its error.
            if not (token.isascii() and token.isprintable() and " " not in token):
                raise QueryError("unauthorized", "The token holds characters that no token has.")
            headers["authorization"] = f"Bearer {token}"
        self._http = httpx.Client(
            base_url=self.url, headers=headers, timeout=httpx.Timeout(timeout, connect=min(timeout, CONNECT_SECONDS))
        )

    def __repr__(self) -> str:
        return f"LakehouseClient({self.url!r})"

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def tables(self, release: int | None = None, environment: str | None = None) -> dict[str, Any]:
        """The release and its tables: names, descriptions, rows, columns."""
        return self._page("/tables", release=release, environment=environment)

    def pages(self, release: int | None = None, environment: str | None = None) -> dict[str, Any]:
        """The release and the dashboard's pages that it carries: name and text of each."""
        return self._page("/pages", release=release, environment=environment)

    def releases(self, environment: str | None = None) -> dict[str, Any]:
        """The releases that are kept, the newest first, and what readers get."""
        return self._page("/releases", environment=environment)

    def newest(self, environment: str | None = None) -> int:
        """The number of the release that readers get now."""
        return int(self.tables(environment=environment)["release"])

    @contextmanager
    def open(
        self,
        sql: str,
        *,
        media_type: str = ARROW,
        parameters: Mapping[str, Any] | None = None,
        release: int | None = None,
        environment: str | None = None,
        limit: int = ROWS,
    ) -> Iterator[Stream]:
        """The answer piece by piece; leaving the block stops it."""
        body: dict[str, Any] = {"sql": sql, "limit": limit, "parameters": dict(parameters or {})}
        body |= {"release": release, "environment": environment}
        try:
            content = json.dumps(body)
        except (TypeError, ValueError):
            raise QueryError("invalid-request", "Parameters are texts, numbers, booleans or None.") from None
        headers = {"accept": media_type, "content-type": "application/json"}
        response = self._sent(self._http.build_request("POST", "/query", content=content, headers=headers))
        try:
            if "lakehouse-release" not in response.headers:
                raise self._no_lakehouse(response)
            try:
                about = _about(response.headers)
            except ValueError:
                raise self._no_lakehouse(response) from None
            yield Stream(about, self._pieces(response))
        finally:
            response.close()

    def _pieces(self, response: httpx.Response) -> Iterator[bytes]:
        import httpx

        try:
            yield from response.iter_bytes()
        except httpx.HTTPError as error:
            raise QueryError(
                "unavailable",
                f"The answer of {self.url} broke off: it failed on the way, or a limit cut it ({_reason(error)}).",
            ) from None

    def _page(self, path: str, **asked: Any) -> dict[str, Any]:
        params = {name: value for name, value in asked.items() if value is not None}
        response = self._sent(self._http.build_request("GET", path, params=params))
        with closing(response):
            page = _json(self._whole(response, PAGE_BYTES))
        if not isinstance(page, dict) or not isinstance(page.get("release"), int):
            raise self._no_lakehouse(response)
        return page

    def _whole(self, response: httpx.Response, limit: int) -> bytes:
        """A short body. Raises QueryError for a long one, and for one that takes longer than an answer may."""
        deadline, content = time.monotonic() + self._timeout, b""
        for piece in self._pieces(response):
            content += piece
            if len(content) > limit or time.monotonic() > deadline:
                raise self._no_lakehouse(response)
        return content

    def _sent(self, request: httpx.Request) -> httpx.Response:
        """A response that is an answer. Waits its turn when the service says when to come again."""
        import httpx

        deadline = time.monotonic() + self._timeout
        while True:
            try:
                response = self._http.send(request, stream=True)
                if response.status_code == 200:
                    return response
            except httpx.HTTPError as error:
                raise QueryError(
                    "unavailable", f"The query service at {self.url} does not answer: {_reason(error)}."
                ) from None
            with closing(response):
                problem = self._problem(response)
            wait = problem.retry_after
            if problem.kind != "too-many-calls" or wait is None or time.monotonic() + wait > deadline:
                raise problem
            time.sleep(wait)

    def _problem(self, response: httpx.Response) -> QueryError:
        body = _json(self._whole(response, PROBLEM_BYTES))
        wait = response.headers.get("retry-after", "")
        retry_after = int(wait) if wait.isascii() and wait.isdigit() and len(wait) < 10 else None
        kind = str(body.get("type", "")) if isinstance(body, dict) else ""
        if isinstance(body, dict) and kind.startswith(URN):
            line, column = (body.get(name) if isinstance(body.get(name), int) else None for name in ("line", "column"))
            known = kind.removeprefix(URN)
            detail = str(body.get("detail") or body.get("title") or f"HTTP {response.status_code}")
            kind = known if known in STATUS else "failed"
            return QueryError(kind, detail[:PROBLEM_CHARACTERS], line, column, retry_after)
        if response.status_code == 429:
            # A gateway before the service speaks for itself.
            return QueryError("too-many-calls", f"{self.url} has too many calls.", retry_after=retry_after)
        if response.status_code >= 500:
            return QueryError("unavailable", f"{self.url} failed on this request (HTTP {response.status_code}).")
        return self._no_lakehouse(response)

    def _no_lakehouse(self, response: httpx.Response) -> QueryError:
        return QueryError(
            "unavailable", f"At {self.url} answers something else than a lakehouse (HTTP {response.status_code})."
        )


def _json(content: bytes) -> Any:
    """What the text says; None for what is no JSON, or too deep for it."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _address(url: str) -> str:
    """Raises QueryError: it is no address. A password in it is not shown."""
    try:
        parts = urlsplit(url)
        is_right = parts.scheme in ("http", "https") and parts.hostname and (parts.port or True)
    except ValueError:
        is_right = False
    if not is_right:
        raise QueryError("invalid-request", "The service's address must look like http://host:port.")
    if parts.username or parts.password:
        raise QueryError("invalid-request", "The service's address holds a name or a password: send a token instead.")
    return url.rstrip("/")


def _about(headers: Mapping[str, str]) -> About:
    cut, took = headers.get("lakehouse-cut", "no"), headers.get("lakehouse-execution-ms")
    return About(
        release=int(headers["lakehouse-release"]),
        environment=headers.get("lakehouse-environment", ""),
        cut_at=headers.get("lakehouse-cut-at", ""),
        held=headers.get("lakehouse-held", ""),
        warm=headers.get("lakehouse-start") == "warm",
        cached=headers.get("lakehouse-cached") == "yes",
        rows=int(headers.get("lakehouse-rows", 0)),
        cut="" if cut == "no" else cut,
        execution_ms=float(took) if took else math.nan,
    )


def _reason(error: Exception) -> str:
    return str(error).rstrip(".") or type(error).__name__
