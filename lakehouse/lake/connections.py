"""How a DuckDB connection of ours is configured, and shut before a stranger's SQL is run."""

from __future__ import annotations

import duckdb

from lakehouse.lake.extensions import extension_directory
from lakehouse.settings import Settings

Config = dict[str, str | bool | int | float | list[str]]

ONLY_AT_CONNECT = "allow_unsigned_extensions"
"""An option that `duckdb.connect` takes and SET refuses."""


COMMIT_RETRIES = 100
"""Of a commit to the lake that lost a race. With DuckLake's own ten, 86 of 3,200 commits of sixteen writers gave up."""


def duckdb_config(settings: Settings) -> Config:
    """What `duckdb.connect` is told.

    To check the extensions' signatures again costs every connection 0.4 s of a processor (DuckDB 1.5.5): pip has
    compared the wheels with their hashes, and `extension_directory` has checked the signatures.
    """
    return {
        "extension_directory": str(extension_directory(settings.cache_dir)),
        # A missing extension then fails at once instead of trying the network.
        "autoinstall_known_extensions": False,
        ONLY_AT_CONNECT: True,
        "memory_limit": settings.memory_limit,
        "threads": settings.threads,
        "ducklake_max_retry_count": COMMIT_RETRIES,
    }


def lock_down(connection: duckdb.DuckDBPyConnection, folder: str) -> None:
    """From now on it reads nothing but what lies below `folder`: no other file, nothing of the network.

    No statement can change that. Load and attach before; the order of these is DuckDB's (1.5.5).
    """
    connection.execute("SET allowed_directories = ['" + folder.replace("'", "''") + "']")
    connection.execute("SET GLOBAL python_enable_replacements = false")  # a plain SET is not its cursors'
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
