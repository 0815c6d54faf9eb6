"""The connection dies after a commit and before its answer: what was written is not written again."""

from __future__ import annotations

from typing import Any

import duckdb
import pytest
from dlt.destinations.impl.duckdb.duck import DuckDbCopyJob
from dlt.destinations.impl.duckdb.sql_client import DuckDbSqlClient

from tests.sources.conftest import Sources

SHOP = """
    import dlt

    @dlt.resource
    def appended():
        yield [{"id": n, "lines": [{"n": n}]} for n in range(10)]

    @dlt.resource(primary_key="id", write_disposition="merge")
    def merged():
        yield [{"id": n, "lines": [{"n": n}]} for n in range(10)]

    @dlt.resource(write_disposition="replace")
    def replaced():
        yield [{"id": n, "lines": [{"n": n}]} for n in range(10)]
"""


@pytest.mark.parametrize(
    "table",
    [
        "appended",
        *(pytest.param(table, marks=pytest.mark.slow) for table in ("appended__lines", "merged", "replaced__lines")),
    ],
)
def test_a_row_is_there_once(team: Sources, monkeypatch: pytest.MonkeyPatch, table: str) -> None:
    team.write("shop", SHOP)
    job, lost = DuckDbCopyJob.run, []

    def run(self: Any) -> None:
        job(self)
        if self.load_table_name == f"shop__{table}" and not lost:
            lost.append(self.load_table_name)
            raise DuckDbSqlClient._make_database_exception(duckdb.IOException("server closed the connection"))

    monkeypatch.setattr(DuckDbCopyJob, "run", run)
    team.load("shop")
    assert lost
    for name in ("appended", "merged", "replaced"):
        assert team.rows(f"SELECT count(*), count(DISTINCT id) FROM raw.shop__{name}") == [(10, 10)], name
        assert team.rows(f"SELECT count(*) FROM raw.shop__{name}__lines") == [(10,)], name
    assert team.marks() == []
