"""Ask the query service from Python."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import requests

from lakehouse.query.problems import STATUS, QueryError

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow as pa

ARROW = "application/vnd.apache.arrow.stream"


@dataclass(frozen=True)
class Result:
    """An answer, and where it came from."""

    body: bytes
    release: int
    environment: str
    cut_at: str
    held: str
    rows: int
    cut: str
    """`rows` or `bytes`, whichever limit cut it; empty when it is whole."""
    execution_ms: float
    round_trip_ms: float
    warm: bool
    cached: bool

    def arrow(self) -> pa.Table:
        """As an Arrow table."""
        import pyarrow as pa

        return pa.ipc.open_stream(self.body).read_all()

    def pandas(self) -> pandas.DataFrame:
        """As a pandas frame."""
        return self.arrow().to_pandas()

    def polars(self) -> polars.DataFrame:
        """As a Polars frame."""
        import polars

        frame = polars.from_arrow(self.arrow())
        assert isinstance(frame, polars.DataFrame)
        return frame


class LakehouseClient:
    """One service, asked with one token."""

    def __init__(self, url: str, token: str = "", timeout: float = 60):
        self._url = url.rstrip("/")
        self._timeout = timeout
        self._session = requests.Session()
        if token:
            self._session.headers["authorization"] = f"Bearer {token}"

    def query(
        self,
        sql: str,
        *,
        parameters: Mapping[str, Any] | None = None,
        release: int | None = None,
        environment: str | None = None,
        limit: int = 100_000,
    ) -> Result:
        """The answer to one SELECT. Raises QueryError when there is none."""
        body = {
            "sql": sql, "parameters": dict(parameters or {}), "release": release, "environment": environment,
            "limit": limit,
        }  # fmt: skip
        started = time.perf_counter()
        answer = self._ask("POST", "/query", json=body, headers={"accept": ARROW})
        round_trip_ms = 1000 * (time.perf_counter() - started)
        told = answer.headers
        cut = told.get("lakehouse-cut", "no")
        return Result(
            answer.content,
            int(told["lakehouse-release"]),
            told["lakehouse-environment"],
            told["lakehouse-cut-at"],
            told.get("lakehouse-held", ""),
            int(told.get("lakehouse-rows", 0)),
            "" if cut == "no" else cut,
            float(told.get("lakehouse-execution-ms", 0)),
            round_trip_ms,
            told.get("lakehouse-start") == "warm",
            told.get("lakehouse-cached") == "yes",
        )

    def tables(self, release: int | None = None, environment: str | None = None) -> dict[str, Any]:
        """A release and what it serves."""
        return self._listing("/tables", release=release, environment=environment)

    def releases(self, environment: str | None = None) -> dict[str, Any]:
        """The releases that can be asked for."""
        return self._listing("/releases", environment=environment)

    def _listing(self, path: str, **wanted: str | int | None) -> dict[str, Any]:
        found: dict[str, Any] = self._ask("GET", path, params=wanted).json()
        return found

    def _ask(self, method: str, path: str, **options: Any) -> requests.Response:
        try:
            answer = self._session.request(method, self._url + path, timeout=self._timeout, **options)
        except requests.RequestException:
            raise QueryError("unavailable", f"The query service does not answer at {self._url}.") from None
        if answer.ok:
            return answer
        try:
            problem = answer.json()
        except ValueError:
            problem = {}
        kind = str(problem.get("type", "")).removeprefix("urn:lakehouse:")
        detail = problem.get("detail") or problem.get("title") or f"The query service answered {answer.status_code}."
        raise QueryError(kind if kind in STATUS else "unavailable", detail, problem.get("line"), problem.get("column"))
