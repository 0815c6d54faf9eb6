"""DuckLake's feed of changes, and when it can be believed."""

from __future__ import annotations

import duckdb

MAINTENANCE = "lakehouse maintenance"
"""The author of our compaction's snapshots: DuckLake 1.0 notes inlined deletions that become files as new deletions."""
COMPACTIONS = ("merge_adjacent", "rewrite_delete", "flushed_inlined")
"""As DuckLake 1.0's list of snapshots names them."""


def is_whole(connection: duckdb.DuckDBPyConnection, table: str, after: int, until: int) -> bool:
    """Whether the feed of `table` (schema.table) from the snapshot `after` on, up to `until`, can be believed.

    It can't when a snapshot between was expired, or the table was compacted between: DuckLake 1.0 then tells rows that
    were only written again, and misses others. A table of the same name in another schema counts too.
    """
    compacted = " OR ".join(f"coalesce(list_has_any(changes['{kind}'], ids), false)" for kind in COMPACTIONS)
    ours = "(author = $maintenance AND list_has_any(flatten(map_values(changes)), ids))"
    row = connection.execute(
        f"""
        SELECT count(*), count(*) FILTER (snapshot_id > $after AND ({compacted} OR {ours}))
        FROM lakehouse.snapshots(), (
            SELECT coalesce(list(table_id::VARCHAR), []) AS ids
            FROM ducklake_table_info('lakehouse') WHERE table_name = $name
        )
        WHERE snapshot_id BETWEEN $after AND $until
        """,
        {"after": after, "until": until, "name": table.split(".", 1)[-1], "maintenance": MAINTENANCE},
    ).fetchone()
    return row is not None and row == (until - after + 1, 0)
