"""DuckLake's feed of changes, and when it can be believed."""

from __future__ import annotations

import duckdb

MAINTENANCE = "lakehouse maintenance"
"""The author of our compaction's snapshots: DuckLake 1.0 notes inlined deletions that become files as new deletions."""
METADATA = "__ducklake_metadata_lakehouse.lakehouse"
"""Where a connection that has the lake attached finds its catalog."""
COMPACTIONS = ("merge_adjacent", "rewrite_delete", "flushed_inlined")
"""As DuckLake 1.0's list of snapshots names them."""


def is_whole(connection: duckdb.DuckDBPyConnection, table: str, after: int, until: int) -> bool:
    """Whether the feed of `table` (schema.table) from the snapshot `after` on, up to `until`, can be believed.

    It can't when a snapshot between was expired, or the table was compacted between: DuckLake 1.0 then tells rows that
    were only written again, and misses others. A table of the same name in another schema counts too. Neither can it
    when another table had the name in between (`CREATE OR REPLACE`: only the new one's inserts are told), or when a
    column went or became another one: its values changed in every row, and none is told.
    """
    schema, name = table.split(".", 1)
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
        {"after": after, "until": until, "name": name, "maintenance": MAINTENANCE},
    ).fetchone()
    if row != (until - after + 1, 0):
        return False
    same = connection.execute(
        f"""
        WITH named AS (
            SELECT DISTINCT table_id FROM {METADATA}.ducklake_table AS t
            JOIN {METADATA}.ducklake_schema AS s USING (schema_id)
            WHERE s.schema_name = $schema AND t.table_name = $name
              AND t.begin_snapshot <= $until AND coalesce(t.end_snapshot > $after, true)
        )
        SELECT (SELECT count(*) FROM named), (
            SELECT count(*) FROM {METADATA}.ducklake_column JOIN named USING (table_id)
            WHERE end_snapshot > $after AND end_snapshot <= $until
        )
        """,
        {"after": after, "until": until, "schema": schema, "name": name},
    ).fetchone()
    return same == (1, 0)
