"""Touched ranges: the times of the rows that a load inserted, changed or deleted, read from the lake's own history.

Downstream, those intervals of incremental models become due again and full models are due. A watermark per physical
table says up to which touched row it has been computed, so nothing is missed and nothing is due twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import duckdb
import psycopg
from psycopg.types.multirange import TimestampMultirange
from psycopg.types.range import TimestampRange

from lakehouse.lake.feed import is_whole

HOUR = timedelta(hours=1)
LAST_HOUR = datetime(9999, 12, 31, 23)
"""9999-12-31 stands for "never" in many a source: no later time can be told in Python or to SQLMesh."""
Ranges = list[tuple[datetime | None, datetime | None]]
"""Half-open UTC ranges without a zone, in order; None is unbounded."""


@dataclass(frozen=True)
class Touched:
    """What one load did to one table."""

    table: str  # schema.table
    ranges: Ranges
    rows_inserted: int
    rows_deleted: int

    @property
    def nothing(self) -> bool:
        """True when the load left the table as it was."""
        return not self.rows_inserted and not self.rows_deleted


def changes_since(connection: duckdb.DuckDBPyConnection, table: str, event_time: str | None, snapshot: int) -> Touched:
    """What changed in `table` after `snapshot`, to the hour of its column `event_time` (None: everything is touched).

    A row that was deleted and inserted again with the same content is no change: dlt's merge rewrites such rows.
    dlt's own columns (`_dlt_…`) don't count as content.
    """
    schema, name = table.split(".")
    row = connection.execute(
        """
        SELECT
            max(snapshot_id),
            -- A table that is younger than `snapshot` is looked at from its creation on: before, the feed refuses.
            coalesce(max(snapshot_id) FILTER (list_contains(changes['tables_created'], $table)), 0),
            (SELECT count(*) FROM information_schema.tables
             WHERE table_catalog = 'lakehouse' AND table_schema = $schema AND table_name = $name)
        FROM lakehouse.snapshots()
        """,
        {"table": table, "schema": schema, "name": name},
    ).fetchone()
    assert row is not None
    last, created, exists = row
    if last <= snapshot or not exists:
        return Touched(table, [], 0, 0)
    first = max(snapshot + 1, created)
    if not is_whole(connection, table, snapshot, last):
        # Somebody compacted it by hand meanwhile, or it was made anew: better too much is computed again than too
        # little.
        count = connection.execute(f'SELECT count(*) FROM "{schema}"."{name}"').fetchone()
        return Touched(table, [(None, None)], max(count[0] if count else 0, 1), 0)
    feed = f"('lakehouse', '{schema}', '{name}', {first:d}, {last:d})"
    changes, change, content = f"ducklake_table_insertions{feed}", "1", "0"
    if connection.execute(f"SELECT 1 FROM ducklake_table_deletions{feed} LIMIT 1").fetchone():
        # Rows may have been written again as they were: they are told apart by all that they hold.
        changes = f"ducklake_table_changes{feed}"
        change = "CASE WHEN change_type IN ('insert', 'update_postimage') THEN 1 ELSE -1 END"
        columns = [column for (column, *_) in connection.execute(f"DESCRIBE SELECT * FROM {changes}").fetchall()]
        content = ", ".join(
            f'"{column}"'
            for column in columns
            if column not in ("snapshot_id", "rowid", "change_type") and not column.startswith("_dlt_")
        )
        content = f"hash({content})"
    # An epoch as sentinel keeps rows without a time apart: no interval holds them, yet they count as changed.
    time = f'TRY_CAST("{event_time}" AS TIMESTAMP)' if event_time else "NULL::TIMESTAMP"
    rows = connection.execute(
        f"""
        WITH net AS (
            SELECT
                CASE WHEN {time} IS NOT NULL -- both functions pass over NULL
                THEN greatest(least(date_trunc('hour', {time}), TIMESTAMP '{LAST_HOUR}'), TIMESTAMP '{datetime.min}')
                END AS hour,
                {content} AS content,
                sum({change}) AS rows
            FROM {changes} GROUP BY ALL HAVING rows <> 0
        )
        SELECT hour, sum(rows) FILTER (rows > 0), sum(-rows) FILTER (rows < 0) FROM net GROUP BY hour ORDER BY hour
        """
    ).fetchall()
    inserted, deleted = (sum(int(row[index] or 0) for row in rows) for index in (1, 2))
    if event_time is None:
        return Touched(table, [(None, None)] if rows else [], inserted, deleted)
    return Touched(table, merged(_hour(hour) for hour, *_ in rows if hour is not None), inserted, deleted)


def _hour(start: datetime) -> tuple[datetime, datetime]:
    return start, start + HOUR if start < LAST_HOUR else datetime.max


def merged(ranges: Iterable[tuple[datetime | None, datetime | None]]) -> Ranges:
    """The same times as few ranges, in order."""
    out: Ranges = []
    for start, end in sorted(ranges, key=lambda item: item[0] or datetime.min):
        if out and (out[-1][1] is None or (start or datetime.min) <= out[-1][1]):
            last = out[-1][1]
            out[-1] = (out[-1][0], None if last is None or end is None else max(last, end))
        else:
            out.append((start, end))
    return out


def record(connection: psycopg.Connection, touched: Touched, *, pipeline: str, run: str, snapshot: int) -> None:
    """Write down what a load did to one table. Call in the transaction that clears the load's mark."""
    connection.execute(
        """
        INSERT INTO ledger.touched (table_name, pipeline, ranges, rows_inserted, rows_deleted, snapshot, run)
        VALUES (%s, %s, %s, %s, %s, %s, %s)
        """,
        [
            touched.table,
            pipeline,
            TimestampMultirange([TimestampRange(start, end) for start, end in touched.ranges]),
            touched.rows_inserted,
            touched.rows_deleted,
            snapshot,
            run,
        ],
    )


