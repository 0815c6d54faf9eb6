"""The Python client: whole answers with where they came from, and errors that say what went wrong."""

from __future__ import annotations

import http.server
import json
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from decimal import Decimal

import pytest

from lakehouse.query.client import LakehouseClient
from lakehouse.query.client.result import Column
from lakehouse.query.engine.problems import QueryError
from tests.ports import free_ports

SECRET = "lh_0123456789ab_a-secret-that-nobody-sees"


@pytest.fixture(scope="module")
def client(service_url: str) -> Iterator[LakehouseClient]:
    with LakehouseClient(service_url) as client:
        yield client


@contextmanager
def answering(*replies: tuple[int, dict[str, str], str]) -> Iterator[tuple[str, list[str]]]:
    """A server that is no lakehouse: each call gets the next reply, the last one again and again."""
    paths: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            status, headers, body = replies[min(len(paths), len(replies) - 1)]
            paths.append(self.path)
            self.send_response(status)
            for name, value in {"content-length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body.encode())

        do_GET = do_POST = _answer

        def log_message(self, *words: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", paths
    finally:
        server.shutdown()
        server.server_close()


def test_an_answer_says_its_release_its_limits_and_its_times(client: LakehouseClient) -> None:
    sql = "SELECT count(*) AS n, max(d) AS last, sum(fare) AS fare FROM marts.trips"
    result = client.query(sql)
    assert result.arrow().to_pylist() == [{"n": 1001, "last": date(2024, 1, 10), "fare": Decimal("124875.50")}]
    assert (result.release, result.environment, result.held, result.rows, result.cut) == (2, "prod", "", 1, "")
    assert result.cut_at.startswith("20")
    assert result.columns == [Column("n", "BIGINT"), Column("last", "DATE"), Column("fare", "DECIMAL(38,2)")]
    assert 0 < result.execution_ms < result.round_trip_ms
    assert not result.cached
    again = client.query(sql)
    assert again.cached and again.warm
    assert client.query(sql, release=1).arrow()["n"].to_pylist() == [1000]


def test_pandas_and_polars_get_the_same_rows_and_names_that_differ(client: LakehouseClient) -> None:
    result = client.query("SELECT id, id, zone FROM marts.trips WHERE id IN (7, 8) ORDER BY 1")
    assert result.arrow().column_names == ["id", "id", "zone"]
    wanted = {"id": [7, 8], "id_1": [7, 8], "zone": [None, "zone 2"]}
    assert result.polars().to_dict(as_series=False) == wanted
    frame = result.pandas()
    assert list(frame.columns) == list(wanted)
    assert frame["id"].tolist() == [7, 8]


def test_no_rows_still_have_columns(client: LakehouseClient) -> None:
    result = client.query("SELECT id, lasted FROM marts.trips WHERE false")
    assert (result.rows, result.columns) == (0, [Column("id", "BIGINT"), Column("lasted", "INTERVAL")])
    assert result.polars().shape == (0, 2)


def test_parameters_are_values_not_sql(client: LakehouseClient) -> None:
    sql = "SELECT count(*) AS n FROM marts.trips WHERE zone = $zone"
    assert client.query(sql, parameters={"zone": "zone 1"}).arrow()["n"].to_pylist() == [285]
    assert client.query(sql, parameters={"zone": "x' OR 'a' = 'a"}).arrow()["n"].to_pylist() == [0]
    with pytest.raises(QueryError, match="Parameters are"):
        client.query(sql, parameters={"zone": object()})


@pytest.mark.parametrize("rows", [3, 300_000])
def test_a_cut_answer_says_so_short_or_streamed(client: LakehouseClient, rows: int) -> None:
    result = client.query("SELECT i, i * 7 AS j FROM range(350000) AS r(i)", limit=rows)
    assert (result.rows, result.cut) == (rows, "rows")
    whole = client.query("SELECT i, i * 7 AS j FROM range(350000) AS r(i)", limit=350_000)
    assert (whole.rows, whole.cut) == (350_000, "")


def test_a_mistake_in_the_sql_keeps_its_kind_and_place(client: LakehouseClient) -> None:
    with pytest.raises(QueryError) as caught:
        client.query("SELECT id,\n  nothing_such FROM marts.trips")
    assert (caught.value.kind, caught.value.line, caught.value.column) == ("failed", 2, 3)
    assert "nothing_such" in caught.value.detail
    with pytest.raises(QueryError) as caught:
        client.query("SELECT 1 FROM marts.trip")
    assert (caught.value.kind, caught.value.status) == ("unknown-table", 400)
    with pytest.raises(QueryError) as caught:
        client.query("SELECT 1", release=99)
    assert caught.value.kind == "not-found"


def test_tables_and_releases(client: LakehouseClient) -> None:
    assert [table["name"] for table in client.tables()["tables"]] == ["marts.trips"]
    assert client.tables(release=1)["tables"][0]["rows"] == 1000
    assert [one["release"] for one in client.releases(environment="prod")["releases"]] == [2, 1]


def test_a_token_is_sent_and_its_limits_hold(service_url: str, token: str) -> None:
    with LakehouseClient(service_url, token) as client:
        result = client.query("FROM marts.trips")
        assert (result.rows, result.cut) == (100, "rows")
        with pytest.raises(QueryError) as caught:
            client.query("SELECT 1", environment="qa")
        assert caught.value.kind == "forbidden"


def test_the_token_is_in_no_error_and_no_repr(service_url: str) -> None:
    with LakehouseClient(service_url, SECRET) as client, pytest.raises(QueryError) as caught:
        client.query("SELECT 1")
    assert caught.value.kind == "unauthorized"
    shown = repr(client) + repr(vars(client)) + "".join(traceback.format_exception(caught.value))
    away = LakehouseClient(f"http://127.0.0.1:{free_ports(1)[0]}", SECRET)
    for client, sql in ((away, "SELECT 1"),):
        with pytest.raises(QueryError) as caught:
            client.query(sql)
        shown += repr(client) + "".join(traceback.format_exception(caught.value))
    for wrong in (f"{SECRET}\nx: y", f"{SECRET}é"):
        with pytest.raises(QueryError) as caught:
            LakehouseClient(service_url, wrong)
        shown += "".join(traceback.format_exception(caught.value))
    assert "secret" not in shown


def test_a_service_that_is_away_is_unavailable() -> None:
    with LakehouseClient(f"http://127.0.0.1:{free_ports(1)[0]}") as client, pytest.raises(QueryError) as caught:
        client.query("SELECT 1")
    assert caught.value.kind == "unavailable"
    assert "does not answer" in caught.value.detail


@pytest.mark.parametrize("status", [200, 302, 404])
def test_something_else_than_a_lakehouse_is_named_as_that(status: int) -> None:
    reply = (status, {"content-type": "text/html", "location": "/elsewhere"}, "<h1>Welcome</h1>")
    with answering(reply) as (url, _), LakehouseClient(url) as client:
        for call in (lambda: client.query("SELECT 1"), client.tables):
            with pytest.raises(QueryError, match="something else than a lakehouse") as caught:
                call()
            assert caught.value.kind == "unavailable"


def test_an_answer_that_breaks_off_is_an_error_not_fewer_rows() -> None:
    headers = {"content-length": "5000", "lakehouse-release": "1"}
    with answering((200, headers, "half of it")) as (url, _), LakehouseClient(url, timeout=2) as client:
        with pytest.raises(QueryError, match="broke off"):
            client.query("SELECT 1")


ENDLESS = {"content-length": str(10**12), "lakehouse-release": "1"}


@pytest.mark.parametrize("status", [200, 400, 503])
def test_of_a_page_or_an_error_without_an_end_only_the_beginning_is_read(status: int) -> None:
    problem = '{"type": "urn:lakehouse:failed", "detail": "' + "x" * (32 << 20)
    with answering((status, ENDLESS, problem)) as (url, _), LakehouseClient(url, timeout=20) as client:
        with pytest.raises(QueryError, match="something else than a lakehouse"):
            client.tables()


@pytest.mark.parametrize(
    "headers",
    [{"lakehouse-release": "one"}, {"lakehouse-release": "1", "lakehouse-rows": "many"},
     {"lakehouse-release": "1", "lakehouse-execution-ms": "soon"}],
)  # fmt: skip
def test_headers_that_no_lakehouse_sends_are_named_as_that(headers: dict[str, str]) -> None:
    with answering((200, headers, "")) as (url, _), LakehouseClient(url) as client:
        with pytest.raises(QueryError, match="something else than a lakehouse"):
            client.query("SELECT 1")


@pytest.mark.parametrize(
    "body", ["[" * 50_000, '{"release": "x"}', '{"type": "urn:lakehouse:failed", "detail": 1e999}']
)
@pytest.mark.parametrize("status", [200, 500])
def test_strange_json_is_an_error_with_a_sentence(status: int, body: str) -> None:
    with answering((status, {"retry-after": "9" * 5000}, body)) as (url, _), LakehouseClient(url) as client:
        with pytest.raises(QueryError):
            client.tables()


def test_a_busy_service_is_asked_again_when_it_says_so() -> None:
    problem = json.dumps({"type": "urn:lakehouse:too-many-calls", "detail": "Too many."})
    page = json.dumps({"release": 5})
    busy = (429, {"retry-after": "1"}, problem)
    with answering(busy, (200, {}, page)) as (url, paths), LakehouseClient(url) as client:
        assert client.tables()["release"] == 5
        assert len(paths) == 2
    with answering(busy) as (url, paths), LakehouseClient(url, timeout=1.5) as client:
        with pytest.raises(QueryError) as caught:
            client.tables()
        assert (caught.value.kind, caught.value.retry_after, len(paths)) == ("too-many-calls", 1, 2)


@pytest.mark.parametrize("url", ["localhost:8010", "ftp://x", "", "http://ann:hunter2@x", "http://[", "http://x:y"])
def test_a_wrong_address_is_named_without_its_password(url: str) -> None:
    with pytest.raises(QueryError, match="service's address") as caught:
        LakehouseClient(url)
    assert "hunter2" not in str(caught.value)
