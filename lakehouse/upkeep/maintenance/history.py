"""Which of the lake's earlier states somebody still needs."""

from __future__ import annotations

import psycopg

from lakehouse.lake.ducklake import METADATA_SCHEMA
from lakehouse.releases import log
from lakehouse.releases.rule import changed_at
from lakehouse.writing import marks

GRACE_SECONDS = 3600.0
"""So long after it was the newest, a snapshot may be taken for one that begins: a release, a mark."""


def expirable(connection: psycopg.Connection, days: float, grace_seconds: float = GRACE_SECONDS) -> list[int]:
    """The snapshots that nobody needs, the oldest first.

    Needed are: the newest, and those that were it within `days` or the grace; those of releases that wait to be
    published; all since the oldest mark, whose repair reads what changed since; and the last that changed a table, by
    which content is recognised.
    """
    rows = connection.execute(
        f"""
        SELECT snapshot_id FROM (
            SELECT snapshot_id, lead(snapshot_time) OVER (ORDER BY snapshot_id) AS newest_until
            FROM {METADATA_SCHEMA}.ducklake_snapshot
        ) AS snapshots
        WHERE newest_until < now() - make_interval(secs => %s)
        ORDER BY snapshot_id
        """,
        [max(days * 86_400, grace_seconds)],
    ).fetchall()
    # Read after the list was made: what is cut or marked from here on has the newest snapshot or a later one.
    waiting = {
        snapshot
        for release in log.candidates(connection)
        for snapshot in (release.snapshot, *(table.snapshot for table in release.tables))
    }
    kept = waiting | set(changed_at(connection).values())
    oldest_mark = min((mark.snapshot for mark in marks.read(connection)), default=None)
    return [
        snapshot for (snapshot,) in rows if snapshot not in kept and (oldest_mark is None or snapshot < oldest_mark)
    ]
