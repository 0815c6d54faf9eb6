"""What a stock DuckDB gets from a release, with read rights on the published zone alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import duckdb
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from lakehouse.releases.pointer import read_pointer
from tests.lakehouse.releases.conftest import Publisher, served
from tests.object_store import ON_BOTH

# Every type that DuckLake stores (1.0: no BIT, ENUM or fixed arrays; it rounds big HUGEINTs, and can't read
# a date inside a struct again while a small table's rows lie in its catalog).
TYPES = {
    "boolean": "i % 2 = 0",
    "tinyint": "(i % 100)::TINYINT",
    "smallint": "(i % 1000)::SMALLINT",
    "integer": "i::INTEGER",
    "bigint": "(i * 10000000000)::BIGINT",
    "hugeint": "(i * 1000)::HUGEINT",
    "utinyint": "(i % 200)::UTINYINT",
    "usmallint": "(i % 60000)::USMALLINT",
    "uinteger": "i::UINTEGER",
    "ubigint": "18446744073709551615::UBIGINT",
    "uhugeint": "(i * 1000)::UHUGEINT",
    "float": "CASE WHEN i % 3 = 0 THEN 'inf'::FLOAT ELSE i / 3 END::FLOAT",
    "double": "CASE WHEN i % 3 = 0 THEN 'nan'::DOUBLE ELSE i / 7 END",
    "decimal": "(i / 100)::DECIMAL(18, 2)",
    "wide_decimal": "(i / 100)::DECIMAL(38, 10)",
    "text": "'ü''\"' || chr(128512) || i",
    "blob": "'\\xAA\\x00'::BLOB || encode('ü' || i)",
    "date": "DATE '1900-01-01' + (i % 60000)::INT",
    "time": "TIME '00:00:01' + INTERVAL (i % 80000) SECOND",
    "time_tz": "('01:02:03.5+0' || i % 9)::TIMETZ",
    "timestamp": "TIMESTAMP '2024-01-01 00:00:00.123456' + INTERVAL (i) SECOND",
    "timestamp_tz": "TIMESTAMPTZ '2024-01-01 00:00:00.123456+02' + INTERVAL (i) SECOND",
    "timestamp_s": "(TIMESTAMP '2024-01-01' + INTERVAL (i) SECOND)::TIMESTAMP_S",
    "timestamp_ms": "(TIMESTAMP '2024-01-01 00:00:00.123' + INTERVAL (i) SECOND)::TIMESTAMP_MS",
    "timestamp_ns": "TIMESTAMP_NS '2024-01-01 00:00:00.123456789'",
    "interval": "INTERVAL (i) DAY + INTERVAL 3 MONTH",
    "uuid": "md5(i::VARCHAR)::UUID",
    "json": "('{\"a\": ' || i || '}')::JSON",
    "list": "[i, NULL, i + 1]",
    "struct": "{'a': i, 'b': 'x', 'c': [1, 2], 'd': [{'e': 'y'}]}",
    "map": "MAP {'k' || i: i}",
    "nothing": "NULL::INTEGER",
}
SIZES = (1, 2, 3_000)  # below and above the number of rows that DuckLake keeps inside its catalog


@pytest.fixture
def every_type(publisher: Publisher) -> Publisher:
    """Tables of 1, 2 and 3,000 rows with every column type, published."""
    columns = ", ".join(f'{expression} AS "{name}"' for name, expression in TYPES.items())
    publisher.execute(
        *(f"CREATE TABLE marts.rows_{size} AS SELECT i AS id, {columns} FROM range({size}) t(i)" for size in SIZES),
        "CREATE TABLE marts.hidden AS SELECT 1 AS secret",
    )
    publisher.publish(*(served(f"marts.rows_{size}", "1", description=f"{size} rows") for size in SIZES))
    return publisher


def _same(publisher: Publisher, reader: duckdb.DuckDBPyConnection, alias: str) -> None:
    """Row for row what the lake holds, as text: HUGEINT comes as DECIMAL, TIMETZ as text."""
    for size in SIZES:
        with closing(publisher.lake.connect(read_only=True)) as connection:
            want = connection.execute(
                f"SELECT COLUMNS(*)::VARCHAR FROM (FROM marts.rows_{size} ORDER BY id)"
            ).fetchall()
        got = reader.execute(f"SELECT COLUMNS(*)::VARCHAR FROM (FROM {alias}.marts.rows_{size} ORDER BY id)").fetchall()
        assert len(got) == size
        assert got == want


@ON_BOTH
def test_any_duckdb_attaches_it_by_its_address_under_any_alias(every_type: Publisher) -> None:
    pointer = read_pointer(every_type.lake.storage, "prod")
    assert pointer is not None
    reader = every_type.reader(pointer["attach"].replace("AS lakehouse", "AS anything"))
    reader.execute("SET TimeZone = 'UTC'")
    _same(every_type, reader, "anything")
    listed = reader.execute("SELECT database_name, schema_name, table_name, comment FROM duckdb_tables()").fetchall()
    assert {row for row in listed if not row[0].startswith("__")} == {
        ("anything", "marts", f"rows_{size}", f"{size} rows") for size in SIZES
    }
    if every_type.lake.settings.stores_on_s3:
        for key in ("lake/", "landing/"):
            with pytest.raises(duckdb.Error, match="403|Forbidden|AccessDenied"):
                reader.execute(f"FROM glob('{every_type.lake.storage.uri_of(key)}*')").fetchall()
        with pytest.raises(duckdb.Error, match="403|Forbidden"):
            reader.execute(f"COPY (SELECT 1) TO '{every_type.lake.storage.uri_of('published/x.parquet')}'")


@pytest.mark.slow
@pytest.mark.parametrize("storage_environment", ["folder"], indirect=True)
def test_a_copy_of_the_published_zone_reads_the_same_from_disk_and_over_http(
    every_type: Publisher, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    _copy_out(every_type, folder)
    pointer = read_pointer(every_type.lake.storage, "prod")
    assert pointer is not None
    with _http(folder) as address:
        for base in (str(folder), address):
            catalog = f"{base}/{pointer['catalog']}"
            line = (
                pointer["attach_elsewhere"]
                .replace(f"<copy or address of {pointer['catalog']}>", catalog)
                .replace("<copy or address of data/>", f"{base}/data/")
            )
            extensions = every_type.lake.duckdb_config()["extension_directory"]
            with closing(duckdb.connect(config={"extension_directory": str(extensions)})) as reader:
                reader.execute(line)
                reader.execute("SET TimeZone = 'UTC'")
                _same(every_type, reader, "lakehouse")


def _copy_out(publisher: Publisher, folder: Path) -> None:
    for found in publisher.lake.storage.list("published/prod/"):
        target = folder / found.key.removeprefix("published/prod/")
        target.parent.mkdir(parents=True, exist_ok=True)
        publisher.lake.storage.download(found.key, target)


@contextmanager
def _http(folder: Path) -> Iterator[str]:
    """A plain web server over a folder, with ranges."""
    app = Starlette(routes=[Mount("/", StaticFiles(directory=folder))])
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            thread.join(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()
