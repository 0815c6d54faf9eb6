"""What DuckDB bound: the scans in its own plan of a statement, whatever its names meant to the guard; its columns."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

import duckdb

from lakehouse.query.engine.allowed import words
from lakehouse.query.engine.catalog import CATALOG_SCANS
from lakehouse.query.engine.problems import QueryError
from lakehouse.query.engine.values import columns_of

_INNER = words("""
COLUMN_DATA_SCAN CTE_SCAN DELIM_SCAN DUMMY_SCAN EMPTY_RESULT EXPRESSION_SCAN HASH_GROUP_BY REC_CTE_SCAN
REC_REC_CTE_SCAN GENERATE_SERIES RANGE UNNEST JSON_EACH JSON_TREE
""")
"""What reads nothing but the statement itself. (The group below a join's DELIM_SCAN is drawn without its input.)"""
ROW_SCANS = _INNER | {"DUCKLAKE_SCAN"}
"""What may read in the DuckDB that has the release open."""
LIST_SCANS = _INNER | CATALOG_SCANS | {"SEQ_SCAN"}
"""What may read in the DuckDB that has its tables without rows."""


def check_plan(
    session: duckdb.DuckDBPyConnection, sql: str, parameters: Mapping[str, Any] | None, *, asks_catalog: bool,
    tables: Collection[str] | None = None,
) -> None:  # fmt: skip
    """Look at every leaf of the plan. The statement stands on lines of its own, one below its first.

    `tables`: the only ones (`schema.table`) that may be read; None: all of the release.

    Raises:
        QueryError: the statement would read what is no served table.
        duckdb.Error: it can't be bound.
    """
    rows = session.execute(f"EXPLAIN (FORMAT json)\n{sql}", dict(parameters) if parameters else None).fetchall()
    allowed = LIST_SCANS if asks_catalog else ROW_SCANS
    left = [node for _, plan in rows for node in json.loads(plan)]
    while left:
        node = left.pop()
        below = node.get("children") or []
        read = {str(node["name"]).strip()} if not below else set()
        about = node.get("extra_info")
        if isinstance(about, dict) and "Function" in about:
            read.add(str(about["Function"]).strip())
        is_seen = True
        if tables is not None and "DUCKLAKE_SCAN" in read:
            is_seen = isinstance(about, dict) and about.get("Table") in {name.split(".", 1)[1] for name in tables}
        if not read <= allowed or not is_seen:
            raise QueryError("refused", "The statement reads what is no table of the release.")
        left += below


def described(
    session: duckdb.DuckDBPyConnection, sql: str, parameters: Mapping[str, Any] | None
) -> list[tuple[str, Any]]:
    """Names and DuckDB types of an answer, of a statement that does not run.

    With parameters DuckDB's `sql()` would run it to look at it.
    """
    if not parameters or sql.startswith("EXPLAIN"):  # which runs nothing
        return columns_of(session.sql(sql, params=parameters or None))
    given = dict(parameters)
    try:
        names = [str(row[0]) for row in session.execute(f"DESCRIBE\n{sql}", given).fetchall()]
    except duckdb.ParserException:  # of SUMMARIZE, whose columns have names that differ
        return columns_of(session.sql(f"SELECT * FROM (\n{sql}\n) LIMIT 0", params=given))
    aliases = ", ".join(f"c{number}" for number in range(len(names)))
    empty = session.sql(f"SELECT * FROM (\n{sql}\n) AS answer({aliases}) LIMIT 0", params=given)
    return list(zip(names, empty.types, strict=True))
