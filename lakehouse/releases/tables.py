"""One served table of a release, from the lake at the release's snapshot into immutable Parquet files.

What has not changed since another release is not written again: its files are shared, or copied inside the storage
when they are another environment's.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import duckdb

from lakehouse.feed import is_whole
from lakehouse.lake import Lake, identifier, quoted
from lakehouse.releases.log import Release, ServedTable
from lakehouse.releases.manifest import Manifest, PublishedFile, PublishedTable, table_folder
from lakehouse.storage import Storage
from lakehouse.storage.folder import FolderStorage

# What DuckLake has no Parquet for (1.0) is published as what holds the same values.
PUBLISHED_TYPES = {
    "UHUGEINT": "DECIMAL(38,0)",
    "HUGEINT": "DECIMAL(38,0)",
    "TIME WITH TIME ZONE": "VARCHAR",
    "VARIANT": "JSON",
    "GEOMETRY": "VARCHAR",
}
ORDERED_ROWS = 1_000_000
"""Up to here a file keeps the table's order of rows; beyond, order would cost memory."""
FILE_BYTES = "256MB"


class PublishError(Exception):
    """A table could not be published; the message says which and why. Readers keep the release that they have."""


@dataclass(frozen=True)
class Written:
    """A published table, and what writing it cost."""

    table: PublishedTable
    files_written: int = 0
    files_copied: int = 0
    files_shared: int = 0
    bytes_written: int = 0
    partitions_changed: tuple[str, ...] = ()


def publish_table(
    lake: Lake, release: Release, served: ServedTable, before: Manifest | None, elsewhere: Manifest | None = None
) -> Written:
    """Write what `served` holds at the release's snapshot and the releases before do not have.

    `before` is the environment's last published release, `elsewhere` another environment's that may have the same
    content.
    """
    last = before.find(served.name) if before else None
    other = elsewhere.find(served.name) if elsewhere else None
    with closing(lake.connect(snapshot=release.snapshot)) as connection:
        connection.execute("SET preserve_insertion_order = false")
        work = _Work(connection, lake.storage, release, served)
        if last and last.content == served.content and last.columns == work.columns:
            return Written(work.table(last.files), files_shared=len(last.files))
        if other and elsewhere and other.content == served.content and other.columns == work.columns:
            return work.copied(other, elsewhere.environment)
        if last and before and work.continues(last):
            return work.continued(last, before.snapshot)
        return work.whole()


def copy_table(storage: Storage, release: Release, table: PublishedTable, environment: str) -> Written:
    """Give a release another environment's published table: its files are copied inside the storage."""
    files = []
    for file in table.files:
        path = _renumbered(file.path, release.number)
        storage.copy(
            f"{table_folder(environment, table.name)}{file.path}",
            f"{table_folder(release.environment, table.name)}{path}",
        )
        files.append(PublishedFile(path, file.rows, file.size_bytes, file.partition))
    return Written(
        PublishedTable(
            table.name, table.content, table.physical_table, table.columns, tuple(files), table.description,
            table.partitioned_by,
        ),
        files_copied=len(files),
    )  # fmt: skip


