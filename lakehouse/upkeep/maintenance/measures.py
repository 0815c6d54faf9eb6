"""How the lake's files lie, read from the catalog alone: how many, how small, how much of them is dead."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg

from lakehouse.lake.ducklake import METADATA_SCHEMA, identifier

SMALL_FILE_BYTES = 16_000_000
"""A file below this costs a query more to open than to read."""
REWRITE_SHARE = 0.2
"""From here on, a file's deleted rows cost readers more than writing the file again costs once."""


@dataclass(frozen=True)
class TableFiles:
    """How one live table's rows are stored."""

    table: str  # schema.table
    files: int
    size_bytes: int
    small_files: int
    """Beyond one a partition: what merging could take away."""
    delete_files: int
    dead_bytes: int
    """The share of its files that deleted rows take."""
    worn_files: int
    """Files of whose rows at least `REWRITE_SHARE` are deleted."""
    inlined_rows: int
    """Rows, and deletions, that still lie in the catalog."""
    foldered_files: int = 0
    """Of a partitioned table, in folders named by their partition (see `lakehouse.upkeep.maintenance.compaction`)."""
    is_partitioned: bool = False
    """Or was: rows in the catalog are flushed as the table was when they came."""

    @property
    def needs_compaction(self) -> bool:
        """Whether compaction would make it smaller or quicker to read."""
        return bool(self.small_files or self.worn_files or self.inlined_rows)


@dataclass(frozen=True)
class LakeFiles:
    """How all of them are stored."""

    tables: tuple[TableFiles, ...]
    snapshots: int
    past_bytes: int
    """Of files that only earlier snapshots name."""

    @property
    def files(self) -> int:
        """Live data files."""
        return sum(table.files for table in self.tables)

    @property
    def size_bytes(self) -> int:
        """Of the live data files."""
        return sum(table.size_bytes for table in self.tables)

    @property
    def small_files(self) -> int:
        """What merging could take away."""
        return sum(table.small_files for table in self.tables)

    @property
    def dead_bytes(self) -> int:
        """What no query of the lake as it is now needs."""
        return self.past_bytes + sum(table.dead_bytes for table in self.tables)


FILES_SQL = f"""
WITH deleted AS (
    SELECT data_file_id, sum(delete_count) AS rows, count(*) AS files
    FROM {METADATA_SCHEMA}.ducklake_delete_file WHERE end_snapshot IS NULL GROUP BY data_file_id
), partition AS (
    SELECT data_file_id, string_agg(coalesce(partition_value, '∅'), '/' ORDER BY partition_key_index) AS key
    FROM {METADATA_SCHEMA}.ducklake_file_partition_value GROUP BY data_file_id
), file AS (
    SELECT f.table_id, f.file_size_bytes, f.path_is_relative AND f.path LIKE '%%/%%' AS foldered,
        coalesce(partition.key, '') AS key,
        coalesce(deleted.files, 0) AS delete_files,
        coalesce(deleted.rows, 0)::float / greatest(f.record_count, 1) AS dead
    FROM {METADATA_SCHEMA}.ducklake_data_file AS f
    LEFT JOIN deleted USING (data_file_id)
    LEFT JOIN partition USING (data_file_id)
    WHERE f.end_snapshot IS NULL
), part AS (
    SELECT table_id, count(*) AS files, sum(file_size_bytes) AS bytes, sum(delete_files) AS delete_files,
        greatest(count(*) FILTER (WHERE file_size_bytes < %(small)s) - 1, 0) AS small,
        sum(file_size_bytes * dead) AS dead, count(*) FILTER (WHERE dead >= %(worn)s) AS worn,
        count(*) FILTER (WHERE foldered) AS foldered
    FROM file GROUP BY table_id, key
)
SELECT s.schema_name || '.' || t.table_name AS name, coalesce(sum(files), 0)::bigint,
    coalesce(sum(bytes), 0)::bigint, coalesce(sum(small), 0)::bigint, coalesce(sum(delete_files), 0)::bigint,
    coalesce(sum(dead), 0)::bigint, coalesce(sum(worn), 0)::bigint, t.table_id,
    coalesce(sum(foldered), 0)::bigint,
    EXISTS (
        SELECT FROM {METADATA_SCHEMA}.ducklake_partition_info AS p
        JOIN {METADATA_SCHEMA}.ducklake_partition_column USING (partition_id)
        WHERE p.table_id = t.table_id
    )
FROM {METADATA_SCHEMA}.ducklake_table AS t
JOIN {METADATA_SCHEMA}.ducklake_schema AS s USING (schema_id)
LEFT JOIN part USING (table_id)
WHERE t.end_snapshot IS NULL AND s.end_snapshot IS NULL
GROUP BY name, t.table_id ORDER BY name
"""
OF_LIVE_FILES = f"file_id IN (SELECT data_file_id FROM {METADATA_SCHEMA}.ducklake_data_file WHERE end_snapshot IS NULL)"


def measure(connection: psycopg.Connection) -> LakeFiles:
    """The lake's files as the catalog has them now."""
    inlined = _inlined_rows(connection)
    rows = connection.execute(FILES_SQL, {"small": SMALL_FILE_BYTES, "worn": REWRITE_SHARE}).fetchall()
    tables = tuple(
        TableFiles(name, files, size, small, deletions, dead, worn, inlined.get(table_id, 0), *more)
        for name, files, size, small, deletions, dead, worn, table_id, *more in rows
    )
    row = connection.execute(
        f"""
        SELECT (SELECT count(*) FROM {METADATA_SCHEMA}.ducklake_snapshot),
            (SELECT coalesce(sum(file_size_bytes), 0)::bigint FROM {METADATA_SCHEMA}.ducklake_data_file
             WHERE end_snapshot IS NOT NULL)
        """
    ).fetchone()
    assert row is not None
    return LakeFiles(tables, *row)


def _inlined_rows(connection: psycopg.Connection) -> dict[int, int]:
    """By table id, the rows and the deletions that lie in the catalog."""
    found: dict[int, int] = {}
    stored = connection.execute(
        """
        SELECT table_name, substring(table_name FROM '^ducklake_inlined_(?:data|delete)_(\\d+)')::bigint
        FROM information_schema.tables
        WHERE table_schema = %s AND table_name ~ '^ducklake_inlined_(data|delete)_\\d+'
        """,
        [METADATA_SCHEMA],
    ).fetchall()
    for name, table_id in stored:
        where = "end_snapshot IS NULL" if "_data_" in name else OF_LIVE_FILES
        row = connection.execute(f"SELECT count(*) FROM {METADATA_SCHEMA}.{identifier(name)} WHERE {where}").fetchone()
        found[table_id] = found.get(table_id, 0) + (row[0] if row else 0)
    return {table_id: rows for table_id, rows in found.items() if rows}
