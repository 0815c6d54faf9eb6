"""Copy a published model into a PostgreSQL table, for tools that speak nothing else."""

from __future__ import annotations

import re
from contextlib import closing
from urllib.parse import urlsplit

import duckdb

from lakehouse.errors import LakehouseError
from lakehouse.lake.ducklake import ALIAS, identifier, libpq_keywords, quoted
from lakehouse.lake.postgres import libpq_environment
from lakehouse.releases.reading import Reading, connect_release
from lakehouse.settings import Settings

TARGET = "target"
# What PostgreSQL has no column type for goes there as JSON.
NESTED = re.compile(r"STRUCT|MAP|UNION|\]")


class ExportError(LakehouseError):
    """The table could not be written; the message says why, and that nothing was changed."""


def export(
    settings: Settings, model: str, to: str, *, table: str = "", environment: str = "", release: int | None = None
) -> tuple[int, str, Reading]:
    """Replace the rows of a PostgreSQL table by those of a published model, in one transaction.

    A table that is there with the same columns keeps its rights, indexes and views; another one is made anew. Gives the
    number of rows, the table's name and the release that they are from.

    Raises:
        ExportError, ReleaseError
    """
    parts = urlsplit(to)
    if parts.scheme not in ("postgresql", "postgres") or not parts.path.strip("/"):
        raise ExportError("--to must look like postgresql://user:password@host:5432/database.")
    schema, _, name = (table or model).rpartition(".")
    schema = schema or "public"
    connection, reading = connect_release(settings, environment or settings.environment, release)
    with closing(connection):
        columns = _columns(connection, model, reading)
        try:
            with libpq_environment(to) as address:
                connection.execute(f"ATTACH {quoted(libpq_keywords(address))} AS {TARGET} (TYPE postgres)")
                rows = _replace(connection, model, columns, schema, name)
        except duckdb.Error as error:
            reason = str(error).splitlines()[0]
            raise ExportError(
                f"{model} could not be copied to {schema}.{name} on {parts.hostname or 'PostgreSQL'}: "
                f"{reason}\nNothing was changed there."
            ) from None
    return rows, f"{schema}.{name}", reading


def _columns(connection: duckdb.DuckDBPyConnection, model: str, reading: Reading) -> list[tuple[str, str]]:
    """Name and SQL expression of each column."""
    served = {
        f"{schema}.{name}"
        for schema, name in connection.execute(
            f"SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = '{ALIAS}'"
        ).fetchall()
    }
    if model not in served:
        raise ExportError(
            f"Release {reading.number} of {reading.environment} serves no {model}. It serves: "
            f"{', '.join(sorted(served)) or 'nothing'}."
        )
    described = connection.execute(f"DESCRIBE {_table(model)}").fetchall()
    return [
        (name, f"{identifier(name)}::JSON" if NESTED.search(kind) else identifier(name)) for name, kind, *_ in described
    ]


def _replace(
    connection: duckdb.DuckDBPyConnection, model: str, columns: list[tuple[str, str]], schema: str, name: str
) -> int:
    select = ", ".join(f"{expression} AS {identifier(column)}" for column, expression in columns)
    full = f"{TARGET}.{identifier(schema)}.{identifier(name)}"
    connection.execute("BEGIN")
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {TARGET}.{identifier(schema)}")
    there = connection.execute(
        "SELECT column_name FROM duckdb_columns() WHERE database_name = ? AND schema_name = ? AND table_name = ? "
        "ORDER BY column_index",
        [TARGET, schema, name],
    ).fetchall()
    if [column for (column,) in there] == [column for column, _ in columns]:
        connection.execute(f"DELETE FROM {full}")
    else:
        connection.execute(f"DROP TABLE IF EXISTS {full}")
        connection.execute(f"CREATE TABLE {full} AS SELECT {select} FROM {_table(model)} LIMIT 0")
    row = connection.execute(f"INSERT INTO {full} SELECT {select} FROM {_table(model)}").fetchone()
    connection.execute("COMMIT")
    return int(row[0]) if row else 0


def _table(model: str) -> str:
    return ".".join(identifier(part) for part in (ALIAS, *model.split(".", 1)))
