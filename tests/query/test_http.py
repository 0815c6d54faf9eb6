"""The service over HTTP: what it says, what it keeps, what it cuts, whom it lets in."""

from __future__ import annotations

import io
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lakehouse.query.engine import tokens
from lakehouse.query.engine.formats import ARROW, CSV, PARQUET
from lakehouse.releases import publishing
from tests import calls
from tests.lakehouse.releases.conftest import Publisher, served
from tests.query.conftest import ROWS, Service, serving

BUSY = "SELECT count(*) FROM range(100000) a, range(100000) b WHERE a.range + b.range = 7"


def test_an_answer_says_where_it_comes_from(service: Service) -> None:
    reply = service.ask("SELECT count(*) AS n, max(day) AS last FROM marts.days")
    answer = reply.json()
    assert answer["rows"] == [[ROWS, "2024-04-09"]]
    assert (answer["environment"], answer["release"], answer["cut"], answer["row_count"]) == ("prod", 1, None, 1)
    headers = reply.headers
    assert (headers["lakehouse-release"], headers["lakehouse-cut"]) == ("1", "no")
    assert headers["lakehouse-start"] in ("cold", "warm")
    assert float(headers["lakehouse-execution-ms"]) >= 0


def test_parameters_travel_apart_from_the_sql(service: Service) -> None:
    sql = "SELECT count(*) FROM marts.days WHERE day = $day::DATE AND i < $most"
    assert service.rows(sql, parameters={"day": "2024-01-02", "most": 1_000}) == [[10]]
    hostile = {"day": "2024-01-02' OR 1=1 --", "most": 1}
    assert service.rows(sql, parameters=hostile) == [[0]]  # DuckDB reads the date and leaves the rest


def test_only_served_tables_are_there(service: Service) -> None:
    listing = calls.get(f"{service.url}/tables").json()
    assert [table["name"] for table in listing["tables"]] == ["marts.days", "marts.names"]
    days = listing["tables"][0]
    assert (days["rows"], days["description"], days["partitioned_by"]) == (ROWS, "Numbers by day.", ["day"])
    assert days["columns"][1] == {"name": "i", "type": "BIGINT", "description": "A number."}
    assert (listing["release"], listing["held"]) == (1, None)
    assert listing["age_seconds"] >= 0
    for table in ("staging.secret", "duckdb_settings", "pg_settings", "__ducklake_metadata___release.x"):
        assert service.ask(f"SELECT * FROM {table}").json()["type"] == "urn:lakehouse:unknown-table"


@pytest.mark.parametrize(
    ("sql", "kind", "line", "column", "words"),
    [
        ("SELECT\n  count(*\nFROM marts.days", "syntax", 3, 1, "FROM"),
        ("SELECT 1,\n  getenv('HOME')", "refused", 2, 3, "getenv"),
        ("SELECT *\nFROM marts.day", "unknown-table", 2, 6, "marts.days"),
        ("SELECT *\nFROM days", "unknown-table", 2, 6, "marts.days"),
        ("SELECT 'é', nope FROM marts.days", "failed", 1, 13, "nope"),
        ("SELECT i,\n  part + 'x' FROM marts.days", "failed", 2, None, "x"),
    ],
)
def test_an_error_names_the_place(
    service: Service, sql: str, kind: str, line: int, column: int | None, words: str
) -> None:
    reply = service.ask(sql)
    assert (reply.status_code, reply.headers["content-type"]) == (400, "application/problem+json")
    problem = reply.json()
    assert problem["type"] == f"urn:lakehouse:{kind}"
    assert words in problem["detail"]
    assert problem.get("line") == line
    assert column is None or problem["column"] == column


def test_a_cut_answer_says_so_in_every_format(service: Service) -> None:
    sql = "SELECT i, day FROM marts.days"
    reply = service.ask(sql, limit=10)
    assert (reply.json()["cut"], reply.json()["row_count"], reply.headers["lakehouse-cut"]) == ("rows", 10, "rows")
    reply = service.ask(sql, CSV, limit=10)
    assert (len(reply.text.splitlines()), reply.headers["lakehouse-cut"]) == (11, "rows")
    stream = pa.ipc.open_stream(service.ask(sql, ARROW, limit=10).content)
    batches = list(stream.iter_batches_with_custom_metadata())
    assert sum(batch.batch.num_rows for batch in batches) == 10
    assert batches[-1].custom_metadata[b"lakehouse.cut"] == b"rows"
    parquet = pq.ParquetFile(io.BytesIO(service.ask(sql, PARQUET, limit=10).content))
    assert (parquet.metadata.num_rows, parquet.metadata.metadata[b"lakehouse.cut"]) == (10, b"rows")


