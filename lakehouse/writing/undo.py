"""Undo what a killed or failed load has committed: its tables hold again what they held at a snapshot of the lake.

A dlt load makes many commits. Which rows came and went since is in the lake's own history, so nothing of the source is
needed. New columns stay, empty: dlt finds them there when they come again.
"""

from __future__ import annotations

import random
import shutil
import time
from contextlib import closing
from dataclasses import dataclass

import duckdb
import psycopg

from lakehouse.lake.ducklake import METADATA_SCHEMA, Lake, identifier, quoted
from lakehouse.lake.feed import is_whole
from lakehouse.lake.postgres import connect
from lakehouse.writing.lost import forget, lost_files

RAW, STAGING = "raw", "raw_staging"
OWNER_COLUMNS = {"_dlt_loads": "schema_name", "_dlt_version": "schema_name", "_dlt_pipeline_state": "pipeline_name"}
"""dlt's own tables are shared by all sources: which column says whose a row is."""
ATTEMPTS = 40
LONGEST_WAIT_SECONDS = 2.0


@dataclass(frozen=True)
class _Table:
    """A name in the lake, and the table's id under it at the snapshot and now; None where there was none."""

    schema: str
    name: str
    then: int | None
    now: int | None
    changed: bool

    def __str__(self) -> str:
        return f"lakehouse.{identifier(self.schema)}.{identifier(self.name)}"


def tables_of(postgres: psycopg.Connection, pipeline: str) -> list[str]:
    """The raw tables (`raw.<table>`) that a pipeline has in the lake now, child tables included."""
    return [f"{RAW}.{t.name}" for t in _tables(postgres, pipeline, 0) if t.now and t.schema == RAW and _owned(t)]


def drop_tables(lake: Lake, pipeline: str) -> list[str]:
    """Drop every table of `pipeline`, and what dlt knows of it, in one transaction; names the raw ones.

    Call with the pipeline's lock.
    """
    with closing(connect(lake.settings)) as postgres, closing(lake.connect()) as connection:
        tables = [table for table in _tables(postgres, pipeline, 0) if table.now]
        connection.execute("BEGIN")
        for table in tables:
            if _owned(table):
                connection.execute(f"DROP TABLE {table}")
            else:
                connection.execute(f"DELETE FROM {table} WHERE {OWNER_COLUMNS[table.name]} = {quoted(pipeline)}")
        connection.execute("COMMIT")
    shutil.rmtree(lake.settings.pipelines_dir / pipeline, ignore_errors=True)
    return [f"{table.schema}.{table.name}" for table in tables if _owned(table) and table.schema == RAW]


def undo(lake: Lake, pipeline: str, snapshot: int) -> list[str]:
    """Give `pipeline`'s tables the rows that they had at `snapshot`, in one transaction; names those that it changed.

    Call with the pipeline's lock. Its working folder goes: what was extracted and not loaded is extracted again, from
    the state that the lake has. Safe to repeat: a kill in between changes nothing or everything.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            changed = _undo(lake, pipeline, snapshot)
            break
        except duckdb.TransactionException:  # another source writes dlt's shared tables
            if attempt == ATTEMPTS:
                raise
            time.sleep(random.uniform(0, min(0.05 * 2**attempt, LONGEST_WAIT_SECONDS)))
    shutil.rmtree(lake.settings.pipelines_dir / pipeline, ignore_errors=True)
    return changed


def _undo(lake: Lake, pipeline: str, snapshot: int) -> list[str]:
    with closing(connect(lake.settings)) as postgres:
        _forget_lost(lake, postgres, pipeline, snapshot)
        return _undo_rows(lake, postgres, pipeline, snapshot)


def _forget_lost(lake: Lake, postgres: psycopg.Connection, pipeline: str, snapshot: int) -> None:
    """What the load has written and the store has lost can't be read to be undone, and need not be."""
    forget(postgres, lost_files(lake, postgres, written_tables(postgres, pipeline, snapshot), snapshot))


def written_tables(postgres: psycopg.Connection, pipeline: str, snapshot: int) -> list[str]:
    """Its tables (schema.table) into which a load of `pipeline` since `snapshot` may have written. Not dlt's own, whose
    few rows lie in the catalog, and may be another pipeline's."""
    tables = _tables(postgres, pipeline, snapshot)
    return [f"{table.schema}.{table.name}" for table in tables if table.changed and _owned(table)]


def _undo_rows(lake: Lake, postgres: psycopg.Connection, pipeline: str, snapshot: int) -> list[str]:
    with closing(lake.connect()) as connection:
        connection.execute("BEGIN")
        row = connection.execute("SELECT id FROM lakehouse.current_snapshot()").fetchone()
        assert row is not None
        tables = [table for table in _tables(postgres, pipeline, snapshot) if table.changed]
        for number, table in enumerate(tables):
            _restore(connection, table, pipeline, (snapshot, int(row[0])), f"undo_{number}")
        message = quoted(f"undo of the load of {pipeline}")
        connection.execute(f"CALL lakehouse.set_commit_message('lakehouse', {message})")
        connection.execute("COMMIT")
    return [f"{table.schema}.{table.name}" for table in tables if _owned(table) and table.schema == RAW]


