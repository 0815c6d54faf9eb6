"""Checksums of immutable files in the ledger: DuckLake keeps none, so whoever reads a file whole first records its own.

A file that differs later was damaged: nobody ever writes to it again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import psycopg

from lakehouse.lake.ducklake import LakeError
from lakehouse.upkeep.backup.manifest import Content


def read(connection: psycopg.Connection) -> dict[str, Content]:
    """Key in the storage -> what the file held when it was read first.

    Raises:
        LakeError: the ledger is older than this.
    """
    there = connection.execute("SELECT to_regclass('ledger.file_checksums') IS NOT NULL").fetchone()
    if not there or not there[0]:
        raise LakeError("The lake's ledger is older than this: `lakehouse bootstrap` makes what is missing.")
    rows = connection.execute("SELECT key, sha256, size_bytes FROM ledger.file_checksums").fetchall()
    return {key: Content(sha256, size) for key, sha256, size in rows}


def record(connection: psycopg.Connection, files: Mapping[str, Content]) -> None:
    """These files were read whole. What is recorded already stays."""
    with connection.transaction(), connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO ledger.file_checksums (key, sha256, size_bytes) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
            [(key, file.sha256, file.size_bytes) for key, file in files.items()],
        )


def forget_others(connection: psycopg.Connection, named: Collection[str]) -> None:
    """Only these files are named by anything: the others have gone."""
    connection.execute("DELETE FROM ledger.file_checksums WHERE key <> ALL(%s)", [list(named)])
