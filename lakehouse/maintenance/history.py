"""Which of the lake's earlier states somebody still needs."""

from __future__ import annotations

import psycopg

from lakehouse.lake import METADATA_SCHEMA
from lakehouse.releases import log
from lakehouse.releases.rule import changed_at
from lakehouse.writing import marks


def expirable(connection: psycopg.Connection, days: float) -> list[int]:
    """The snapshots that nobody needs, the oldest first.

    Needed are: the newest; those younger than `days`; those of releases that wait to be published; all since the oldest
    mark, whose repair reads what changed since; and the last that changed a table, by which content is recognised.
    """
    rows = connection.execute(
        f"""
        SELECT snapshot_id FROM {METADATA_SCHEMA}.ducklake_snapshot
        WHERE snapshot_time < now() - make_interval(secs => %s)
          AND snapshot_id < (SELECT max(snapshot_id) FROM {METADATA_SCHEMA}.ducklake_snapshot)
        ORDER BY snapshot_id
        """,
        [days * 86_400],
    ).fetchall()
    # Read after the list was made: what is cut or marked from here on has the newest snapshot or a later one.
    kept = {release.snapshot for release in log.candidates(connection)} | set(changed_at(connection).values())
    oldest_mark = min((mark.snapshot for mark in marks.read(connection)), default=None)
    return [
        snapshot for (snapshot,) in rows if snapshot not in kept and (oldest_mark is None or snapshot < oldest_mark)
    ]
