"""A MariaDB server as a source, from its address alone."""

from __future__ import annotations

import datetime
import shutil
import subprocess
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pymysql
import pytest
import sqlalchemy as sa

from lakehouse_assets.defs.ingestion import source_settings
from lakehouse_assets.defs.ingestion.mysql_dialect import MySQLDialect
from tests.ports import free_ports
from tests.sources.conftest import Sources, command

READY_SECONDS = 60.0
TABLES = """
    CREATE TABLE orders (id BIGINT UNSIGNED PRIMARY KEY, amount DECIMAL(12, 2), mood ENUM('sad', 'happy'),
        flags SET('a', 'b'), raw BLOB, meta JSON, updated_at DATETIME(6) NOT NULL);
    CREATE TABLE customers (id INT PRIMARY KEY, name VARCHAR(100), active BOOLEAN, born DATE,
        updated_at TIMESTAMP NULL) CHARACTER SET utf8mb4;
    CREATE TABLE measures (place INT, nr SMALLINT UNSIGNED, small TINYINT, large FLOAT, larger DOUBLE, bits BIT(8),
        made YEAR, took TIME, PRIMARY KEY (place, nr));
    CREATE TABLE events (id UUID PRIMARY KEY DEFAULT uuid(), happened_at DATETIME);
    CREATE TABLE notes (note TEXT);
    CREATE VIEW totals AS SELECT sum(amount) AS total FROM orders;
    INSERT INTO orders SELECT seq, seq / 4, 'sad', 'a,b', x'01ff', '{"x": 1}', '2024-01-01 12:00:00.123456'
        FROM seq_1_to_1000;
    INSERT INTO orders VALUES (18446744073709551, NULL, NULL, NULL, NULL, NULL, '2024-01-02');
    INSERT INTO customers VALUES (1, 'Zoë 🦆', true, '1970-02-03', '2024-01-01'), (2, NULL, NULL, NULL, NULL);
    INSERT INTO measures VALUES (1, 65535, -128, 0.5, 1.25e-15, b'101', 2024, '12:34:56');
    INSERT INTO events (happened_at) VALUES ('2024-01-01'), (NULL);
    INSERT INTO notes VALUES ('a'), ('a')
"""


@pytest.fixture
def database(tmp_path: Path) -> Iterator[tuple[str, Any]]:
    """A server of its own with tables of many types; its address, and a connection."""
    server, install = shutil.which("mariadbd"), shutil.which("mariadb-install-db")
    if not server or not install:
        pytest.skip("it needs a MariaDB server: apt-get install mariadb-server")
    folder, (port,) = tmp_path / "mariadb", free_ports(1)
    subprocess.run(
        [install, "--no-defaults", f"--datadir={folder}", "--auth-root-authentication-method=normal", "--user=root"],
        check=True, capture_output=True,
    )  # fmt: skip
    words = ["--no-defaults", f"--datadir={folder}", f"--socket={folder}/s", f"--port={port}", "--user=root"]
    with open(tmp_path / "mariadb.log", "wb") as log:
        process = subprocess.Popen([server, *words, "--bind-address=127.0.0.1"], stdout=log, stderr=log)
    try:
        connection = _connected(f"{folder}/s")
        with connection.cursor() as cursor:
            for statement in (
                "CREATE USER ann@localhost IDENTIFIED BY 'PLANTED-s3cret'", "GRANT ALL ON *.* TO ann@localhost",
                "CREATE DATABASE shop", "USE shop", *TABLES.split(";"),
            ):  # fmt: skip
                cursor.execute(statement)
            yield f"mysql://ann:PLANTED-s3cret@127.0.0.1:{port}/shop", cursor
        connection.close()
    finally:
        process.terminate()
        process.wait()


def _connected(socket: str) -> Any:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            return pymysql.connect(unix_socket=socket, user="root", autocommit=True)
        except pymysql.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


@pytest.mark.parametrize("name", ["mysql", "mariadb", "mysql+pymysql"])
def test_an_address_takes_the_driver_that_is_there(name: str) -> None:
    assert source_settings
    assert sa.make_url(f"{name}://ann@host/shop").get_dialect() is MySQLDialect


@pytest.mark.proof  # a server that few machines have
def test_a_mysql_database_loads_whole_and_what_changed(
    team: Sources, database: tuple[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, cursor = database
    monkeypatch.setenv("SOURCES__SHOP__CREDENTIALS", url)
    tables = ("orders", "customers", "measures", "events", "notes", "totals")
    options = [word for name in tables for word in ("--table", name)]
    added = command("add", "shop", "mysql://", *options, "--yes")
    assert added.exit_code == 0 and "PLANTED" not in added.output, added.output
    assert "key place, nr; loaded whole" in added.output and "key id; increments by updated_at" in added.output
    team.load("shop")
    for table, rows in (("orders", 1001), ("customers", 2), ("measures", 1), ("events", 2), ("notes", 2)):
        assert team.rows(f"SELECT count(*) FROM raw.shop__{table}") == [(rows,)], table
    assert team.rows("SELECT total FROM raw.shop__totals") == [(Decimal("125125.00"),)]
    assert team.rows(
        "SELECT amount, mood, flags, raw, meta->>'x', updated_at::TIMESTAMP::TEXT FROM raw.shop__orders WHERE id = 1"
    ) == [(Decimal("0.25"), "sad", "a,b", b"\x01\xff", "1", "2024-01-01 12:00:00.123456")]
    assert team.rows("SELECT max(id) FROM raw.shop__orders") == [(18446744073709551,)]
    assert team.rows("SELECT name, active::INT, born FROM raw.shop__customers ORDER BY id") == [
        ("Zoë 🦆", 1, datetime.date(1970, 2, 3)), (None, None, None),
    ]  # fmt: skip
    assert team.rows("SELECT nr, small, large, larger, made, took FROM raw.shop__measures") == [
        (65535, -128, 0.5, 1.25e-15, 2024, datetime.time(12, 34, 56))
    ]
    cursor.execute("INSERT INTO orders (id, amount, updated_at) VALUES (1001, 7, '2024-02-01')")
    cursor.execute("UPDATE orders SET amount = 100, updated_at = '2024-02-01' WHERE id = 1")
    cursor.execute("DELETE FROM notes LIMIT 1")
    done = team.load("shop")
    told = {event.asset_key.path[-1]: event.metadata for event in done.asset_materializations_for_node("shop")}
    assert told["shop__orders"]["rows_inserted"].value == 2
    assert team.rows("SELECT count(*), max(amount) FROM raw.shop__orders") == [(1002, Decimal(250))]
    assert team.rows("SELECT amount FROM raw.shop__orders WHERE id = 1") == [(Decimal(100),)]
    assert team.rows("SELECT count(*) FROM raw.shop__notes") == [(1,)]
