"""What strangers try: each is refused or stopped, nothing has changed, and the next caller is answered."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from lakehouse.lake.ducklake import Lake
from tests import calls
from tests.lakehouse.releases.conftest import Publisher
from tests.query.conftest import ROWS, Service, tightly_served

REFUSED = {"urn:lakehouse:refused", "urn:lakehouse:unknown-table", "urn:lakehouse:syntax"}
STOPPED = {"urn:lakehouse:time-limit", "urn:lakehouse:memory-limit", "urn:lakehouse:crashed", "urn:lakehouse:failed"}

STATEMENTS = {
    "files": [
        "FROM '/etc/passwd'",
        "FROM 'data.parquet'",
        'FROM "s3://bucket/x.parquet"',
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('/proc/self/environ')",
        "SELECT * FROM read_blob('/etc/shadow')",
        "SELECT * FROM read_parquet('/tmp/**')",
        "SELECT * FROM read_json_auto('/etc/passwd')",
        "SELECT * FROM glob('/**')",
        "SELECT * FROM sniff_csv('/etc/passwd')",
        "SELECT * FROM parquet_metadata('x')",
        "SELECT * FROM parquet_scan('x')",
        "SELECT * FROM sqlite_scan('/tmp/x.db', 't')",
        "SELECT * FROM read_duckdb('/tmp/x.duckdb')",
        "SELECT * FROM main.read_text('/etc/passwd')",
        "SELECT * FROM system.main.read_text('/etc/passwd')",
        "COPY (SELECT 1) TO '/tmp/stolen.csv'",
        "COPY marts.days TO 'published/prod/data/x.parquet'",
        "EXPORT DATABASE '/tmp/stolen'",
        "IMPORT DATABASE '/tmp/stolen'",
        "ATTACH '/tmp/x.duckdb'",
        "DETACH lakehouse",
        "LOAD '/tmp/evil.duckdb_extension'",
        "INSTALL httpfs",
    ],
    "network": [
        "SELECT * FROM 'https://example.com/x.csv'",
        "SELECT * FROM read_parquet('s3://b/x?s3_endpoint=evil.example')",
        "SELECT * FROM postgres_scan('host=127.0.0.1', 'public', 't')",
        "SELECT * FROM postgres_query('__ducklake_metadata_lakehouse', 'select pg_read_file(''/etc/passwd'')')",
        "SELECT http_get('http://169.254.169.254/latest/meta-data/')",
        "SELECT * FROM mysql_scan('host=127.0.0.1', 'd', 't')",
    ],
    "other catalogs and metadata": [
        "SELECT * FROM __ducklake_metadata_lakehouse.ducklake_data_file",
        "SELECT * FROM duckdb_databases()",
        "SELECT * FROM sqlite_master",
        "SELECT * FROM system.main.duckdb_settings",
        "SELECT * FROM staging.secret",
        "SELECT * FROM lakehouse.staging.secret",
        "SELECT * FROM other.marts.days",
        "WITH duckdb_secrets AS (SELECT 1) SELECT * FROM (SELECT * FROM duckdb_secrets), system.duckdb_secrets",
        "SELECT * FROM (WITH duckdb_settings AS (SELECT 1) FROM duckdb_settings), duckdb_settings",
        "WITH a AS (FROM duckdb_settings), duckdb_settings AS (SELECT 1) FROM a",
        "WITH RECURSIVE duckdb_databases AS (FROM duckdb_databases UNION ALL FROM duckdb_databases WHERE false) "
        "FROM duckdb_databases",
        "WITH \"duc\u212adb_databases\" AS (SELECT 1) SELECT * FROM duckdb_databases",
        "FROM __release.marts.days",
        "FROM __release.information_schema.tables",
        "SELECT * FROM pg_catalog.pg_settings",
        "SELECT * FROM pg_prepared_statements",
        "SELECT * FROM marts.days, duckdb_tables()",
        "SELECT * FROM marts.days, duckdb_views() v WHERE pg_get_viewdef(v.view_oid) = ''",
        "FROM (SHOW TABLES)",
        "SHOW TABLES FROM system",
        "SHOW VARIABLES",
        "SHOW DATABASES",
        "DESCRIBE staging.secret",
        "SUMMARIZE staging.secret",
        "SELECT * FROM marts.days AT (VERSION => 1)",
        "FROM ducklake_snapshots('lakehouse')",
        "FROM lakehouse.snapshots()",
        "FROM ducklake_table_info('lakehouse')",
        "FROM ducklake_list_files('lakehouse', 'days')",
        "PRAGMA database_list",
        "CALL pragma_version()",
    ],
    "settings and secrets": [
        "SET memory_limit = '100GB'",
        "RESET lock_configuration",
        "PRAGMA enable_profiling",
        "SELECT current_setting('s3_secret_access_key')",
        "SELECT getenv('HOME')",
        "SELECT getvariable('x')",
        "SELECT * FROM duckdb_settings()",
        "SELECT * FROM duckdb_secrets()",
        "SELECT * FROM which_secret('s3://b/x', 's3')",
        "CREATE SECRET (TYPE s3)",
        "SELECT * REPLACE (getenv('HOME') AS a) FROM (SELECT 1 AS a)",
        "SELECT [x FOR x IN [getenv('HOME')]]",
        "SELECT list_transform([1], lambda x: getenv('HOME'))",
        "SELECT CASE WHEN true THEN getenv('HOME') END",
        "SELECT 1 ORDER BY getenv('HOME')",
        "SELECT 1 LIMIT (SELECT length(getenv('HOME')))",
        "SELECT sum(i) FILTER (getenv('HOME') = '') FROM marts.days",
        "SELECT sum(i) OVER (ORDER BY getenv('HOME')) FROM marts.days",
        "SELECT count(*) FROM marts.days GROUP BY getenv('HOME')",
        "SELECT 1 WHERE EXISTS (SELECT getenv('HOME'))",
        "VALUES (getenv('HOME'))",
        "SELECT 1 UNION ALL SELECT getenv('HOME')",
        "FROM range(length(getenv('HOME')))",
        "SELECT 'HOME'.getenv()",
        "SELECT COLUMNS(x -> getenv(x) = '') FROM marts.days",
        "SELECT COALESCE(getenv('HOME'), '')",
        "PIVOT marts.names ON name USING any_value(getenv('HOME'))",
        "FROM marts.days JOIN marts.names ON getenv('HOME') = ''",
    ],
    "writes in disguise": [
        "DROP TABLE marts.days",
        "DELETE FROM marts.days",
        "INSERT INTO marts.days SELECT * FROM marts.days",
        "UPDATE marts.days SET i = 0",
        "TRUNCATE marts.days",
        "CREATE TABLE x AS SELECT 1",
        "CREATE MACRO f() AS 1",
        "CREATE OR REPLACE VIEW marts.days AS SELECT 1",
        "ALTER TABLE marts.days ADD COLUMN x INT",
        "MERGE INTO marts.names USING marts.names s ON (true) WHEN MATCHED THEN DELETE",
        "WITH gone AS (DELETE FROM marts.days RETURNING *) SELECT * FROM gone",
        "FROM ducklake_cleanup_old_files('lakehouse', cleanup_all => true)",
        "FROM ducklake_expire_snapshots('lakehouse', versions => [1])",
        "FROM ducklake_delete_orphaned_files('lakehouse', cleanup_all => true)",
        "CALL lakehouse.merge_adjacent_files()",
        "SELECT * FROM enable_logging(storage => 'file')",
        "SELECT write_log('x')",
        "SELECT nextval('s')",
        "SELECT setseed(0.1)",
        "CHECKPOINT",
        "VACUUM",
        "BEGIN",
        "EXPLAIN ANALYZE DELETE FROM marts.days",
        "EXPLAIN DELETE FROM marts.days",
        "EXPLAIN ANALYZE SELECT 1",
        "/* a */ explain /* b */ (analyze) SELECT 1",
        "EXPLAIN (FORMAT json, ANALYZE) SELECT 1",
        "EXPLAIN FROM duckdb_settings",
        "PREPARE x AS SELECT 1",
        "EXECUTE x",
        "SELECT 1; DROP TABLE marts.days",
        "USE system",
    ],
    "SQL in strings": [
        "SELECT * FROM query('SELECT 42')",
        "SELECT * FROM query_table('duckdb_settings')",
        "SELECT * FROM json_execute_serialized_sql('{}')",
        "SELECT json_serialize_sql('SELECT 1')",
        "SELECT json_deserialize_sql('{}')",
        "SELECT * FROM python_map_function(1)",
        "FROM result",
        "FROM call",
        "SELECT sleep_ms(100000)",
        "SELECT pg_sleep(100)",
        "SELECT * FROM repeat_row(1, num_rows = 1000000000)",
    ],
    "shapes that break parsers": [
        "",
        "   ",
        "-- nothing",
        ";",
        "SELECT" + "(" * 20_000 + "1" + ")" * 20_000,
        "SELECT " + "-" * 1 + "(-" * 5_000 + "1" + ")" * 5_000,
        "SELECT " + "[" * 3_000 + "]" * 3_000,
        "SELECT 1" + " UNION ALL SELECT 1" * 4_000,
        "SELECT " + " + ".join(["1"] * 20_000),
        "SELECT " + "NOT " * 20_000 + "true",
        "SELECT " + "CASE WHEN true THEN " * 2_000 + "1" + " END" * 2_000,
        "SELECT 'x\0y'",
        "SELECT * FROM " + "(SELECT * FROM " * 2_000 + "marts.days" + ")" * 2_000,
        "SELECT 1 AS \"" + "x" * 90_000 + "\"; SELECT",
        "\ufeffSELECT * FROM duckdb_settings()",
        "SELECT\u00a0*\u2003FROM\u2028duckdb_settings()",
        "SELECT/**/getenv/**/('HOME')",
        "SELECT \"getenv\"('HOME')",
        "SELECT GetEnv('HOME')",
    ],
}  # fmt: skip

HEAVY = [
    "SELECT count(*) FROM range(1000000000) a, range(1000000000) b WHERE a.range % 7 = b.range % 11",
    "SELECT sum(a.i * b.i) FROM marts.days a, marts.days b, marts.days c WHERE a.i + b.i > c.i",
    "WITH RECURSIVE t(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM t) SELECT count(*) FROM t",
    "WITH RECURSIVE t(s) AS (SELECT 'x' UNION ALL SELECT s || s FROM t) SELECT max(length(s)) FROM t",
    "SELECT repeat('x', 2000000000)",
    "SELECT length(repeat(repeat('x', 100000), 100000))",
    "SELECT lpad('x', 2000000000, 'y')",
    "SELECT list_sum(range(2000000000))",
    "SELECT array_agg(a.range) FROM range(1000000000) a",
    "SELECT string_agg(repeat('x', 1000), '') FROM range(10000000)",
    "SELECT regexp_matches(repeat('a', 100000) || 'b', '((((a*)*)*)*)*c')",
    "SELECT regexp_replace(repeat('ab', 10000000), '(a|b)+', repeat('\\0', 1000), 'g')",
    "SELECT DISTINCT a.range * b.range FROM range(1000000) a, range(1000000) b",
    "SELECT a.range FROM range(100000000) a ORDER BY hash(a.range)",
    "SELECT levenshtein(repeat('a', 200000), repeat('b', 200000))",
    "SELECT factorial(33) FROM range(100000000000)",
    "SELECT generate_series(1, 1000000000)",
    "SELECT unnest(range(10000)) FROM range(10000000)",
    "SELECT list_distinct(list_transform(range(100000000), lambda x: x // 2))",
    "SELECT median(hash(range)) OVER (ORDER BY range ROWS 100000 PRECEDING) FROM range(1000000)",
    "SELECT printf('%2000000000d', 1)",
    "SELECT format('{:2000000000}', 1)",
    "SELECT '1'::BIT, bitstring('1', 2000000000)",
    "SELECT range(1000000000)::VARCHAR",
]  # fmt: skip
ALL = [(group, sql) for group, statements in STATEMENTS.items() for sql in statements]


def contents(lake: Lake) -> dict[str, str]:
    """Everything in the storage: key -> checksum of the bytes."""
    storage = lake.storage
    found = {}
    for folder in ("published/", "lake/"):
        for item in storage.list(folder):
            found[item.key] = hashlib.sha256(storage.read(item.key)[0]).hexdigest()
    return found


@pytest.fixture(scope="module")
def service(publisher: Publisher, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service that ends a statement soon: most of the heavy ones would go on for hours."""
    with tightly_served(publisher.lake.settings, tmp_path_factory.mktemp("attacked"), seconds=2) as running:
        yield running