def newest(connection: psycopg.Connection) -> int:
    """The id of the newest touched row, 0 when there is none."""
    row = connection.execute("SELECT coalesce(max(id), 0) FROM ledger.touched").fetchone()
    assert row is not None
    return int(row[0])


def since(connection: psycopg.Connection, tables: Iterable[str], watermark: int) -> Ranges | None:
    """The times touched in any of `tables` after `watermark`; None when no load changed them."""
    rows = connection.execute(
        """
        SELECT lower(span), upper(span)
        FROM (
            SELECT unnest(range_agg(ranges)) AS span FROM ledger.touched
            WHERE table_name = ANY(%s) AND id > %s AND (rows_inserted > 0 OR rows_deleted > 0)
        ) AS spans
        ORDER BY 1 NULLS FIRST
        """,
        [list(tables), watermark],
    ).fetchall()
    changed = connection.execute(
        """
        SELECT EXISTS (
            SELECT FROM ledger.touched
            WHERE table_name = ANY(%s) AND id > %s AND (rows_inserted > 0 OR rows_deleted > 0)
        )
        """,
        [list(tables), watermark],
    ).fetchone()
    return [(start, end) for start, end in rows] if changed and changed[0] else None


def watermarks(connection: psycopg.Connection) -> Mapping[str, int]:
    """Up to which touched row each physical table has been computed."""
    rows = connection.execute("SELECT physical_table, touched_id FROM ledger.watermarks").fetchall()
    return {table: int(touched_id) for table, touched_id in rows}


def is_behind(connection: psycopg.Connection) -> bool:
    """Whether a load has touched anything since some table was computed, or nothing was ever computed.

    Tables that every environment has moved on from stay as they are.
    """
    row = connection.execute(
        """
        SELECT coalesce(min(touched_id), -1) < (SELECT coalesce(max(id), 0) FROM ledger.touched)
        FROM ledger.watermarks
        WHERE physical_table NOT IN (
            SELECT physical_table FROM ledger.table_users GROUP BY physical_table HAVING NOT bool_or(used)
        )
        """
    ).fetchone()
    assert row is not None
    return bool(row[0])


def advance(connection: psycopg.Connection, marks: Mapping[str, int]) -> None:
    """Say up to which touched row physical tables have been made due. Call after SQLMesh's state says so."""
    with connection.transaction(), connection.cursor() as cursor:
        cursor.executemany(
            """
            INSERT INTO ledger.watermarks (physical_table, touched_id) VALUES (%s, %s)
            ON CONFLICT (physical_table) DO UPDATE SET touched_id = excluded.touched_id
            """,
            list(marks.items()),
        )
