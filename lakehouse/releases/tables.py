"""One served table of a release, from the lake at the release's snapshot into immutable Parquet files.

What has not changed since another release is not written again: its files are shared, or copied inside the storage
when they are another environment's.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import duckdb

from lakehouse.errors import LakehouseError
from lakehouse.lake.ducklake import Lake, identifier, quoted
from lakehouse.lake.feed import is_whole
from lakehouse.releases.log import Release
from lakehouse.releases.manifest import Manifest, PublishedFile, PublishedTable, table_folder
from lakehouse.storage import Storage
from lakehouse.storage.folder import FolderStorage
from lakehouse.writing.graph import ServedTable

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
NAME_BYTES, NAMES_BYTES = 255, 600
"""Of a partition's folder, and of all of them in one path: a file system's limit, and of S3's 1,024 what is left."""
NULL_NAME = "__HIVE_DEFAULT_PARTITION__"
Key = tuple[str | None, ...]
"""A partition: its columns' values as text."""


class PublishError(LakehouseError):
    """A table could not be published; the message says which and why. Readers keep the release that they have."""

    def __init__(self, message: str, table: str = "") -> None:
        super().__init__(message)
        self.table = table


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
    """Write what the release holds of `served` and the releases before do not have.

    `before` is the environment's last published release, `elsewhere` another environment's that may have the same
    content.
    """
    try:
        return _publish(lake, release, served, before, elsewhere)
    except duckdb.Error as error:
        raise PublishError(f"{served.name} can't be published: {str(error).splitlines()[0]}", served.name) from error


