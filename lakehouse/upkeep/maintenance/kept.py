"""Whether an object store has what a step of compaction wrote: it may confirm a write and keep nothing, or a part.

Asked before the step is committed, since with its commit the files that it replaces are out of the catalog. Only of
merged and rewritten files: what a transaction inserts or flushes, DuckLake opens when the rows are counted in it.
"""

from __future__ import annotations

from collections.abc import Callable

import duckdb
import psycopg

from lakehouse.lake.catalog_paths import TABLE_FOLDER
from lakehouse.lake.ducklake import METADATA_SCHEMA, Lake
from lakehouse.wording import plural

CREATED = "files_created"


class NotKeptError(Exception):
    """The store confirmed files and does not have them."""


def written_whole(lake: Lake, postgres: psycopg.Connection, table: str) -> Callable[[duckdb.DuckDBPyConnection], None]:
    """Call before a step on `table` (schema.table), which nobody else writes; call the result before its commit.

    That raises NotKeptError. In a folder it asks nothing.
    """
    if not lake.settings.stores_on_s3:
        return lambda _: None
    schema, name = table.split(".", 1)
    row = postgres.execute(
        f"SELECT {TABLE_FOLDER} FROM {METADATA_SCHEMA}.ducklake_table AS t "
        f"JOIN {METADATA_SCHEMA}.ducklake_schema AS s USING (schema_id) "
        "WHERE s.schema_name = %s AND t.table_name = %s AND t.end_snapshot IS NULL AND s.end_snapshot IS NULL",
        [schema, name],
    ).fetchone()
    prefix = str(row[0]).removeprefix(f"{lake.settings.storage_uri}/") if row else ""
    before = {found.key for found in lake.storage.list(prefix)}

    def check(connection: duckdb.DuckDBPyConnection) -> None:
        told = [column for column, *_ in connection.description or ()]
        created = sum(row[told.index(CREATED)] for row in connection.fetchall()) if CREATED in told else 0
        new = [lake.storage.uri_of(found.key) for found in lake.storage.list(prefix) if found.key not in before]
        if len(new) < created:
            raise NotKeptError(f"the store confirmed {plural(created, 'file')} and has {len(new)} of them.")
        try:
            if created:
                connection.execute("SELECT count(*) FROM parquet_file_metadata($1)", [new])
        except duckdb.Error as error:
            raise NotKeptError(f"the store confirmed a file that can't be read: {str(error).splitlines()[0]}") from None

    return check