class _Work:
    """One table of one release, read over a connection that is pinned to the release's snapshot."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, storage: Storage, release: Release, served: ServedTable
    ) -> None:
        self.connection = connection
        self.storage = storage
        self.release = release
        self.served = served
        self.view = ".".join(identifier(part) for part in ("lakehouse", *served.view.split(".", 1)))
        described = connection.execute(f"DESCRIBE SELECT * FROM {self.view}").fetchall()
        self.columns = tuple((name, published_type(kind), served.columns.get(name, "")) for name, kind, *_ in described)
        self.select = ", ".join(
            identifier(name)
            if published_type(kind) == kind
            else f"{identifier(name)}::{published_type(kind)} AS {identifier(name)}"
            for name, kind, *_ in described
        )
        names = {name for name, *_ in described}
        self.partitioned_by = tuple(name for name in served.partitioned_by if name in names)
        if set(served.partitioned_by) - names:
            self.partitioned_by = ()  # by an expression, as month(day): no column of the table to name a folder by

    def table(self, files: Sequence[PublishedFile]) -> PublishedTable:
        """The manifest's entry; every row accounted for."""
        row = self.connection.execute(f"SELECT count(*) FROM {self.view}").fetchone()
        entry = PublishedTable(
            self.served.name, self.served.content, self.served.physical_table, self.columns, tuple(files),
            self.served.description, self.partitioned_by,
        )  # fmt: skip
        if row is None or row[0] != entry.rows:
            raise PublishError(
                f"{self.served.name} holds {row[0] if row else 0:,} rows at snapshot {self.release.snapshot}, but "
                f"{entry.rows:,} were written: nothing is published. This is a fault of the lakehouse, not yours."
            )
        return entry

    def copied(self, other: PublishedTable, environment: str) -> Written:
        """Another environment's files, under this environment's folder."""
        done = copy_table(self.storage, self.release, other, environment)
        return Written(self.table(done.table.files), files_copied=done.files_copied)

    def whole(self) -> Written:
        """All rows anew."""
        files = self._write("", [])
        return Written(
            self.table(files), len(files), bytes_written=sum(file.size_bytes for file in files),
            partitions_changed=tuple(sorted({_label(file.partition) for file in files})) if self.partitioned_by else (),
        )  # fmt: skip

    def continues(self, last: PublishedTable) -> bool:
        """Whether only some partitions differ from the last release, and which can be told."""
        return bool(
            self.partitioned_by
            and last.partitioned_by == self.partitioned_by
            and last.columns == self.columns
            and last.physical_table == self.served.physical_table
        )

    def continued(self, last: PublishedTable, snapshot: int) -> Written:
        """The partitions with a row that differs, anew; the others' files are shared."""
        try:
            keys = self._changed_partitions(snapshot) if self._is_told(snapshot) else self._differing_partitions(last)
        except duckdb.Error:  # a table made anew, a published file that is gone
            return self.whole()
        changed = self._named(keys)
        labels = {_label(dict(zip(self.partitioned_by, values, strict=True))) for _, values in changed}
        kept = [file for file in last.files if _label(file.partition) not in labels]
        keys = [key for key, _ in changed]
        files: list[PublishedFile] = []
        for start in range(0, len(keys), 500):
            batch = keys[start : start + 500]
            same = " AND ".join(f"{identifier(column)} IS NOT DISTINCT FROM ?" for column in self.partitioned_by)
            files += self._write(
                "WHERE " + " OR ".join(f"({same})" for _ in batch), [value for key in batch for value in key]
            )
        return Written(
            self.table([*kept, *files]), len(files), 0, len(kept), sum(file.size_bytes for file in files),
            tuple(sorted(labels)),
        )  # fmt: skip

    def _is_told(self, snapshot: int) -> bool:
        """Whether the lake still tells what has changed since `snapshot`."""
        if snapshot >= self.release.snapshot:
            return True
        return is_whole(self.connection, self.served.physical_table, snapshot, self.release.snapshot)

    def _changed_partitions(self, snapshot: int) -> list[tuple[Any, ...]]:
        """Keys of the partitions with rows that differ since `snapshot`, as the lake tells it."""
        if snapshot >= self.release.snapshot:
            return []
        schema, table = self.served.physical_table.split(".", 1)
        columns = ", ".join(identifier(column) for column in self.partitioned_by)
        content = ", ".join(identifier(name) for name, *_ in self.columns)
        changes = (
            f"ducklake_table_changes('lakehouse', {quoted(schema)}, {quoted(table)}, "
            f"{snapshot + 1:d}, {self.release.snapshot:d})"
        )
        return self.connection.execute(
            f"""
            SELECT DISTINCT {columns} FROM (
                SELECT {columns} FROM {changes}
                GROUP BY {columns}, hash({content})
                HAVING sum(CASE WHEN change_type IN ('insert', 'update_postimage') THEN 1 ELSE -1 END) <> 0
            )
            """
        ).fetchall()

    def _differing_partitions(self, last: PublishedTable) -> list[tuple[Any, ...]]:
        """The same, found by comparing rows with the published files: after compaction the lake's feed is wrong."""
        keys = ", ".join(identifier(column) for column in self.partitioned_by)
        content = ", ".join(identifier(name) for name, *_ in self.columns)
        typed = ", ".join(f"{identifier(name)}::{kind} AS {identifier(name)}" for name, kind, _ in self.columns)
        base = self.storage.uri_of(table_folder(self.release.environment, self.served.name))
        files = ", ".join(quoted(f"{base}{file.path}") for file in last.files)
        published = f"SELECT {typed} FROM read_parquet([{files}], hive_partitioning = false)"

        def summed(rows: str) -> str:
            return f"SELECT {keys}, count(*) AS n, sum(hash({content})) AS rows FROM ({rows}) GROUP BY {keys}"

        # What only one side has differs too; EXCEPT takes NULLs for equal.
        now, before = summed(f"SELECT {self.select} FROM {self.view}"), summed(published)
        return self.connection.execute(
            f"""
            WITH now AS ({now}), before AS ({before})
            SELECT DISTINCT {keys}
            FROM ((FROM now EXCEPT FROM before) UNION ALL (FROM before EXCEPT FROM now))
            """
        ).fetchall()

    def _named(self, keys: list[tuple[Any, ...]]) -> list[tuple[tuple[Any, ...], tuple[str | None, ...]]]:
        """Each key beside its values as Parquet's folders name them."""
        texts = ", ".join(f"{identifier(column)}::VARCHAR" for column in self.partitioned_by)
        values = ", ".join(f"? AS {identifier(column)}" for column in self.partitioned_by)
        return [
            (key, tuple(self.connection.execute(f"SELECT {texts} FROM (SELECT {values})", list(key)).fetchone() or ()))
            for key in dict.fromkeys(keys)
        ]

    def _write(self, where: str, parameters: list[Any]) -> list[PublishedFile]:
        """COPY, streamed: one file a partition, or files of at most 256 MB."""
        folder = table_folder(self.release.environment, self.served.name)
        attempt = f"r{self.release.number:05d}"
        options = ["FORMAT parquet", "COMPRESSION zstd", "RETURN_STATS true", "APPEND true"]
        if self.partitioned_by:
            names = ", ".join(identifier(column) for column in self.partitioned_by)
            # With the column in the files too, each can be read by itself.
            options += [f"PARTITION_BY ({names})", "WRITE_PARTITION_COLUMNS true"]
        else:
            options += [f"FILE_SIZE_BYTES '{FILE_BYTES}'", "PER_THREAD_OUTPUT false"]
            count = self.connection.execute(f"SELECT count(*) FROM {self.view}").fetchone()
            if count and count[0] <= ORDERED_ROWS:
                self.connection.execute("SET preserve_insertion_order = true")
        options.append(f"FILENAME_PATTERN '{attempt}-{{uuid}}'")
        if isinstance(self.storage, FolderStorage):
            (self.storage.root / folder).mkdir(parents=True, exist_ok=True)
        # Without a slash at its end: DuckDB 1.5 adds one, and `days//r00001-….parquet` is no key that a listing shows.
        target = self.storage.uri_of(folder).rstrip("/")
        try:
            written = self.connection.execute(
                f"COPY (SELECT {self.select} FROM {self.view} {where}) TO {quoted(target)} ({', '.join(options)})",
                parameters,
            )
            told = [name for name, *_ in written.description or ()]
            rows = [dict(zip(told, row, strict=True)) for row in written.fetchall()]
        except duckdb.Error as error:
            raise PublishError(
                f"{self.served.name} could not be written to {target}: {str(error).splitlines()[0]}\n"
                "Readers keep the release that they have; publishing is tried again."
            ) from error
        return [
            PublishedFile(
                str(row["filename"]).removeprefix(f"{target}/"),
                int(row["count"]),
                int(row["file_size_bytes"]),
                dict(row["partition_keys"] or {}),
            )
            for row in rows
            if row["count"]
        ]


def published_type(kind: str) -> str:
    """The type under which a column is published; nested ones too."""
    for theirs, ours in PUBLISHED_TYPES.items():
        kind = re.sub(rf"\b{theirs}\b", ours, kind)
    return kind


def _label(partition: Any) -> str:
    """A partition's folder, as hive names it."""
    return "/".join(
        f"{column}={quote(value, safe=' ') if value is not None else '__HIVE_DEFAULT_PARTITION__'}"
        for column, value in partition.items()
    )


def _renumbered(path: str, number: int) -> str:
    """A name of its own for a copied file, so that no two releases ever write the same."""
    folder, _, name = path.rpartition("/")
    copy = f"r{number:05d}-{uuid.uuid4()}{Path(name).suffix}"
    return f"{folder}/{copy}" if folder else copy