def test_a_long_answer_streams_and_a_cut_one_is_never_taken_for_whole(service: Service) -> None:
    # Longer than what is held back, so the headers go before the end is known.
    wide = "SELECT i, repeat('x', 50) AS text FROM marts.days"
    reply = service.ask(wide, limit=ROWS)
    assert "content-length" not in reply.headers
    assert (reply.json()["row_count"], reply.json()["cut"]) == (ROWS, None)
    whole = service.ask(wide, CSV, limit=ROWS)
    assert len(whole.text.splitlines()) == ROWS + 1
    # 20 MB at most: JSON says so at its end, a CSV breaks off.
    huge = "SELECT i, repeat('x', 500) AS text FROM marts.days"
    assert service.ask(huge, limit=ROWS).json()["cut"] == "bytes"
    with pytest.raises(httpx.RemoteProtocolError):
        service.ask(huge, CSV, limit=ROWS)
    # As many rows as were asked for are what was asked for.
    assert len(service.ask(wide, CSV, limit=ROWS - 1).text.splitlines()) == ROWS
    assert service.rows("SELECT 1") == [[1]]


WIDE = "repeat('x', 20000) AS text FROM marts.days"  # in all five times what a call may have


@pytest.mark.parametrize(
    "sql",
    [
        f"SELECT i, {WIDE}",
        f"SELECT i, i, {WIDE} ORDER BY 1 DESC -- names twice, and a comment",
        "WITH w AS MATERIALIZED (SELECT i FROM marts.days) SELECT w.i, repeat('x', 20000) FROM w",
        "FROM marts.days SELECT i, repeat('x', 20000) LIMIT 77777",
        "SELECT i, repeat('x', 20000) FROM marts.days WHERE i >= $from",
    ],
)
def test_of_wide_rows_no_more_are_computed_than_were_asked_for(service: Service, sql: str) -> None:
    given = {"parameters": {"from": 0}} if "$" in sql else {}
    for accept in ("application/json", CSV, ARROW):
        reply = service.ask(sql, accept, limit=3, **given)
        assert (reply.status_code, reply.headers["lakehouse-cut"]) == (200, "rows"), reply.text
    rows = service.ask(sql, limit=3, **given).json()["rows"]
    assert [len(row[-1]) for row in rows] == [20_000] * 3
    assert "DESC" not in sql or [row[0] for row in rows] == [ROWS - 1, ROWS - 2, ROWS - 3]
    # What is wrong with a statement is told whatever stands around it.
    problem = service.ask("SELECT i,\n repeat('x', 20000), CAST(day::VARCHAR AS INT) FROM marts.days", limit=3)
    assert problem.status_code == 400 and "Could not convert" in problem.json()["detail"]


def test_an_unchanged_answer_is_not_sent_again(service: Service) -> None:
    sql = "SELECT count(*) FROM marts.days WHERE i < 77"
    first = service.ask(sql)
    assert first.headers["lakehouse-cached"] == "no"
    again = service.ask(sql)
    assert (again.headers["lakehouse-cached"], again.content) == ("yes", first.content)
    etag = first.headers["etag"]
    reply = calls.post(f"{service.url}/query", json={"sql": sql}, headers={"if-none-match": etag})
    assert (reply.status_code, reply.content) == (304, b"")
    other = calls.post(f"{service.url}/query", json={"sql": sql + " "}, headers={"if-none-match": etag})
    assert other.status_code == 200
    # Another format is another answer.
    assert service.ask(sql, CSV).headers["etag"] != etag


def test_what_differs_from_call_to_call_is_never_kept(service: Service) -> None:
    for sql in (
        "SELECT random()",
        "SELECT now()",
        "SELECT current_timestamp",
        "SELECT i FROM marts.days USING SAMPLE 1",
    ):
        reply = service.ask(sql)
        assert "etag" not in reply.headers, sql
        assert reply.headers["cache-control"] == "private, no-store"
        assert service.ask(sql).headers["lakehouse-cached"] == "no"


