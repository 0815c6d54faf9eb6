"""Landed files: which version of each was loaded, or refused and why; and what is in quarantine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import psycopg

GONE = ""
"""The etag of a file that was deleted and whose rows went with it: whatever comes back under its name is new."""


@dataclass(frozen=True)
class LandedVersion:
    """What became of one version of a file: loaded with so many rows, or refused.

    `lacking` are declared columns that it doesn't have; None leaves what is known of the rows in the lake.
    """

    key: str
    etag: str
    rows: int | None = None
    refusal: str | None = None
    lacking: list[str] | None = None


def record(
    connection: psycopg.Connection, versions: Iterable[LandedVersion], *, deleted: Iterable[str] = (), run: str
) -> None:
    """Write down what a load did with the files that it was given, and whose rows it deleted with their files."""
    versions = list(versions)
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
            "UPDATE ledger.landed_files SET lacking = %s WHERE key = %s",
            [(version.lacking, version.key) for version in versions if version.lacking is not None],
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
    lacking: list[str]


def states(connection: psycopg.Connection, dataset: str) -> Mapping[str, LoadState]:
    """Key -> state of every file of a dataset that a load has met."""
    rows = connection.execute(
        """
        SELECT key, etag, rows, refusal, extract(epoch FROM recorded_at)::double precision, lacking
        FROM ledger.landed_files WHERE starts_with(key, %s)
        """,
        [f"{dataset}/"],
    ).fetchall()
    return {key: LoadState(*rest) for key, *rest in rows}


@dataclass(frozen=True)
class LackingColumn:
    """A declared column that loaded files of a dataset don't have: all their rows are NULL there."""

    dataset: str
    column: str
    files: list[str]
    rows: int

    def __str__(self) -> str:
        named = ", ".join(self.files[:3]) + (f" and {len(self.files) - 3} more" if len(self.files) > 3 else "")
        return f"{self.column} is missing in {named}: NULL in {self.rows:,} rows"


def lacking(connection: psycopg.Connection, dataset: str = "") -> list[LackingColumn]:
    """What is missing in files whose rows are in the lake, of one dataset or of all."""
    rows = connection.execute(
        """
        SELECT split_part(key, '/', 1) AS dataset, name, array_agg(substr(key, strpos(key, '/') + 1) ORDER BY key),
            sum(rows)::bigint
        FROM ledger.landed_files, unnest(lacking) AS name
        WHERE rows > 0 AND (%(dataset)s = '' OR starts_with(key, %(dataset)s || '/'))
        GROUP BY dataset, name ORDER BY dataset, name
        """,
        {"dataset": dataset},
    ).fetchall()
    return [LackingColumn(*row) for row in rows]


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
