"""Evidence: at which snapshot of the lake each table last passed its checks. Newer content is unchecked."""

from __future__ import annotations

from collections.abc import Mapping

import psycopg


def read(connection: psycopg.Connection) -> Mapping[str, int]:
    """`schema.table` in the lake -> the snapshot at which its content was checked."""
    return dict(connection.execute("SELECT physical_table, snapshot FROM ledger.checked").fetchall())


def record(connection: psycopg.Connection, checked: Mapping[str, int], *, run: str) -> None:
    """These tables' blocking checks passed on what they hold at these snapshots."""
    with connection.transaction(), connection.cursor() as cursor:
        cursor.executemany(
            """
            INSERT INTO ledger.checked AS known (physical_table, snapshot, run) VALUES (%s, %s, %s)
            ON CONFLICT (physical_table)
            DO UPDATE SET snapshot = greatest(known.snapshot, excluded.snapshot), run = excluded.run, checked_at = now()
            """,
            [(table, snapshot, run) for table, snapshot in checked.items()],
        )
