"""Rows and deletions that lie in the catalog move into files; nothing comes back.

DuckLake (1.0) takes the deletions that it flushes out of its catalog before it commits, and forgets to do so again when
the commit lost a race with another writer's, of any table. They then lie in a file and in the catalog, its readers mix
the two up, and **deleted rows are there again**; each later flush and rewrite of the table is refused too ("Type INT128
with value -4 can't be cast"). So a flush of ours is committed at the first try or not at all. All this can go when a
DuckLake's flush survives a commit beside it (tests/lakehouse/maintenance/test_beside_loads.py fails then).
"""

from __future__ import annotations

from collections.abc import Callable

import duckdb
import psycopg

from lakehouse.lake.catalog_paths import FILE_ADDRESS
from lakehouse.lake.ducklake import METADATA_SCHEMA

FLUSH = (
    "SET ducklake_max_retry_count = 0; "
    "CALL ducklake_flush_inlined_data('lakehouse', schema_name => {}, table_name => {})"
)
"""With schema and table as literals; in a transaction of its own, whose commit may lose a race."""
ATTEMPTS = 10
TWICE_SQL = f"""
    SELECT DISTINCT inlined.file_id, file.begin_snapshot, {FILE_ADDRESS}
    FROM {METADATA_SCHEMA}.{{inlined}} AS inlined
    JOIN {METADATA_SCHEMA}.ducklake_delete_file AS file
        ON file.data_file_id = inlined.file_id AND file.begin_snapshot <= inlined.begin_snapshot
    JOIN {METADATA_SCHEMA}.ducklake_table AS t ON t.table_id = file.table_id AND t.end_snapshot IS NULL
    JOIN {METADATA_SCHEMA}.ducklake_schema AS s USING (schema_id)
    WHERE file.end_snapshot IS NULL
"""


def flushed_alone(attempt: Callable[[], None]) -> bool:
    """Flush by `attempt`, anew when somebody commits meanwhile; whether it was done."""
    for _ in range(ATTEMPTS):
        try:
            attempt()
        except duckdb.Error as error:
            if "ducklake_max_retry_count" not in str(error):
                raise
        else:
            return True
    return False


def forget_flushed(postgres: psycopg.Connection, connection: duckdb.DuckDBPyConnection, table: str) -> int:
    """Take those of `table` (schema.table) out of the catalog; gives how many. Call while nobody writes to it.

    Only what its file really holds is taken, so the table is the same as before, at every snapshot.
    """
    schema, name = table.split(".", 1)
    row = postgres.execute(
        f"""
        SELECT 'ducklake_inlined_delete_' || table_id
        FROM {METADATA_SCHEMA}.ducklake_table AS t JOIN {METADATA_SCHEMA}.ducklake_schema AS s USING (schema_id)
        WHERE s.schema_name = %s AND t.table_name = %s AND t.end_snapshot IS NULL AND s.end_snapshot IS NULL
        """,
        [schema, name],
    ).fetchone()
    if row is None or postgres.execute("SELECT to_regclass(%s)", [f"{METADATA_SCHEMA}.{row[0]}"]).fetchone() == (None,):
        return 0
    inlined = str(row[0])
    taken = 0
    for file, since, path in postgres.execute(TWICE_SQL.format(inlined=inlined)).fetchall():
        held = [pos for (pos,) in connection.execute("SELECT pos FROM read_parquet(?)", [path]).fetchall()]
        taken += postgres.execute(
            f"DELETE FROM {METADATA_SCHEMA}.{inlined} WHERE file_id = %s AND row_id = ANY(%s) AND begin_snapshot >= %s",
            [file, held, since],
        ).rowcount
    return taken