def test_nothing_of_a_caller_survives_the_call(service: Service) -> None:
    for sql in ("SET VARIABLE x = 1", "CREATE TEMP TABLE t AS SELECT 1", "PREPARE p AS SELECT 1", "USE marts"):
        assert service.ask(sql).json()["type"] == "urn:lakehouse:refused"
    assert service.ask("SELECT setseed(0.5)").json()["type"] == "urn:lakehouse:refused"
    assert service.ask("SELECT * FROM names").json()["type"] == "urn:lakehouse:unknown-table"


def test_a_statement_is_stopped_in_time_and_others_go_on(service: Service) -> None:
    with ThreadPoolExecutor() as callers:
        started = time.monotonic()
        slow = callers.submit(service.ask, BUSY)
        while not slow.done():
            asked = time.monotonic()
            assert calls.get(f"{service.url}/healthz").json() == {"status": "ok"}
            assert service.rows(f"SELECT count(*) + 0 * {asked} FROM marts.names")
            time.sleep(0.1)
        assert slow.result().json()["type"] == "urn:lakehouse:time-limit"
        assert time.monotonic() - started < 30


def at_work(service: Service) -> float:
    """How many statements run now."""
    lines = calls.get(f"{service.url}/metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith("lakehouse_query_at_work")).split()[1])


def test_a_caller_who_leaves_takes_the_statement_along(service: Service) -> None:
    with pytest.raises(httpx.ReadTimeout):
        calls.post(f"{service.url}/query", json={"sql": BUSY + " -- left"}, timeout=0.5)
    deadline = time.monotonic() + 5  # less than the statement's own limit
    while at_work(service):
        assert time.monotonic() < deadline
        time.sleep(0.02)


# More left to read than any buffer holds; then one that keeps its caller waiting in the middle.
LONG = "SELECT i, repeat('x', 190) AS text FROM marts.days"
LONG_AND_SLOW = """
SELECT i, repeat('x', 100) AS text,
    CASE WHEN i > 100000 THEN levenshtein(repeat('a', 3000), repeat('b', 3000) || i) END AS slow
FROM range(200000) AS t(i)"""


@pytest.mark.parametrize("sql", [LONG, LONG_AND_SLOW])
def test_callers_who_leave_in_the_middle_of_a_stream_leave_no_place_taken(service: Service, sql: str) -> None:
    for number in range(4):  # more of them than there are workers
        body = {"sql": f"{sql} -- {number}", "limit": 2 * ROWS}
        with calls.stream("POST", f"{service.url}/query", json=body, timeout=60) as reply:
            assert reply.status_code == 200
            reply.request.extensions["timeout"]["read"] = 60 if sql is LONG else 3
            if sql is LONG:
                next(reply.iter_raw())
            else:
                reply.request.extensions["timeout"]["read"] = 1  # all that has come is read, and then nothing comes
                with suppress(httpx.TransportError):
                    reply.read()
    deadline = time.monotonic() + 100
    while at_work(service):
        assert time.monotonic() < deadline, "a place is still taken"
        time.sleep(0.05)
    assert service.rows("SELECT 1") == [[1]]


@pytest.mark.slow
def test_too_many_calls_are_told_to_come_again(publisher: Publisher, tmp_path_factory: pytest.TempPathFactory) -> None:
    with (
        serving(
            publisher.lake.settings, tmp_path_factory.mktemp("small"), LAKEHOUSE_QUERY_WORKERS="1",
            LAKEHOUSE_QUERY_QUEUE="1", LAKEHOUSE_QUERY_SECONDS="5",
        ) as small,
        ThreadPoolExecutor(8) as callers,
    ):  # fmt: skip
        replies = list(callers.map(lambda number: small.ask(f"{BUSY} -- {number}"), range(6)))
        refused = [reply for reply in replies if reply.status_code == 429]
        assert len(refused) >= 4
        assert all(int(reply.headers["retry-after"]) >= 1 for reply in refused)
        assert small.rows("SELECT 1") == [[1]]


def test_bad_requests_are_sentences(service: Service) -> None:
    def post(content: bytes, **headers: str) -> httpx.Response:
        return calls.post(
            f"{service.url}/query", content=content, headers={"content-type": "application/json", **headers}
        )

    cases = [
        (post(b"{"), 400, "JSON"),
        (post(b'{"sq": "SELECT 1"}'), 400, "sql"),
        (post(b'{"sql": "SELECT 1", "limit": 0}'), 400, "limit"),
        (post(b'{"sql": "SELECT 1", "limit": "all"}'), 400, "limit"),
        (post(b'{"sql": "SELECT 1", "environment": "../x"}'), 400, "environment"),
        (post(b'{"sql": "SELECT 1", "environment": "qa"}'), 404, "release of qa"),
        (post(b'{"sql": "SELECT 1", "release": 99}'), 404, "release 99 of prod"),
        (post(b'{"sql": "SELECT 1"}', accept="image/png"), 406, "text/csv"),
        (post(b'{"sql": "SELECT 1"}', **{"content-type": "text/plain"}), 415, "application/json"),
        (post(b'{"sql": "' + b"x" * 300_000 + b'"}'), 413, "bytes"),
        (calls.get(f"{service.url}/tables?release=x"), 400, "release"),
        (calls.get(f"{service.url}/tables?environment=none"), 404, "none"),
    ]
    for reply, status, words in cases:
        assert reply.status_code == status, reply.text
        assert reply.headers["content-type"] == "application/problem+json"
        assert words in reply.json()["detail"]
    assert calls.get(f"{service.url}/query").status_code == 405
    assert calls.get(f"{service.url}/nothing").json()["status"] == 404


def test_the_best_of_the_accepted_formats_is_given(service: Service) -> None:
    assert service.ask("SELECT 1", "*/*").headers["content-type"] == "application/json"
    assert service.ask("SELECT 1", "text/*;q=0.9, application/json;q=0.1").headers["content-type"].startswith(CSV)
    assert service.ask("SELECT 1", f"{ARROW};q=0.2, image/png").headers["content-type"] == ARROW


def test_pages_about_it(service: Service) -> None:
    document = calls.get(f"{service.url}/openapi.json").json()
    assert document["paths"]["/query"]["post"]["requestBody"]["content"]["application/json"]["schema"]["properties"][
        "sql"
    ]
    page = calls.get(f"{service.url}/")
    for word in ("swagger/swagger-ui.css", "swagger/swagger-ui-bundle.js", "swagger/start.js"):
        assert word in page.text
        assert calls.get(f"{service.url}/{word}").status_code == 200
    assert calls.get(f"{service.url}/pages").json()["pages"] == []
    assert service.ask("SELECT 1").status_code == 200
    metrics = calls.get(f"{service.url}/metrics").text
    assert 'lakehouse_query_calls_total{outcome="answered",way="http"}' in metrics
    assert "marts." not in metrics


@pytest.mark.slow
def test_a_new_release_and_a_rollback_are_picked_up_without_an_error(
    publisher: Publisher, tmp_path_factory: pytest.TempPathFactory
) -> None:
    lake = publisher.lake
    with serving(lake.settings, tmp_path_factory.mktemp("moving")) as running:
        assert running.rows("SELECT count(*) FROM marts.names") == [[2]]
        stop, problems, seen = threading.Event(), list[str](), list[tuple[int, int]]()

        def read() -> None:
            while not stop.is_set():
                reply = running.ask("SELECT count(*) FROM marts.names")
                if reply.status_code != 200:
                    problems.append(reply.text)
                else:
                    seen.append((reply.json()["release"], reply.json()["rows"][0][0]))

        def wait_for(release: int) -> None:
            """Within a second, and some more for a machine that is busy."""
            deadline = time.monotonic() + 100
            while running.ask("SELECT 1").json()["release"] != release:
                assert time.monotonic() < deadline
                time.sleep(0.02)

        readers = [threading.Thread(target=read) for _ in range(3)]
        for reader in readers:
            reader.start()
        try:
            publisher.execute("INSERT INTO marts.names VALUES (3, 'three')")
            publisher.publish(served("marts.days", "1", partitioned_by=("day",)), served("marts.names", "2"))
            wait_for(2)
            publishing.rollback(lake, "prod", None, by="ann")
            wait_for(1)
            assert calls.get(f"{running.url}/tables").json()["held"] == "held at 1 by ann"
            assert running.ask("SELECT 1").headers["lakehouse-held"] == "held at 1 by ann"
            assert running.ask("SELECT count(*) FROM marts.names", release=2).json()["rows"] == [[3]]
            publishing.resume(lake, "prod")
            wait_for(2)
        finally:
            stop.set()
            for reader in readers:
                reader.join()
        assert problems == []
        assert set(seen) == {(1, 2), (2, 3)}
        found = calls.get(f"{running.url}/releases").json()
        assert [one["release"] for one in found["releases"]] == [2, 1]


# ------------------------------------------------------------------------------------------------- tokens


@pytest.fixture(scope="module")
def guarded(publisher: Publisher, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that asks for tokens."""
    folder = tmp_path_factory.mktemp("guarded")
    with serving(publisher.lake.settings, folder, LAKEHOUSE_QUERY_TOKEN_REQUIRED="true") as running:
        yield running


def test_a_token_opens_its_environments_within_its_limits(publisher: Publisher, guarded: Service) -> None:
    storage = publisher.lake.storage
    token = tokens.create(storage, "ann", ["prod"], by="test", rows=5, seconds=1)
    elsewhere = tokens.create(storage, "bob", ["dev_bob"], by="test")
    time.sleep(tokens.REFRESH_SECONDS + 0.1)
    assert guarded.ask("SELECT 1").status_code == 401
    reply = guarded.ask("SELECT i FROM marts.days", token=token, limit=100)
    assert (reply.json()["row_count"], reply.json()["cut"]) == (5, "rows")
    assert guarded.ask(BUSY, token=token).json()["type"] == "urn:lakehouse:time-limit"
    forbidden = guarded.ask("SELECT 1", token=elsewhere, environment="prod")
    assert (forbidden.status_code, forbidden.json()["type"]) == (403, "urn:lakehouse:forbidden")
    # A token for one environment asks for it by itself: there is no release of it yet.
    assert "dev_bob" in guarded.ask("SELECT 1", token=elsewhere).json()["detail"]
    for path in ("tables", "releases", "metrics"):
        assert calls.get(f"{guarded.url}/{path}").status_code == 401
        assert calls.get(f"{guarded.url}/{path}", headers={"authorization": f"Bearer {token}"}).status_code == 200
    assert calls.get(f"{guarded.url}/healthz").status_code == 200
    with pytest.raises(tokens.TokenError, match="ann"):
        tokens.create(storage, "ann", ["prod"], by="test")

    tokens.revoke(storage, "ann")
    time.sleep(tokens.REFRESH_SECONDS + 0.1)
    assert guarded.ask("SELECT 1", token=token).status_code == 401


def test_wrong_tokens_are_refused_alike(publisher: Publisher, guarded: Service) -> None:
    token = tokens.create(publisher.lake.storage, "carl", ["prod"], by="test")
    time.sleep(tokens.REFRESH_SECONDS + 0.1)
    public = token.split("_")[1]
    wrong = [
        "x",
        "lh__",
        f"lh_{public}_",
        f"lh_{public}_{'a' * 43}",
        token[:-1],
        token + "a",
        f"xx{token[2:]}",
        "é" * 30,
    ]
    answers = {
        calls.post(
            f"{guarded.url}/query", json={"sql": "SELECT 1"}, headers={"authorization": f"Bearer {one}".encode()}
        ).text
        for one in wrong
    }
    assert len(answers) == 1
    assert guarded.ask("SELECT 1", token=token).status_code == 200


def test_no_token_and_no_statement_is_kept_in_the_clear(publisher: Publisher, guarded: Service) -> None:
    token = tokens.create(publisher.lake.storage, "dora", ["prod"], by="test")
    secret = token.rpartition("_")[2]
    assert guarded.ask("SELECT 'my-password' AS secret, nope", token=token).status_code in (400, 401)
    stored = publisher.lake.storage.read(tokens.KEY)[0].decode()
    assert secret not in stored
    assert "dora" in stored
    log = guarded.log.read_text()
    assert secret not in log
    assert "my-password" not in log


def test_a_page_elsewhere_cannot_ask_through_a_readers_browser(service: Service) -> None:
    """Without a token: another name for this machine, or a form that needs no permission."""
    rebound = calls.post(f"{service.url}/query", json={"sql": "SELECT 1"}, headers={"host": "evil.example:80"})
    assert rebound.status_code == 403
    form = calls.post(f"{service.url}/query", content=json.dumps({"sql": "SELECT 1"}))
    assert form.status_code == 415
    assert not any(name.startswith("access-control") for name in service.ask("SELECT 1").headers)


def test_workers_see_no_credentials(publisher: Publisher, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("secrets")
    secret = {"AWS_SECRET_ACCESS_KEY": "hidden", "LAKEHOUSE_POSTGRES_URL": "postgresql://u:hidden@h/db"}
    with serving(publisher.lake.settings, folder, **secret) as running:
        running.rows("SELECT 1")
        children = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(running.process.pid)], capture_output=True, text=True, check=True
        ).stdout.split()
        assert len(children) >= 2
        for child in children:
            with open(f"/proc/{child}/environ", "rb") as variables:
                assert b"hidden" not in variables.read()
