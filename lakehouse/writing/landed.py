"""Landed files: which version of each file of the landing zone was loaded, or refused and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import psycopg


@dataclass(frozen=True)
class LandedVersion:
    """What became of one version of a file: loaded with so many rows, or refused."""

    key: str
    etag: str
    rows: int | None = None
    refusal: str | None = None


def record(connection: psycopg.Connection, versions: Iterable[LandedVersion], *, run: str) -> None:
    """Write down what a load did with the files that it was given."""
    with connection.transaction(), connection.cursor() as cursor:
        cursor.executemany(
            """
            INSERT INTO ledger.landed_files (key, etag, rows, refusal, run) VALUES (%s, %s, %s, %s, %s)
            ON CONFLICT (key) DO UPDATE
            SET etag = excluded.etag, rows = coalesce(excluded.rows, ledger.landed_files.rows),
                refusal = excluded.refusal, run = excluded.run, recorded_at = now()
            """,
            [(version.key, version.etag, version.rows, version.refusal, run) for version in versions],
        )


def versions(connection: psycopg.Connection, dataset: str) -> Mapping[str, str]:
    """Key -> etag of every file of a dataset that a load has met, loaded or refused."""
    rows = connection.execute(
        "SELECT key, etag FROM ledger.landed_files WHERE starts_with(key, %s)", [f"{dataset}/"]
    ).fetchall()
    return dict(rows)
