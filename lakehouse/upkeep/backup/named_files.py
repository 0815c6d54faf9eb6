"""Which files a lakehouse stands on: those that the catalog names, the releases', the landed and the other ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import psycopg

from lakehouse.lake.catalog_paths import TABLE_FOLDER
from lakehouse.lake.ducklake import METADATA_SCHEMA, Lake
from lakehouse.landing.zones import LANDING, QUARANTINE
from lakehouse.releases import log
from lakehouse.releases.frozen import CATALOG
from lakehouse.releases.log import Release
from lakehouse.releases.manifest import Manifest, table_folder
from lakehouse.storage import StoredObject

SQL = f"""
    WITH tables AS (
        SELECT DISTINCT ON (t.table_id) t.table_id, s.schema_name || '.' || t.table_name AS name,
            {TABLE_FOLDER} AS folder
        FROM {METADATA_SCHEMA}.ducklake_table AS t JOIN {METADATA_SCHEMA}.ducklake_schema AS s USING (schema_id)
        ORDER BY t.table_id, t.begin_snapshot DESC
    ),
    files AS (
        SELECT table_id, path, path_is_relative, file_size_bytes, record_count, end_snapshot, 'data' AS kind
        FROM {METADATA_SCHEMA}.ducklake_data_file
        UNION ALL
        SELECT table_id, path, path_is_relative, file_size_bytes, delete_count, end_snapshot, 'delete' AS kind
        FROM {METADATA_SCHEMA}.ducklake_delete_file
    )
    SELECT coalesce(tables.name, 'table ' || table_id),
        CASE WHEN path_is_relative THEN coalesce(folder, '') || path ELSE path END,
        file_size_bytes, record_count, end_snapshot IS NULL, kind
    FROM files LEFT JOIN tables USING (table_id)
    ORDER BY 1, 2
"""


@dataclass(frozen=True)
class NamedFile:
    """An immutable Parquet file that something names. `key` is None for one outside of the storage."""

    owner: str  # the table, or the release
    address: str
    key: str | None
    size_bytes: int
    rows: int | None
    is_current: bool = True  # False: only earlier snapshots need it


def catalog_files(connection: psycopg.Connection, lake: Lake) -> list[NamedFile]:
    """Every data and delete file that the catalog names, of all snapshots."""
    base = f"{lake.settings.storage_uri}/"
    return [
        NamedFile(
            table, address, address.removeprefix(base) if address.startswith(base) else None, size,
            # A delete file's rows are counted by the catalog only where it is the newest of its data file.
            rows if kind == "data" else None, current,
        )
        for table, address, size, rows, current, kind in connection.execute(SQL).fetchall()
    ]  # fmt: skip


def published(connection: psycopg.Connection) -> list[Release]:
    """Every release that readers can ask for."""
    return [release for release in log.history(connection) if release.state == "published"]


def release_files(release: Release, manifest: Manifest) -> list[NamedFile]:
    """The Parquet files of a release."""
    return [
        NamedFile(f"{release}, {table.name}", key, key, file.size_bytes, file.rows)
        for table in manifest.tables
        for file in table.files
        for key in [f"{table_folder(manifest.environment, table.name)}{file.path}"]
    ]


def release_descriptions(release: Release) -> list[str]:
    """The keys of a release's manifest and frozen catalog."""
    return [f"{release.folder}/manifest.json", f"{release.folder}/{CATALOG}"]


def other_files(lake: Lake) -> Iterator[StoredObject]:
    """Landed and quarantined files, and what lies in the published zone beside the releases: tokens, assets.

    These may change: what lies there when they are read counts.
    """
    for zone in (LANDING, QUARANTINE):
        yield from lake.storage.list(f"{zone}/")
    for found in lake.storage.list("published/"):
        parts = found.key.split("/")
        # The pointer follows the release log, and is written anew by a restore.
        if len(parts) == 2 or parts[2] not in ("data", "releases", "current.json"):
            yield found