def _publish(
    lake: Lake, release: Release, served: ServedTable, before: Manifest | None, elsewhere: Manifest | None
) -> Written:
    last = before.find(served.name) if before else None
    other = elsewhere.find(served.name) if elsewhere else None
    # Held back, or published before: the lake may no longer have that snapshot.
    if release.state == "published" and last and last.content == served.content:
        return Written(last, files_shared=len(last.files))
    if served.snapshot and last and last.content == served.content:
        kept = replace(last, group=served.group, snapshot=served.snapshot, as_of=served.as_of)
        return Written(kept, files_shared=len(last.files))
    with closing(lake.connect(snapshot=release.snapshot_of(served))) as connection:
        connection.execute("SET preserve_insertion_order = false")
        work = _Work(connection, lake.storage, release, served)
        if last and last.content == served.content and last.columns == work.columns:
            return Written(work.table(last.files), files_shared=len(last.files))
        if other and elsewhere and other.content == served.content and other.columns == work.columns:
            return work.copied(other, elsewhere.environment)
        if last and before and work.continues(last):
            return work.continued(last, last.snapshot or before.snapshot)
        return work.whole()


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
        self.snapshot = release.snapshot_of(served)
        described = connection.execute(f"DESCRIBE SELECT * FROM {self.view}").fetchall()
        self.types = {name: kind for name, kind, *_ in described}
        self.columns = tuple((name, published_type(kind), served.columns.get(name, "")) for name, kind, *_ in described)
        self.select = ", ".join(
            identifier(name)
            if published_type(kind) == kind
            else f"{identifier(name)}::{published_type(kind)} AS {identifier(name)}"
            for name, kind, *_ in described
        )
        self.partitioned_by = served.partitioned_by
        if set(served.partitioned_by) - self.types.keys():
            self.partitioned_by = ()  # by an expression, as month(day): no column of the table to name a folder by

    def table(self, files: Sequence[PublishedFile]) -> PublishedTable:
        """The manifest's entry; every row accounted for."""
        rows = self._count()
        entry = PublishedTable(
            self.served.name, self.served.content, self.served.physical_table, self.columns, tuple(files),
            self.served.description, self.partitioned_by, self.served.group, self.snapshot,
            self.release.as_of(self.served),
        )  # fmt: skip
        if rows != entry.rows:
            raise PublishError(
                f"{self.served.name} holds {rows:,} rows at snapshot {self.snapshot}, but "
                f"{entry.rows:,} were written: nothing is published. This is a fault of the lakehouse, not yours.",
                self.served.name,
            )
        return entry

    def _count(self) -> int:
        row = self.connection.execute(f"SELECT count(*) FROM {self.view}").fetchone()
        return int(row[0]) if row else 0

    def copied(self, other: PublishedTable, environment: str) -> Written:
        """Another environment's files, copied inside the storage under this environment's folder."""
        files = []
        for file in other.files:
            path = _renumbered(file.path, self.release.number)
            self.storage.copy(
                f"{table_folder(environment, other.name)}{file.path}",
                f"{table_folder(self.release.environment, other.name)}{path}",
            )
            files.append(replace(file, path=path))
        return Written(self.table(files), files_copied=len(files))

    def whole(self) -> Written:
        """All rows anew."""
        files = self._write("true", [])
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
        except duckdb.Error:  # a published file that is gone
            return self.whole()
        kept = [file for file in last.files if tuple(map(file.partition.get, self.partitioned_by)) not in keys]
        files: list[PublishedFile] = []
        same = " AND ".join(
            f"{identifier(column)} IS NOT DISTINCT FROM ?::{self.types[column]}" for column in self.partitioned_by
        )
        changed = sorted(keys, key=repr)
        for start in range(0, len(changed), 500):
            batch = changed[start : start + 500]
            files += self._write(" OR ".join(f"({same})" for _ in batch), [value for key in batch for value in key])
        if sum(file.rows for file in [*kept, *files]) != self._count():
            return self.whole()  # never held up by what was published before
        labels = {_label(dict(zip(self.partitioned_by, key, strict=True))) for key in keys}
        return Written(
            self.table([*kept, *files]), len(files), 0, len(kept), sum(file.size_bytes for file in files),
            tuple(sorted(labels)),
        )  # fmt: skip

    def _is_told(self, snapshot: int) -> bool:
        """Whether the lake still tells what has changed since `snapshot`."""
        if snapshot >= self.snapshot:
            return True
        return is_whole(self.connection, self.served.physical_table, snapshot, self.snapshot)

    def _changed_partitions(self, snapshot: int) -> set[Key]:
        """The partitions with rows that differ since `snapshot`, as the lake tells it."""
        if snapshot >= self.snapshot:
            return set()
        schema, table = self.served.physical_table.split(".", 1)
        columns = ", ".join(identifier(column) for column in self.partitioned_by)
        content = ", ".join(identifier(name) for name, *_ in self.columns)
        changes = (
            f"ducklake_table_changes('lakehouse', {quoted(schema)}, {quoted(table)}, {snapshot + 1:d}, "
            f"{self.snapshot:d})"
        )
        return self._keys(
            f"""
            SELECT {columns} FROM {changes} GROUP BY {columns}, hash({content})
            HAVING sum(CASE WHEN change_type IN ('insert', 'update_postimage') THEN 1 ELSE -1 END) <> 0
            """
        )

    def _differing_partitions(self, last: PublishedTable) -> set[Key]:
        """The same, found by comparing rows with the published files: after compaction the lake's feed is wrong."""
        keys = ", ".join(identifier(column) for column in self.partitioned_by)
        content = ", ".join(identifier(name) for name, *_ in self.columns)
        typed = ", ".join(f"{identifier(name)}::{kind} AS {identifier(name)}" for name, kind, _ in self.columns)
        base = self.storage.uri_of(table_folder(self.release.environment, self.served.name))
        files = ", ".join(quoted(f"{base}{file.path}") for file in last.files)
        published = f"SELECT {typed} FROM read_parquet([{files}], hive_partitioning = false)"
        if not last.files:
            published = f"SELECT {self.select} FROM {self.view} LIMIT 0"

        def summed(rows: str) -> str:
            return f"SELECT {keys}, count(*) AS n, sum(hash({content})) AS rows FROM ({rows}) GROUP BY {keys}"

        # What only one side has differs too; EXCEPT takes NULLs for equal.
        now, before = summed(f"SELECT {self.select} FROM {self.view}"), summed(published)
        return self._keys(
            f"""
            WITH now AS ({now}), before AS ({before})
            SELECT {keys} FROM ((FROM now EXCEPT FROM before) UNION ALL (FROM before EXCEPT FROM now))
            """
        )

    def _keys(self, rows: str) -> set[Key]:
        """The partitions of these rows, each value as text: as COPY tells them, and exact for every type."""
        texts = ", ".join(
            f"{identifier(column)}::{published_type(self.types[column])}::VARCHAR" for column in self.partitioned_by
        )
        return set(self.connection.execute(f"SELECT DISTINCT {texts} FROM ({rows})").fetchall())

    def _write(self, where: str, parameters: list[Any]) -> list[PublishedFile]:
        """All rows: one file a partition in its own folder, or files of at most 256 MB.

        A partition whose folder no file system or store could name has its file beside the folders: every file holds
        the values of its partition too.
        """
        if not self.partitioned_by:
            return self._copy(where, parameters, [f"FILE_SIZE_BYTES '{FILE_BYTES}'", "PER_THREAD_OUTPUT false"])
        names = ", ".join(identifier(column) for column in self.partitioned_by)
        options = [f"PARTITION_BY ({names})", "WRITE_PARTITION_COLUMNS true"]
        fits = self._has_name()
        row = self.connection.execute(
            f"SELECT coalesce(bool_and({fits}), true) FROM {self.view} WHERE {where}", parameters
        ).fetchone()
        if row and row[0]:
            return self._copy(where, parameters, options)
        return [
            *self._copy(f"({where}) AND {fits}", parameters, options),
            *self._copy(f"({where}) AND NOT {fits}", parameters, [*options, "HIVE_FILE_PATTERN false"]),
        ]

    def _has_name(self) -> str:
        """SQL that is true where every folder of a row's partition has a name short enough."""
        lengths = [
            f"{len(quote(column))} + 1 + coalesce(length(url_encode({identifier(column)}::VARCHAR)), {len(NULL_NAME)})"
            for column in self.partitioned_by
        ]
        return f"(greatest({', '.join(lengths)}) <= {NAME_BYTES} AND {' + '.join(lengths)} <= {NAMES_BYTES})"

    def _copy(self, where: str, parameters: list[Any], options: list[str]) -> list[PublishedFile]:
        """COPY, streamed."""
        folder = table_folder(self.release.environment, self.served.name)
        options = [
            "FORMAT parquet", "COMPRESSION zstd", "RETURN_STATS true", "APPEND true", *options,
            f"FILENAME_PATTERN 'r{self.release.number:05d}-{{uuid}}'",
        ]  # fmt: skip
        if not self.partitioned_by and self._count() <= ORDERED_ROWS:
            self.connection.execute("SET preserve_insertion_order = true")
        if isinstance(self.storage, FolderStorage):
            (self.storage.root / folder).mkdir(parents=True, exist_ok=True)
        # Without a slash at its end: DuckDB 1.5 adds one, and `days//r00001-….parquet` is no key that a listing shows.
        target = self.storage.uri_of(folder).rstrip("/")
        try:
            written = self.connection.execute(
                f"COPY (SELECT {self.select} FROM {self.view} WHERE {where}) TO {quoted(target)} "
                f"({', '.join(options)})",
                parameters,
            )
            told = [name for name, *_ in written.description or ()]
            rows = [dict(zip(told, row, strict=True)) for row in written.fetchall()]
        except duckdb.Error as error:
            raise PublishError(
                f"{self.served.name} could not be written to {target}: {str(error).splitlines()[0]}\n"
                "Readers keep the release that they have; publishing is tried again.",
                self.served.name,
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
        f"{column}={quote(value, safe=' ') if value is not None else NULL_NAME}" for column, value in partition.items()
    )


def _renumbered(path: str, number: int) -> str:
    """A name of its own for a copied file, so that no two releases ever write the same."""
    folder, _, name = path.rpartition("/")
    copy = f"r{number:05d}-{uuid.uuid4()}{Path(name).suffix}"
    return f"{folder}/{copy}" if folder else copy
