"""After a restore: what remembers where it lay, or which inode it had, is told where it lies now."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import duckdb
import psycopg

from lakehouse.lake.ducklake import METADATA_SCHEMA, Lake, quoted
from lakehouse.landing.zones import LANDING
from lakehouse.releases.frozen import CATALOG
from lakehouse.releases.log import Release
from lakehouse.releases.manifest import data_folder
from lakehouse.upkeep.backup import named_files
from lakehouse.upkeep.backup.manifest import BackupManifest

RELATIVE_PATHS = ("ducklake_data_file", "ducklake_delete_file", "ducklake_table", "ducklake_schema")


def relocate(lake: Lake, connection: psycopg.Connection, manifest: BackupManifest, etags: Mapping[str, str]) -> None:
    """Make the restored database and releases fit to where the files lie now. Safe to repeat.

    `etags` are those of the files now: a landed file is known by its etag, and would count as changed.
    """
    with connection.transaction():
        _move_catalog(connection, f"{manifest.storage}/lake/", lake.data_path)
        # What waits for deletion is needed by nothing, so the backup has none of it.
        connection.execute(f"DELETE FROM {METADATA_SCHEMA}.ducklake_files_scheduled_for_deletion")
        landed = {file.name: file.etag for file in manifest.files if file.name.startswith(f"{LANDING}/")}
        _know_landed(connection, {key: (etag, etags[key]) for key, etag in landed.items() if key in etags})
    if manifest.storage != lake.settings.storage_uri:
        for release in named_files.published(connection):
            _move_release(lake, release)


def _move_catalog(connection: psycopg.Connection, before: str, now: str) -> None:
    """DuckLake remembers its DATA_PATH; files are named relative to it, but for those that came from elsewhere."""
    connection.execute(f"UPDATE {METADATA_SCHEMA}.ducklake_metadata SET value = %s WHERE key = 'data_path'", [now])
    for table in RELATIVE_PATHS:
        connection.execute(
            f"UPDATE {METADATA_SCHEMA}.{table} SET path = %(now)s || substr(path, length(%(before)s) + 1) "
            "WHERE NOT path_is_relative AND starts_with(path, %(before)s)",
            {"before": before, "now": now},
        )


def _know_landed(connection: psycopg.Connection, etags: Mapping[str, tuple[str, str]]) -> None:
    """The versions that were loaded or refused before are known under the etags that they have now."""
    for table in ("landed_files", "landed_versions"):
        with connection.cursor() as cursor:
            cursor.executemany(
                f"UPDATE ledger.{table} SET etag = %s WHERE key = %s AND etag = %s",
                [(now, key.removeprefix(f"{LANDING}/"), before) for key, (before, now) in etags.items()],
            )


def _move_release(lake: Lake, release: Release) -> None:
    """A frozen catalog has its DATA_PATH too: the address that readers attach by would lead to the old place."""
    key = f"{release.folder}/{CATALOG}"
    if lake.storage.find(key) is None:  # lost before the backup was made, which says so
        return
    with tempfile.TemporaryDirectory(prefix="lakehouse-restore-") as aside:
        path = Path(aside) / CATALOG
        lake.storage.download(key, path)
        with closing(duckdb.connect(config=lake.duckdb_config())) as connection:
            connection.execute(f"ATTACH {quoted(str(path))} AS frozen")
            connection.execute(
                "UPDATE frozen.ducklake_metadata SET value = ? WHERE key = 'data_path'",
                [lake.storage.uri_of(data_folder(release.environment))],
            )
            connection.execute("CHECKPOINT frozen")
            connection.execute("DETACH frozen")
        lake.storage.upload(path, key)
