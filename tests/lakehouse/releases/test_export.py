"""A published model as a PostgreSQL table."""

from __future__ import annotations

from contextlib import closing

import psycopg
import pytest

from lakehouse.releases.export import ExportError, export
from tests.lakehouse.releases.conftest import Publisher, served

ROWS = """
CREATE TABLE marts.sales AS SELECT i AS id, (i / 4)::DECIMAL(12, 2) AS amount, DATE '2024-01-01' + (i % 9)::INT AS day,
    'ü''' || i AS name, [i] AS items, {'a': i} AS detail, TIMESTAMPTZ '2024-01-01 00:00:00+00' AS at, NULL::INT AS none
FROM range(5000) t(i)
"""


@pytest.fixture
def sales(publisher: Publisher) -> Publisher:
    publisher.execute(ROWS)
    publisher.publish(served("marts.sales", "1"))
    return publisher


@pytest.mark.parametrize("storage_environment", ["folder"], indirect=True)
def test_a_table_is_replaced_at_once_and_keeps_what_hangs_on_it(sales: Publisher, database_url: str) -> None:
    assert export(sales.lake.settings, "marts.sales", database_url)[:2] == (5000, "marts.sales")
    with closing(psycopg.connect(database_url, autocommit=True)) as postgres:
        row = postgres.execute("SELECT id, amount, day, name, detail, none FROM marts.sales WHERE id = 3").fetchone()
        assert row is not None
        assert (row[0], str(row[1]), str(row[2]), row[3], row[4], row[5]) == (
            3, "0.75", "2024-01-04", "ü'3", {"a": 3}, None,
        )  # fmt: skip
        postgres.execute("CREATE VIEW sold AS SELECT sum(id) AS total FROM marts.sales")
        sales.execute("INSERT INTO marts.sales SELECT * REPLACE (9000 AS id) FROM marts.sales LIMIT 1")
        sales.publish(served("marts.sales", "2"))
        assert export(sales.lake.settings, "marts.sales", database_url)[0] == 5001
        assert postgres.execute("SELECT count(*) FROM marts.sales").fetchone() == (5001,)
        assert postgres.execute("SELECT total FROM sold").fetchone() == (sum(range(5000)) + 9000,)
        assert export(sales.lake.settings, "marts.sales", database_url, table="old_sales", release=1)[:2] == (
            5000, "public.old_sales",
        )  # fmt: skip


@pytest.mark.parametrize("storage_environment", ["folder"], indirect=True)
def test_what_can_not_be_copied_says_why_and_changes_nothing(sales: Publisher, database_url: str) -> None:
    settings = sales.lake.settings
    with pytest.raises(ExportError, match=r"serves no marts.nothing. It serves: marts.sales"):
        export(settings, "marts.nothing", database_url)
    with pytest.raises(ExportError, match="must look like postgresql://"):
        export(settings, "marts.sales", "mysql://x/y")
    with pytest.raises(ExportError) as caught:
        export(settings, "marts.sales", "postgresql://someone:very-secret@127.0.0.1:9/db")
    assert "very-secret" not in str(caught.value) and "Nothing was changed" in str(caught.value)
    export(settings, "marts.sales", database_url)
    with closing(psycopg.connect(database_url, autocommit=True)) as postgres:
        postgres.execute("ALTER TABLE marts.sales ADD CONSTRAINT small CHECK (id < 6000)")
        sales.execute("INSERT INTO marts.sales SELECT * REPLACE (9000 AS id) FROM marts.sales LIMIT 1")
        sales.publish(served("marts.sales", "2"))
        with pytest.raises(ExportError, match="small"):
            export(settings, "marts.sales", database_url)
        assert postgres.execute("SELECT count(*) FROM marts.sales").fetchone() == (5000,)
