"""Files that the catalog names and an object store doesn't have: it may confirm a write and keep nothing, or a part."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass

import psycopg

from lakehouse.lake.catalog_paths import FILE_ADDRESS
from lakehouse.lake.ducklake import METADATA_SCHEMA, Lake
from lakehouse.lake.postgres import connect
from lakehouse.storage import StorageError
from lakehouse.wording import plural

AT_ONCE = 8
WRITTEN_SQL = " UNION ALL ".join(
    f"""
    SELECT DISTINCT '{kind}', file.{kind}_file_id, s.schema_name || '.' || t.table_name, {FILE_ADDRESS},
        file.file_size_bytes, file.end_snapshot IS NULL
    FROM {METADATA_SCHEMA}.ducklake_{kind}_file AS file
    JOIN {METADATA_SCHEMA}.ducklake_table AS t USING (table_id)
    JOIN {METADATA_SCHEMA}.ducklake_schema AS s USING (schema_id)
    WHERE file.begin_snapshot > %(since)s AND s.schema_name || '.' || t.table_name = ANY(%(tables)s)
    """
    for kind in ("data", "delete")
)
OF_A_DATA_FILE = ("file_column_stats", "file_variant_stats", "file_partition_value", "delete_file", "data_file")


class LostWriteError(StorageError):
    """The store has confirmed files that it does not have; the message names them."""


@dataclass(frozen=True)
class LostFile:
    """A data or delete file of a table, by its number in the catalog."""

    kind: str
    number: int
    table: str
    key: str
    problem: str
    is_current: bool

    def __str__(self) -> str:
        return f"{self.key} of {self.table} {self.problem}"


def lost_files(lake: Lake, postgres: psycopg.Connection, tables: Collection[str], since: int) -> list[LostFile]:
    """Those that were written to `tables` (schema.table) after the snapshot `since`: a HEAD for each, several at once.

    None in a folder, where a write is there or an error. Raises StorageError when the storage can't be asked.
    """
    if not lake.settings.stores_on_s3:
        return []
    base = f"{lake.settings.storage_uri}/"
    written = postgres.execute(WRITTEN_SQL, {"since": since, "tables": list(tables)}).fetchall()

    def look(row: tuple[str, int, str, str, int, bool]) -> LostFile | None:
        kind, number, table, address, size, is_current = row
        if not address.startswith(base):
            return None
        key = address.removeprefix(base)
        found = lake.storage.find(key)
        if found is not None and found.size_bytes == size:
            return None
        problem = "is missing" if found is None else f"has {found.size_bytes:,} bytes instead of {size:,}"
        return LostFile(kind, number, table, key, problem, is_current)

    if not written:
        return []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return [file for file in pool.map(look, written) if file]


def require_kept(lake: Lake, postgres: psycopg.Connection, tables: Collection[str], since: int) -> None:
    """Raises LostWriteError when a table of `tables` needs a file, written after `since`, that the store has lost."""
    lost = [file for file in lost_files(lake, postgres, tables, since) if file.is_current]
    if lost:
        more = f", and {plural(len(lost) - 1, 'more file')}" if len(lost) > 1 else ""
        raise LostWriteError(f"the store confirmed a file and does not have it: {lost[0]}{more}.")


@contextmanager
def writing(lake: Lake, table: str) -> Iterator[None]:
    """Rewrite a part of `table` (schema.table) in this block, alone: with what it writes lost, LostWriteError.

    The lost files are forgotten then, as if the block had been killed between two of its commits.
    """
    if not lake.settings.stores_on_s3:
        yield
        return
    with closing(connect(lake.settings)) as postgres:
        row = postgres.execute(f"SELECT max(snapshot_id) FROM {METADATA_SCHEMA}.ducklake_snapshot").fetchone()
        since = int(row[0]) if row else 0
        yield
        try:
            require_kept(lake, postgres, [table], since)
        except LostWriteError:
            forget(postgres, lost_files(lake, postgres, [table], since))
            raise


def forget(postgres: psycopg.Connection, lost: Iterable[LostFile]) -> None:
    """Take lost files out of the catalog as if they had never been written: what reads their table can go on.

    Call with the table's lock, where the work that wrote them is undone or done again afterwards: the rows of a lost
    data file are gone, those that a lost delete file deleted are there again. The table's statistics still count the
    rows, so that DuckLake (1.0) takes them for deleted ones and answers no max() from statistics that hold theirs.
    """
    with postgres.transaction():
        for file in lost:
            if file.kind == "delete":
                _forget_deletions(postgres, file.number)
                continue
            for table in OF_A_DATA_FILE:
                postgres.execute(
                    f"DELETE FROM {METADATA_SCHEMA}.ducklake_{table} WHERE data_file_id = %s", [file.number]
                )


def _forget_deletions(postgres: psycopg.Connection, number: int) -> None:
    """Before it another file may have held some of them, which it has taken over."""
    row = postgres.execute(
        f"DELETE FROM {METADATA_SCHEMA}.ducklake_delete_file WHERE delete_file_id = %s "
        "RETURNING data_file_id, begin_snapshot, end_snapshot",
        [number],
    ).fetchone()
    if row:
        postgres.execute(
            f"UPDATE {METADATA_SCHEMA}.ducklake_delete_file SET end_snapshot = %s "
            "WHERE data_file_id = %s AND end_snapshot = %s",
            [row[2], row[0], row[1]],
        )