def _owned(table: _Table) -> bool:
    return table.name not in OWNER_COLUMNS


def _tables(postgres: psycopg.Connection, pipeline: str, snapshot: int) -> list[_Table]:
    """Names under which the pipeline's tables, or dlt's shared ones, were or are. Ids, since names can be swapped."""
    rows = postgres.execute(
        f"""
        WITH changes AS (
            SELECT string_agg(changes_made, ',') AS made FROM {METADATA_SCHEMA}.ducklake_snapshot_changes
            WHERE snapshot_id > %(snapshot)s
        ), ids AS (
            SELECT DISTINCT (regexp_matches(made, ':([0-9]+)', 'g'))[1]::bigint AS id FROM changes
        ), names AS (
            SELECT schema_name, table_name,
                max(table_id) FILTER (WHERE t.begin_snapshot <= %(snapshot)s
                    AND (t.end_snapshot IS NULL OR t.end_snapshot > %(snapshot)s)) AS before,
                max(table_id) FILTER (WHERE t.end_snapshot IS NULL) AS now
            FROM {METADATA_SCHEMA}.ducklake_table AS t JOIN {METADATA_SCHEMA}.ducklake_schema AS s USING (schema_id)
            WHERE schema_name = ANY(%(schemas)s) AND s.end_snapshot IS NULL
                AND (starts_with(table_name, %(prefix)s) OR table_name = ANY(%(shared)s))
            GROUP BY schema_name, table_name
        )
        SELECT schema_name, table_name, before, now, before IS DISTINCT FROM now OR now IN (SELECT id FROM ids)
        FROM names WHERE before IS NOT NULL OR now IS NOT NULL ORDER BY schema_name, table_name
        """,
        {
            "snapshot": snapshot,
            "schemas": [RAW, STAGING],
            "prefix": f"{pipeline}__",
            "shared": list(OWNER_COLUMNS),
        },
    ).fetchall()
    return [_Table(*row) for row in rows]


def _restore(
    connection: duckdb.DuckDBPyConnection, table: _Table, pipeline: str, snapshots: tuple[int, int], copy: str
) -> None:
    before = f"{table} AT (VERSION => {snapshots[0]:d})"
    if _owned(table) and table.then is None:
        connection.execute(f"DROP TABLE {table}")  # made since, or another one's name until then
    elif _owned(table) and table.schema == STAGING:
        if table.now is not None:  # dlt empties it before each load
            connection.execute(f"DELETE FROM {table}")
    elif table.then != table.now and _owned(table):  # dropped or made anew since; its partitions are forgotten
        connection.execute(f"CREATE TEMP TABLE {copy} AS FROM {before}")
        connection.execute(f"DROP TABLE IF EXISTS {table}")
        connection.execute(f"CREATE TABLE {table} AS FROM temp.{copy}")
    elif table.now is not None:
        _restore_rows(connection, table, pipeline, snapshots, copy)


def _restore_rows(
    connection: duckdb.DuckDBPyConnection, table: _Table, pipeline: str, snapshots: tuple[int, int], copy: str
) -> None:
    """The rows to bring back are copied first: in one transaction, DuckLake 1.0 hides the old version of an inlined row
    once the new one is deleted."""
    since, until = snapshots
    owner = OWNER_COLUMNS.get(table.name)
    theirs = f"{owner} = {quoted(pipeline)}" if owner else "true"
    came = went = "true"
    if table.then is not None and is_whole(connection, f"{table.schema}.{table.name}", since, until):
        where = f"'lakehouse', {quoted(table.schema)}, {quoted(table.name)}, {since + 1:d}, {until:d}"
        came = f"rowid IN (SELECT rowid FROM ducklake_table_insertions({where}))"
        went = f"rowid IN (SELECT rowid FROM ducklake_table_deletions({where}))"
    if table.then is not None:
        before = f"{table} AT (VERSION => {since:d})"
        there = {column for (column, *_) in connection.execute(f"DESCRIBE SELECT * FROM {table}").fetchall()}
        described = connection.execute(f"DESCRIBE SELECT * FROM {before}").fetchall()
        columns = ", ".join(identifier(column) for (column, *_) in described if column in there)
        connection.execute(f"CREATE TEMP TABLE {copy} AS SELECT {columns} FROM {before} WHERE {theirs} AND {went}")
    connection.execute(f"DELETE FROM {table} WHERE {theirs} AND {came}")
    if table.then is not None:
        connection.execute(f"INSERT INTO {table} BY NAME FROM temp.{copy}")
