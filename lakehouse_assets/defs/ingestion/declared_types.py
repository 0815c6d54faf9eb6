"""Whether the raw tables have the types that their sources declare; a table follows where no value loses by it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

import duckdb

from dlt_sources.landing.column_types import EXACT_IN_DOUBLE, INTEGERS, is_widening
from lakehouse.lake.ducklake import Lake, identifier
from lakehouse.writing import loads
from lakehouse.writing.loads import Report
from lakehouse.writing.locks import holding, pipeline_lock
from lakehouse_assets.defs.ingestion.sources import RawTable

STAGING = "raw_staging"
"""dlt's own copy of a table, through which a merge goes."""


@dataclass(frozen=True)
class Difference:
    """A column that the lake has in another type than its declaration says."""

    table: RawTable
    column: str
    there: str
    declared: str
    can_follow: bool

    def __str__(self) -> str:
        said = f"column {self.column} of {self.table.full_name} is declared {self.declared}, the lake has {self.there}"
        if self.can_follow:
            return f"{said}: the next load widens it, and every value stays as it is"
        return (
            f"{said}, which can't become that without loss. Declare it {self.there} again; or load it under "
            f'another name beside the old: `{self.column}_2 = {{ type = "{self.declared}", '
            f'aliases = ["{self.column}"], … }}`'
        )


def differences(connection: duckdb.DuckDBPyConnection, tables: Sequence[RawTable]) -> list[Difference]:
    """Where declarations of files and the lake differ. A column that the lake doesn't have yet is no difference."""
    found = []
    for table in (table for table in tables if table.from_files):  # other sources: drift.py
        there = lake_types(connection, table.name)
        for column, declared, _ in table.columns:
            if column in there and there[column] != declared:
                can_follow = _can_follow(connection, table, column, there[column], declared)
                found.append(Difference(table, column, there[column], declared, can_follow))
    return found


def lake_types(connection: duckdb.DuckDBPyConnection, table: str) -> dict[str, str]:
    """The types of a raw table's columns as it has them now."""
    return lake_columns(connection).get(table, {})


def lake_columns(connection: duckdb.DuckDBPyConnection) -> dict[str, dict[str, str]]:
    """The same of every raw table, by its name."""
    found: dict[str, dict[str, str]] = {}
    for table, column, kind in connection.execute(
        "SELECT table_name, column_name, replace(data_type, 'TIMESTAMP WITH TIME ZONE', 'TIMESTAMPTZ') "
        "FROM information_schema.columns WHERE table_catalog = 'lakehouse' AND table_schema = 'raw' "
        "AND NOT starts_with(table_name, '_dlt_') ORDER BY table_name, ordinal_position"
    ).fetchall():
        found.setdefault(table, {})[column] = kind
    return found


def refusal(found: Sequence[Difference]) -> str | None:
    """A line for each declaration that the lake contradicts; None where there is none."""
    return "\n".join(str(one)[:1].upper() + str(one)[1:] for one in found if not one.can_follow) or None


def follow(lake: Lake, source: str, found: Sequence[Difference], *, run: str, report: Report) -> None:
    """Give the tables of a source the types that are declared now, all at once. Call it before a load writes."""
    loads.repair(lake, [source], run=run, report=report)  # what was staged as it was declared then
    with holding(lake.settings, [pipeline_lock(source)], holder=run, waiting=report):
        with closing(lake.connect()) as connection:
            connection.execute("BEGIN")
            for one in found:
                for schema in ("raw", STAGING):
                    if _has_column(connection, schema, one.table.name, one.column):
                        where = f"{schema}.{identifier(one.table.name)}"
                        column = identifier(one.column)
                        connection.execute(f"ALTER TABLE {where} ALTER {column} SET DATA TYPE {one.declared}")
            connection.execute("COMMIT")
    for one in found:
        models = readers(one.table.name, one.column)
        read = f" Models that read it: {', '.join(models)}." if models else " No model reads it."
        report(f"column {one.column} of {one.table.full_name} is now {one.declared}, it was {one.there}.{read}")


def readers(table: str, column: str) -> list[str]:
    """The models that compute something from a raw column."""
    from lakehouse_assets.models import project

    wanted = ("raw", table, column)
    return sorted(
        model.name for model in project().manifest().models if any(wanted in spec.sources for spec in model.columns)
    )


def _can_follow(connection: duckdb.DuckDBPyConnection, table: RawTable, column: str, there: str, declared: str) -> bool:
    if is_widening(there, declared):
        return True
    if there not in INTEGERS or declared != "DOUBLE":
        return False
    beyond = f"{identifier(column)} NOT BETWEEN -{EXACT_IN_DOUBLE} AND {EXACT_IN_DOUBLE}"
    name = identifier(table.name)
    return connection.execute(f"SELECT 1 FROM raw.{name} WHERE {beyond} LIMIT 1").fetchone() is None


def _has_column(connection: duckdb.DuckDBPyConnection, schema: str, table: str, column: str) -> bool:
    found = connection.execute(
        "SELECT 1 FROM information_schema.columns WHERE table_catalog = 'lakehouse' AND table_schema = ? "
        "AND table_name = ? AND column_name = ?",
        [schema, table, column],
    ).fetchone()
    return found is not None
