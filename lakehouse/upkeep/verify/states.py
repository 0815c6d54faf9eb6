"""The states: catalog and ledger are of one time, and what one names is in the other."""

from __future__ import annotations

from contextlib import closing

import duckdb
import psycopg

from lakehouse.lake.ducklake import METADATA_SCHEMA, Lake, identifier
from lakehouse.storage import StoredObject
from lakehouse.upkeep.verify.finding import Findings

OLDER = (
    "The database was put together from different times: take all of it from one backup, with `lakehouse restore` into "
    "an empty database."
)
AHEAD = {
    "ledger.marks": "SELECT kind || ' of ' || scope || ' ' || subject, snapshot FROM ledger.marks",
    "ledger.checked": "SELECT physical_table, snapshot FROM ledger.checked",
    "ledger.touched": "SELECT table_name || ', load ' || id, snapshot FROM ledger.touched",
    "ledger.releases": "SELECT 'release ' || number || ' of ' || environment, snapshot FROM ledger.releases",
}


def check_states(
    lake: Lake, connection: psycopg.Connection, landed: dict[str, StoredObject], findings: Findings
) -> None:
    """The ledger beside the catalog and the landing zone. `landed` is what lies there, by key."""
    _check_times(connection, findings)
    _check_inlined(connection, findings)
    _check_tables(lake, findings)
    rows = connection.execute(
        "SELECT key, rows FROM ledger.landed_files WHERE rows IS NOT NULL AND etag <> '' AND refusal IS NULL"
    ).fetchall()
    for key, count in rows:
        findings.looked_at["landed file"] += 1
        if f"landing/{key}" not in landed:
            findings.note(
                f"landing/{key}", f"loaded ({count:,} rows) and no longer there",
                "Its rows are in the lake. Who deleted it by mistake: `lakehouse files restore`, or a backup has it.",
            )  # fmt: skip


def _check_times(connection: psycopg.Connection, findings: Findings) -> None:
    """Nothing in the ledger is newer than the catalog, or than the ledger itself."""
    row = connection.execute(f"SELECT max(snapshot_id) FROM {METADATA_SCHEMA}.ducklake_snapshot").fetchone()
    newest = int(row[0]) if row and row[0] is not None else -1
    for table, sql in AHEAD.items():
        for what, snapshot in connection.execute(
            f"SELECT * FROM ({sql}) AS known (what, snapshot) WHERE snapshot > %s LIMIT 20", [newest]
        ).fetchall():
            findings.add(table, f"{what} is of snapshot {snapshot}, the lake ends at {newest}", OLDER)
    ahead = connection.execute(
        "SELECT physical_table, touched_id FROM ledger.watermarks "
        "WHERE touched_id > (SELECT coalesce(max(id), 0) FROM ledger.touched)"
    ).fetchall()
    for table, touched in ahead:
        findings.add(
            "ledger.watermarks", f"{table} is computed up to load {touched}, which the ledger does not know: later "
            "loads would not make it due", OLDER,
        )  # fmt: skip


def _check_inlined(connection: psycopg.Connection, findings: Findings) -> None:
    """Few rows lie in the catalog itself, in a table for each table of the lake."""
    rows = connection.execute(
        f"""
        SELECT table_name FROM {METADATA_SCHEMA}.ducklake_inlined_data_tables
        WHERE to_regclass('{METADATA_SCHEMA}.' || quote_ident(table_name)) IS NULL
        """
    ).fetchall()
    for (name,) in rows:
        findings.add(f"{METADATA_SCHEMA}.{name}", "missing: rows of the lake that lay in the catalog are lost", OLDER)


def _check_tables(lake: Lake, findings: Findings) -> None:
    """Every table and view of the lake can be bound: a view points to a table that is there."""
    with closing(lake.connect(read_only=True)) as connection:
        relations = connection.execute(
            "SELECT schema_name, view_name, true FROM duckdb_views() "
            "WHERE database_name = 'lakehouse' AND NOT internal "
            "UNION ALL SELECT schema_name, table_name, false FROM duckdb_tables() WHERE database_name = 'lakehouse'"
        ).fetchall()
        for schema, name, is_view in relations:
            findings.looked_at["relation"] += 1
            try:
                connection.execute(f"SELECT * FROM lakehouse.{identifier(schema)}.{identifier(name)} LIMIT 0")
            except duckdb.Error as error:
                what = "shows nothing" if is_view else "can't be opened"
                findings.add(
                    f"{schema}.{name}", f"{what}: {str(error).splitlines()[0]}",
                    "`lakehouse deploy` makes the views of an environment again; a table that is gone comes back with "
                    "a backup, or is computed again after `lakehouse deploy`.",
                )  # fmt: skip