@pytest.fixture(scope="module", autouse=True)
def _nothing_changes(publisher: Publisher, service: Service) -> Iterator[None]:
    before, snapshot = contents(publisher.lake), publisher.lake.newest_snapshot()
    yield
    assert contents(publisher.lake) == before
    assert publisher.lake.newest_snapshot() == snapshot
    assert service.process.poll() is None


@pytest.fixture(autouse=True)
def _the_next_caller_is_answered(service: Service) -> Iterator[None]:
    yield
    assert service.rows("SELECT count(*) FROM marts.days") == [[ROWS]]


def worker_restarts(service: Service) -> float:
    lines = calls.get(f"{service.url}/metrics", timeout=60).text.splitlines()
    return float(next(line for line in lines if line.startswith("lakehouse_query_worker_restarts ")).split()[1])


def leaks(text: str, publisher: Publisher) -> list[str]:
    """Addresses and secrets that no answer may hold."""
    settings = publisher.lake.settings
    known = [settings.storage_uri, str(settings.data_dir), settings.postgres_url.get_secret_value(), "root:x:0"]
    return [word for word in known if word in text]


def test_there_are_many() -> None:
    assert len(ALL) + len(HEAVY) >= 80


@pytest.mark.parametrize(("group", "sql"), ALL, ids=[f"{group}-{sql[:40]}" for group, sql in ALL])
def test_a_hostile_statement_is_refused(service: Service, publisher: Publisher, group: str, sql: str) -> None:
    restarts = worker_restarts(service)
    reply = service.ask(sql)
    assert worker_restarts(service) == restarts
    if group == "shapes that break parsers" and reply.status_code == 200:
        assert reply.json()["row_count"] <= 4_001  # it was only long
        return
    expected = REFUSED | {"urn:lakehouse:invalid-request", "urn:lakehouse:too-large"}
    if group == "shapes that break parsers":
        expected |= STOPPED
    assert reply.json()["type"] in expected, reply.text
    assert leaks(reply.text, publisher) == []


