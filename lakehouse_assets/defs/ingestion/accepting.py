"""Accept what a source changed: give columns the types that it sends now, where every value that is there survives."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

import duckdb

from lakehouse.lake.ducklake import Lake, identifier
from lakehouse.writing import loads
from lakehouse.writing.locks import holding, pipeline_lock
from lakehouse.writing.pipelines import lake_pipeline
from lakehouse_assets.defs.ingestion import drift
from lakehouse_assets.defs.ingestion.declared_types import STAGING, lake_types
from lakehouse_assets.defs.ingestion.drift import Change, DriftError


def accept(lake: Lake, source: str, *, run: str) -> list[Change]:
    """Take what stopped the last load: columns get the types sent now, and loads do without those that are gone.

    Names the changes. Raises DriftError where values that are there would be lost.
    """
    changes = drift.stopped_by(lake, source)
    if retyped := [change for change in changes if change.new]:
        _retype(lake, source, retyped, run)
    drift.note_accepted(lake, source)
    return changes


def _retype(lake: Lake, source: str, changes: Sequence[Change], run: str) -> None:
    """Change the columns in the lake, all at once, then in dlt's schema. Safe to repeat after a kill in between."""
    from lakehouse_assets.defs.ingestion.describe_sources import duckdb_type

    loads.repair(lake, [source], run=run)
    with holding(lake.settings, [pipeline_lock(source)], holder=run):
        with closing(lake.connect()) as connection:
            connection.execute("BEGIN")
            for change in changes:
                _convert(connection, change, duckdb_type({"data_type": change.new}))
            connection.execute("COMMIT")
        pipeline = lake_pipeline(lake, source)
        pipeline.sync_destination()
        schema = pipeline.default_schema
        for change in changes:
            hints = schema.tables[change.table]["columns"][change.column]
            hints["data_type"] = change.new  # type: ignore[typeddict-item]
            for old in ("precision", "scale", "timezone"):
                hints.pop(old, None)  # type: ignore[misc]
        pipeline.schemas.save_schema(schema)
        pipeline.sync_schema()


def _convert(connection: duckdb.DuckDBPyConnection, change: Change, kind: str) -> None:
    there = lake_types(connection, change.table).get(change.column)
    if there in (None, kind):
        return
    column = identifier(change.column)
    lost = connection.execute(
        f"SELECT {column} FROM raw.{identifier(change.table)} WHERE {column} IS NOT NULL "
        f"AND TRY_CAST(TRY_CAST({column} AS {kind}) AS {there}) IS DISTINCT FROM {column} LIMIT 1"
    ).fetchone()
    if lost:
        raise DriftError(
            f"raw.{change.table}: {change.column} can't become {change.new}: the lake has {lost[0]!s:.99}, which "
            "would change. Give its old type as a hint in the source's file, or load it under another name."
        )
    staged = connection.execute(
        "SELECT 1 FROM information_schema.columns WHERE table_catalog = 'lakehouse' AND table_schema = ? "
        "AND table_name = ? AND column_name = ?", [STAGING, change.table, change.column],
    ).fetchone()  # fmt: skip
    new = identifier(f"{change.column}__new")  # DuckLake alters a type only where it widens
    for schema in ("raw", *([STAGING] if staged else [])):
        table = f"{schema}.{identifier(change.table)}"
        connection.execute(f"ALTER TABLE {table} ADD COLUMN {new} {kind}")
        connection.execute(f"UPDATE {table} SET {new} = {column}::{kind} WHERE {column} IS NOT NULL")
        connection.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        connection.execute(f"ALTER TABLE {table} RENAME {new} TO {column}")
