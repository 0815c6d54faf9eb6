"""The frozen catalog of a release: a DuckLake in one DuckDB file, built fresh over the published Parquet files.

Any DuckDB reads it with one ATTACH and no server. It names the served tables and nothing else.
"""

from __future__ import annotations

import tempfile
from contextlib import closing
from pathlib import Path

import duckdb

from lakehouse.lake.ducklake import Lake, create_secret, identifier, quoted
from lakehouse.releases.manifest import Manifest, data_folder, table_folder
from lakehouse.storage import Storage

CATALOG = "catalog.ducklake"
ADDED_AT_ONCE = 500


def write_catalog(lake: Lake, folder: str, manifest: Manifest) -> str:
    """Build the catalog and put it into the release's folder. Gives its address."""
    with tempfile.TemporaryDirectory(prefix="catalog-") as aside:
        path = Path(aside) / CATALOG
        _build(lake, path, manifest)
        lake.storage.upload(path, f"{folder}/{CATALOG}")
    return lake.storage.uri_of(f"{folder}/{CATALOG}")


def attach_statement(storage: Storage, folder: str, alias: str = "lakehouse") -> str:
    """The one line with which any DuckDB attaches a release by its stored address."""
    return f"ATTACH {quoted('ducklake:' + storage.uri_of(f'{folder}/{CATALOG}'))} AS {alias} (READ_ONLY)"


def _build(lake: Lake, path: Path, manifest: Manifest) -> None:
    data_path = lake.storage.uri_of(data_folder(manifest.environment))
    with closing(duckdb.connect(config=lake.duckdb_config())) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for secret in lake.duckdb_secrets():
            connection.execute(create_secret(secret))
        # Small blocks: a catalog holds little, and each table of it takes a block at least.
        connection.execute(
            f"ATTACH {quoted(f'ducklake:{path}')} AS frozen (DATA_PATH {quoted(data_path)}, META_BLOCK_SIZE 16384)"
        )
        metadata = "__ducklake_metadata_frozen"
        connection.execute("BEGIN")
        for schema in sorted({table.name.split(".")[0] for table in manifest.tables}):
            if schema != "main":
                connection.execute(f"CREATE SCHEMA frozen.{identifier(schema)}")
        for table in manifest.tables:
            schema, name = table.name.split(".", 1)
            full = f"frozen.{identifier(schema)}.{identifier(name)}"
            columns = ", ".join(f"{identifier(column)} {kind}" for column, kind, _ in table.columns)
            connection.execute(f"CREATE TABLE {full} ({columns})")
            if table.description:
                connection.execute(f"COMMENT ON TABLE {full} IS {quoted(table.description)}")
            for column, _, text in table.columns:
                if text:
                    connection.execute(f"COMMENT ON COLUMN {full}.{identifier(column)} IS {quoted(text)}")
        connection.execute("COMMIT")
        connection.execute("BEGIN")
        for table in manifest.tables:
            schema, name = table.name.split(".", 1)
            base = lake.storage.uri_of(table_folder(manifest.environment, table.name))
            for file in table.files:
                connection.execute(
                    "CALL ducklake_add_data_files('frozen', ?, ?, schema => ?, hive_partitioning => false)",
                    [name, f"{base}{file.path}", schema],
                )
        connection.execute("COMMIT")
        # DuckLake 1.0 notes the addresses of added files as absolute: relative ones survive a move of the folder.
        for table in manifest.tables:
            base = lake.storage.uri_of(table_folder(manifest.environment, table.name))
            connection.execute(
                f"UPDATE {metadata}.ducklake_data_file SET path = substr(path, ?), path_is_relative = true "
                "WHERE starts_with(path, ?)",
                [len(base) + 1, base],
            )
        connection.execute(f"CHECKPOINT {metadata}")
        connection.execute("DETACH frozen")