@pytest.mark.parametrize("sql", HEAVY, ids=[sql[:50] for sql in HEAVY])
def test_a_heavy_statement_is_stopped(service: Service, publisher: Publisher, sql: str) -> None:
    reply = service.ask(sql)
    if reply.status_code == 200:
        # DuckDB made light of it, or only a cut of it was sent.
        assert len(reply.content) < 40_000_000
    else:
        assert reply.json()["type"] in STOPPED, reply.text
        assert leaks(reply.text, publisher) == []


# --------------------------------------------------------------------------------------- requests


def raw(service: Service, *parts: bytes) -> bytes:
    """The start of what the service answers to these bytes; nothing when it hangs up."""
    address = urlsplit(service.url)
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        try:
            for part in parts:
                connection.sendall(part)
            return connection.recv(4096)
        except (ConnectionError, TimeoutError):
            return b""


HEAD = b"POST /query HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
REQUESTS = {
    "bad UTF-8": (HEAD + b"Content-Length: 13\r\n\r\n" + b'{"sql": "\xff\xfe"}',),
    "a huge header": (HEAD + b"X: " + b"x" * 100_000 + b"\r\nContent-Length: 2\r\n\r\n{}",),
    "many headers": (HEAD + b"".join(b"X-%d: x\r\n" % number for number in range(10_000)) + b"\r\n",),
    "a length that is no number": (HEAD + b"Content-Length: many\r\n\r\n{}",),
    "two lengths": (HEAD + b"Content-Length: 2\r\nContent-Length: 50\r\n\r\n{}",),
    "length and chunks": (HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",),
    "a bad chunk": (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",),
    "a body without an end": (HEAD + b"Content-Length: 1000000\r\n\r\n{",),
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 10,),
    "a newline in the target": (b"GET /tables\n?release=1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",),
    "a method of its own": (b"HACK /query HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n",),
    "no host": (
        b"POST /query HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 18\r\n\r\n{\"sql\":\"SELECT 1\"}",
    ),
    "another host": (
        b"POST /query HTTP/1.1\r\nHost: evil.example\r\nContent-Type: application/json\r\n"
        b"Content-Length: 18\r\n\r\n{\"sql\":\"SELECT 1\"}",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REQUESTS)
def test_a_hostile_request_is_refused(service: Service, name: str) -> None:
    answer = raw(service, *REQUESTS[name])
    assert answer == b"" or answer.split()[1][:1] == b"4", answer


@pytest.mark.parametrize(
    "path",
    [
        "/swagger/../../../../etc/passwd",
        "/swagger/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/swagger/..%2f..%2f..%2fetc%2fpasswd",
        "/tables?environment=..%2F..",
        "/tables?environment=prod%00",
        "/releases?environment=%2e%2e%2f%2e%2e%2flanding",
        "/tables?release=-1",
        "/tables?release=1e9",
        "/tables?release=99999999999999999999",
    ],
)
def test_paths_lead_nowhere_else(service: Service, publisher: Publisher, path: str) -> None:
    answer = raw(service, f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
    assert answer.split()[1] in (b"400", b"403", b"404"), answer
    assert leaks(answer.decode(), publisher) == []


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"sql": ' + b'{"a":' * 50_000 + b"1" + b"}" * 50_001,
        b'{"sql": "SELECT 1", "limit": 1e400}',
            b'{"sql": "SELECT 1", "parameters": {"a b": 1}}',
        b'{"sql": "SELECT $x", "parameters": {"x": [1]}}',
        b'{"sql": "SELECT 1", "format": "x"}',
        b'{"sql": "SELECT 1", "release": true}',
        b'{"sql": null}',
        b'"SELECT 1"',
        b"\xff\xfe",
        b"",
    ],
)  # fmt: skip
def test_hostile_json_is_a_sentence(service: Service, body: bytes) -> None:
    reply = calls.post(f"{service.url}/query", content=body, headers={"content-type": "application/json"}, timeout=30)
    assert reply.status_code in (400, 413), reply.text
    assert reply.json()["type"] in ("urn:lakehouse:invalid-request", "urn:lakehouse:failed", "urn:lakehouse:too-large")
    assert len(reply.text) < 2_000
