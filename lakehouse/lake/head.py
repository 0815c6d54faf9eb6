"""The lake's head as one environment's readers see it: the same table names in each, and no way to name another's.

SQLMesh names the views of the environment `dev_ann` `marts__dev_ann.x` in the lake. A reader writes `marts.x` or
`lakehouse.marts.x` in every environment, and gets its own rows or an error. This keeps a developer, who holds
credentials, from mixing environments up; it is no wall against one who wants to.
"""

from __future__ import annotations

import re
from contextlib import closing

import duckdb
import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from lakehouse.errors import LakehouseError
from lakehouse.lake.connections import lock_down
from lakehouse.lake.ducklake import ALIAS, Lake
from lakehouse.lake.postgres import connect as connect_postgres

SHARED = ("raw",)
ISOLATED = ("staging", "marts")
CATALOGUES = ("information_schema", "pg_catalog", "main")
"""Schemas that list what there is: names, not rows."""
READERS = (exp.Query, exp.Describe, exp.Summarize, exp.Pivot)
# They name tables in a string, or reach files or the lake past its schemas.
FUNCTIONS = re.compile(
    r"query|query_table|json_execute_serialized_sql|(ducklake|postgres|sqlite|mysql)_\w+|table_(changes|insertions|deletions)"
    r"|read_\w+|\w+_scan|parquet_\w+|sniff_csv|glob",
    re.I,
)
EXPLAIN = re.compile(r"\s*explain(\s+analyze)?\b", re.I)


class HeadError(LakehouseError):
    """The reader may not ask this; the message names what, and says what is allowed."""

    exit_code = 2


def connect_head(lake: Lake, environment: str) -> duckdb.DuckDBPyConnection:
    """A connection that reads the lake's head. Give it what `rewritten` gives, nothing else.

    Raises:
        HeadError: there is no such environment.
        LakeError: there is no lake.
    """
    with closing(connect_postgres(lake.settings)) as postgres:
        row = postgres.execute("SELECT to_regclass('sqlmesh._environments') IS NOT NULL").fetchone()
        names: list[str] = []
        if row and row[0]:
            names = [name for (name,) in postgres.execute("SELECT name FROM sqlmesh._environments").fetchall()]
    if environment not in names and names:
        raise HeadError(f"There is no environment {environment}. There are: {', '.join(sorted(names))}.")
    connection = lake.connect(read_only=True)
    try:
        lock_down(connection, f"{lake.settings.lake_uri}/")
    except BaseException:
        connection.close()
        raise
    return connection


def rewritten(sql: str, environment: str) -> str:
    """The same query with each table's schema named as the lake has it for this environment.

    Only these names are replaced in the text, found by the parse tree: comments, strings, columns and CTEs that look
    like one stay.

    Raises:
        HeadError: it is no query, or names what is not this environment's.
    """
    explain = EXPLAIN.match(sql)
    offset = explain.end() if explain else 0
    tree = _parsed(sql[offset:], environment)
    edits = []
    for table in tree.find_all(exp.Table):
        edits += _edits(table, _allowed_schema(table, environment))
    for column in tree.find_all(exp.Column):
        if _names_a_table(column):
            edits += _edits(column, environment_schema(column.db, environment))
    for function in tree.find_all(exp.Func):
        _refuse_function(function, environment)
    for start, end, name in sorted(set(edits), reverse=True):
        sql = sql[: offset + start] + name + sql[offset + end :]
    return sql


def _parsed(sql: str, environment: str) -> exp.Expr:
    try:
        trees = [tree for tree in sqlglot.parse(sql, dialect="duckdb") if tree is not None]
    except SqlglotError as error:
        reason = re.sub(r"\x1b\[\d*m", "", str(error)).splitlines()[0]
        raise HeadError(f"This can't be read as a SELECT over environment {environment}: {reason}") from None
    if len(trees) != 1 or not isinstance(trees[0], READERS):
        raise HeadError(
            f"One SELECT is wanted over environment {environment}; it may begin with WITH, FROM or DESCRIBE."
        )
    return trees[0]


def _allowed_schema(table: exp.Table, environment: str) -> str:
    """The lake's name of the table's schema; empty when there is none to name. Raises HeadError for another's."""
    if isinstance(table.this, exp.Func):
        return ""
    catalog, schema = table.catalog.lower(), table.db.lower()
    if not schema and set(table.name) & set("./\\:*?["):
        raise HeadError(f"{table.name} looks like a file, and this reads the lake. {_wanted()}")
    if catalog in ("", ALIAS):
        if not schema or schema in (*SHARED, *CATALOGUES) or _is_own(schema, environment):
            return ""
        if schema in ISOLATED:
            return environment_schema(schema, environment)
        if not catalog and schema in ("temp", "memory", "system"):
            return ""
    elif catalog in ("system", "temp", "memory"):
        return ""
    named = ".".join(part.name for part in table.parts)
    zone, _, other = schema.partition("__")
    if zone in ISOLATED and other:
        why = f"belongs to the environment {other}, and this reads {environment}"
    elif schema.startswith("sqlmesh__"):
        why = "is a physical table, which environments share"
    else:
        why = "is no table of an environment"
    raise HeadError(f"{named} {why}. {_wanted()}")


def _wanted() -> str:
    names = ", ".join(f"{schema}.<table>" for schema in (*SHARED, *ISOLATED))
    return f"Name {names}, with {ALIAS} in front or without, in every environment."


def _is_own(schema: str, environment: str) -> bool:
    return environment != "prod" and schema in [environment_schema(zone, environment) for zone in ISOLATED]


def environment_schema(zone: str, environment: str) -> str:
    """The schema in the lake that holds the environment's views of a zone that is each environment's own."""
    return zone.lower() if environment == "prod" else f"{zone.lower()}__{environment}"


def _names_a_table(column: exp.Column) -> bool:
    """Whether `marts.x.a` means column a of the table marts.x, that a FROM around it names; else it is a struct's."""
    named = (column.db.lower(), column.table.lower())
    if named[0] not in ISOLATED:
        return False
    around = column.find_ancestor(exp.Select)
    while around is not None:
        sources = [around.args.get("from_"), *around.args.get("joins", [])]
        tables = [source.this for source in sources if source is not None and isinstance(source.this, exp.Table)]
        if any(not table.alias and (table.db.lower(), table.name.lower()) == named for table in tables):
            return True
        around = around.find_ancestor(exp.Select)
    return False


def _edits(node: exp.Table | exp.Column, schema: str) -> list[tuple[int, int, str]]:
    """Where the schema's name stands in the text, and what stands there instead."""
    found = node.args.get("db")
    if not schema or found is None or found.name.lower() == schema:
        return []
    if "start" not in found.meta:
        raise HeadError(f"{found.name} can't be found in the query's text: write it as {schema} yourself.")
    return [(found.meta["start"], found.meta["end"] + 1, schema)]


def _refuse_function(function: exp.Func, environment: str) -> None:
    name = function.name if isinstance(function, exp.Anonymous) else function.sql_name()
    if FUNCTIONS.fullmatch(name):
        raise HeadError(
            f"{name.lower()}() reaches tables whose environment can't be told, and this reads {environment}. "
            + _wanted()
        )
