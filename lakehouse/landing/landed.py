"""Landed files: which version of each was loaded, or refused and why; and what is in quarantine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import psycopg

GONE = ""
"""The etag of a file that was deleted and whose rows went with it: whatever comes back under its name is new."""


@dataclass(frozen=True)
class LandedVersion:
    """What became of one version of a file: loaded with so many rows, or refused."""

    key: str
    etag: str
    rows: int | None = None
    refusal: str | None = None


def record(
    connection: psycopg.Connection, versions: Iterable[LandedVersion], *, deleted: Iterable[str] = (), run: str
) -> None:
    """Write down what a load did with the files that it was given, and whose rows it deleted with their files."""
    met = [(version.key, version.etag, version.rows, version.refusal, run) for version in versions]
    with connection.transaction(), connection.cursor() as cursor:
        cursor.executemany(
            """
            INSERT INTO ledger.landed_files (key, etag, rows, refusal, run) VALUES (%s, %s, %s, %s, %s)
            ON CONFLICT (key) DO UPDATE
            SET etag = excluded.etag, rows = coalesce(excluded.rows, ledger.landed_files.rows),
                refusal = excluded.refusal, run = excluded.run, recorded_at = now()
            """,
            met,
        )
        cursor.executemany(
            """
            INSERT INTO ledger.landed_versions (key, etag, rows, refusal, run) VALUES (%s, %s, %s, %s, %s)
            ON CONFLICT (key, etag) DO UPDATE
            SET rows = excluded.rows, refusal = excluded.refusal, run = excluded.run, recorded_at = now()
            """,
            met,
        )
        cursor.execute(
            """
            UPDATE ledger.landed_files SET etag = %s, rows = 0, refusal = NULL, run = %s, recorded_at = now()
            WHERE key = ANY(%s) AND etag <> %s
            """,
            [GONE, run, list(deleted), GONE],
        )


@dataclass(frozen=True)
class LoadState:
    """What the ledger knows of a file: the version that a load met last, and the rows that the lake has of the file."""

    etag: str
    rows: int | None
    refusal: str | None
    recorded_at: float  # seconds since 1970


def states(connection: psycopg.Connection, dataset: str) -> Mapping[str, LoadState]:
    """Key -> state of every file of a dataset that a load has met."""
    rows = connection.execute(
        """
        SELECT key, etag, rows, refusal, extract(epoch FROM recorded_at)::double precision
        FROM ledger.landed_files WHERE starts_with(key, %s)
        """,
        [f"{dataset}/"],
    ).fetchall()
    return {key: LoadState(*rest) for key, *rest in rows}


def history(connection: psycopg.Connection, dataset: str) -> Mapping[tuple[str, str], LandedVersion]:
    """(key, etag) -> what became of it, for every version that a load has met."""
    rows = connection.execute(
        "SELECT key, etag, rows, refusal FROM ledger.landed_versions WHERE starts_with(key, %s)", [f"{dataset}/"]
    ).fetchall()
    return {(key, etag): LandedVersion(key, etag, count, refusal) for key, etag, count, refusal in rows}


def quarantine(connection: psycopg.Connection, key: str, reason: str, *, by: str) -> None:
    """Write down why a file lies in quarantine."""
    connection.execute(
        """
        INSERT INTO ledger.quarantined_files (key, reason, uploaded_by) VALUES (%s, %s, %s)
        ON CONFLICT (key) DO UPDATE
        SET reason = excluded.reason, uploaded_by = excluded.uploaded_by, recorded_at = now()
        """,
        [key, reason, by],
    )


def quarantined(connection: psycopg.Connection, dataset: str) -> Mapping[str, str]:
    """Key -> reason of every file of a dataset that was put into quarantine."""
    rows = connection.execute(
        "SELECT key, reason FROM ledger.quarantined_files WHERE starts_with(key, %s)", [f"{dataset}/"]
    ).fetchall()
    return dict(rows)


def release_from_quarantine(connection: psycopg.Connection, key: str) -> None:
    """Forget the reason of a file that has been deleted from there."""
    connection.execute("DELETE FROM ledger.quarantined_files WHERE key = %s", [key])
