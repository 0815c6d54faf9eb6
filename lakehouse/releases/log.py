"""The release log in the ledger: the truth about what was cut, what is published, and what readers get."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

import psycopg
from psycopg.types.json import Jsonb

from lakehouse.errors import LakehouseError
from lakehouse.writing.graph import ServedTable

State = Literal["cut", "published", "gone"]


class ReleaseError(LakehouseError):
    """A release that was asked for is not there or can't be used; the message says which are."""


@dataclass(frozen=True)
class Release:
    """One release of one environment."""

    environment: str
    number: int
    snapshot: int
    code_version: str
    run: str
    author: str
    cut_at: datetime  # UTC, without a zone
    changed: tuple[str, ...]  # what differs from the release before, in words
    tables: tuple[ServedTable, ...]
    state: State
    published_at: datetime | None = None
    problem: str = ""  # why it was given up and never published
    pages: Mapping[str, str] = field(default_factory=dict)  # of the dashboard: name -> text

    def __str__(self) -> str:
        return f"release {self.number} of {self.environment}"

    @property
    def folder(self) -> str:
        """Its key in the storage."""
        return release_folder(self.environment, self.number)

    def snapshot_of(self, table: ServedTable) -> int:
        """At which snapshot of the lake it holds this table."""
        return table.snapshot or self.snapshot

    def as_of(self, table: ServedTable) -> str:
        """When that was cut; UTC, as 2026-11-28T04:00:00Z."""
        return table.as_of or f"{self.cut_at:%Y-%m-%dT%H:%M:%SZ}"

    def carry(self, table: ServedTable) -> ServedTable:
        """The table as this release holds it, for a later release that leaves it so."""
        return replace(table, snapshot=self.snapshot_of(table), as_of=self.as_of(table))


@dataclass(frozen=True)
class Pointer:
    """What readers of an environment get, and who holds them there."""

    environment: str
    number: int
    held_by: str | None = None
    held_at: datetime | None = None

    @property
    def hold(self) -> str:
        """`held at N by …`, or nothing."""
        return f"held at {self.number} by {self.held_by}" if self.held_by else ""


def environment_folder(environment: str) -> str:
    """The environment's key in the published zone."""
    return f"published/{environment}"


def release_folder(environment: str, number: int) -> str:
    """A release's key: its manifest and its frozen catalog lie there."""
    return f"{environment_folder(environment)}/releases/{number:05d}"


def docs_folder(environment: str) -> str:
    """Where the documentation sites of its releases lie, each in a folder named by its number; ends in `/`."""
    return f"{environment_folder(environment)}/docs/"


COLUMNS = """
    environment, number, snapshot, code_version, run, author, cut_at AT TIME ZONE 'UTC', changed, tables, state,
    published_at AT TIME ZONE 'UTC', problem, pages
"""


def _release(row: tuple[Any, ...]) -> Release:
    environment, number, snapshot, code_version, run, author, cut_at, changed, tables, state, *rest = row
    return Release(
        environment, number, snapshot, code_version, run, author, cut_at, tuple(changed),
        tuple(ServedTable.of(table) for table in tables), state, *rest,
    )  # fmt: skip


def write(
    connection: psycopg.Connection,
    environment: str,
    snapshot: int,
    tables: Iterable[ServedTable],
    *,
    code_version: str,
    run: str,
    author: str,
    changed: Iterable[str],
    pages: Mapping[str, str] | None = None,
) -> Release:
    """Write a candidate with the next number. Call with the environment's lock held."""
    row = connection.execute(
        f"""
        INSERT INTO ledger.releases (environment, number, snapshot, code_version, run, author, changed, tables, pages)
        SELECT %(environment)s, coalesce(max(number), 0) + 1, %(snapshot)s, %(code_version)s, %(run)s, %(author)s,
            %(changed)s, %(tables)s, %(pages)s
        FROM ledger.releases WHERE environment = %(environment)s
        RETURNING {COLUMNS}
        """,
        {
            "environment": environment, "snapshot": snapshot, "code_version": code_version, "run": run,
            "author": author, "changed": Jsonb(list(changed)), "tables": Jsonb([asdict(table) for table in tables]),
            "pages": Jsonb(dict(pages or {})),
        },
    ).fetchone()  # fmt: skip
    assert row is not None
    return _release(row)


def find(connection: psycopg.Connection, environment: str, number: int) -> Release:
    """A release by its number.

    Raises:
        ReleaseError: there was none, or it is gone.
    """
    row = connection.execute(
        f"SELECT {COLUMNS} FROM ledger.releases WHERE environment = %s AND number = %s", [environment, number]
    ).fetchone()
    kept = [release.number for release in history(connection, environment) if release.state == "published"]
    there = f"Kept are {', '.join(map(str, kept))}." if kept else "There is none yet."
    if row is None:
        raise ReleaseError(f"There is no release {number} of {environment}. {there}")
    release = _release(row)
    if release.problem:
        raise ReleaseError(f"{str(release).capitalize()} was never published: {release.problem} {there}")
    if release.state == "gone":
        raise ReleaseError(f"{str(release).capitalize()} is no longer kept. {there}")
    return release


def history(connection: psycopg.Connection, environment: str | None = None) -> list[Release]:
    """Every release, the newest first; of one environment or of all."""
    rows = connection.execute(
        f"""
        SELECT {COLUMNS} FROM ledger.releases WHERE %(environment)s::text IS NULL OR environment = %(environment)s
        ORDER BY environment, number DESC
        """,
        {"environment": environment},
    ).fetchall()
    return [_release(row) for row in rows]


def newest(connection: psycopg.Connection, environment: str, state: State | None = None) -> Release | None:
    """The newest release that is not gone; with `state`, the newest of those."""
    row = connection.execute(
        f"""
        SELECT {COLUMNS} FROM ledger.releases
        WHERE environment = %s AND state <> 'gone' AND (%s::text IS NULL OR state = %s)
        ORDER BY number DESC LIMIT 1
        """,
        [environment, state, state],
    ).fetchone()
    return _release(row) if row else None


def candidates(connection: psycopg.Connection, environment: str | None = None) -> list[Release]:
    """The releases that were cut and are not published yet, the oldest first."""
    return sorted(
        (release for release in history(connection, environment) if release.state == "cut"),
        key=lambda release: (release.environment, release.number),
    )


def postpone(connection: psycopg.Connection, environment: str, at_work: Iterable[str]) -> None:
    """A cut was not made because of those who were writing; with none of them: it need not be tried again."""
    reasons = list(at_work)
    if reasons:
        connection.execute(
            """
            INSERT INTO ledger.postponed (environment, reasons) VALUES (%s, %s)
            ON CONFLICT (environment) DO UPDATE SET reasons = excluded.reasons, since = now()
            """,
            [environment, Jsonb(reasons)],
        )
    else:
        connection.execute("DELETE FROM ledger.postponed WHERE environment = %s", [environment])


def is_postponed(connection: psycopg.Connection, environment: str, seconds: float) -> bool:
    """Whether a cut was put off at least so long ago."""
    row = connection.execute(
        "SELECT since < now() - make_interval(secs => %s) FROM ledger.postponed WHERE environment = %s",
        [seconds, environment],
    ).fetchone()
    return bool(row and row[0])


def pointer(connection: psycopg.Connection, environment: str) -> Pointer | None:
    """What readers get; None before the first release."""
    row = connection.execute(
        """
        SELECT environment, number, held_by, held_at AT TIME ZONE 'UTC' FROM ledger.pointers WHERE environment = %s
        """,
        [environment],
    ).fetchone()
    return Pointer(*row) if row else None


def published(connection: psycopg.Connection, release: Release, *, needs_approval: bool = False) -> None:
    """Its files are whole: readers get it from now on, unless they are held, or it waits to be approved."""
    with connection.transaction():
        connection.execute(
            "UPDATE ledger.releases SET state = 'published', published_at = now() "
            "WHERE environment = %s AND number = %s",
            [release.environment, release.number],
        )
        if not needs_approval:
            allow(connection, release)


def allow(connection: psycopg.Connection, release: Release) -> None:
    """Readers may have it, and get it unless they are held."""
    connection.execute(
        """
        INSERT INTO ledger.pointers AS known (environment, number, allowed)
        VALUES (%(environment)s, %(number)s, %(number)s)
        ON CONFLICT (environment) DO UPDATE SET
            allowed = greatest(known.allowed, excluded.allowed),
            number = CASE WHEN known.held_by IS NULL THEN greatest(known.number, excluded.number) ELSE known.number END
        """,
        {"environment": release.environment, "number": release.number},
    )


def hold(connection: psycopg.Connection, environment: str, number: int, *, held_by: str) -> None:
    """Readers get this release until somebody resumes."""
    connection.execute(
        "UPDATE ledger.pointers SET number = %s, held_by = %s, held_at = now() WHERE environment = %s",
        [number, held_by, environment],
    )


def resume(connection: psycopg.Connection, environment: str) -> None:
    """Readers get the newest release again that they may have."""
    connection.execute(
        """
        UPDATE ledger.pointers SET held_by = NULL, held_at = NULL, number = (
            SELECT max(r.number) FROM ledger.releases AS r
            WHERE r.environment = %(environment)s AND state = 'published' AND r.number <= allowed
        ) WHERE environment = %(environment)s
        """,
        {"environment": environment},
    )


def failed(connection: psycopg.Connection, release: Release) -> int:
    """Publishing it failed once more, and not by the storage's fault. Gives how often it did."""
    row = connection.execute(
        "UPDATE ledger.releases SET failures = failures + 1 WHERE environment = %s AND number = %s RETURNING failures",
        [release.environment, release.number],
    ).fetchone()
    return int(row[0]) if row else 0


def change(connection: psycopg.Connection, release: Release) -> None:
    """It can't be published as it was cut: write what it holds and changes now. Call as the environment's publisher."""
    connection.execute(
        "UPDATE ledger.releases SET tables = %s, changed = %s WHERE environment = %s AND number = %s AND state = 'cut'",
        [
            Jsonb([asdict(table) for table in release.tables]), Jsonb(list(release.changed)), release.environment,
            release.number,
        ],
    )  # fmt: skip


def give_up(connection: psycopg.Connection, release: Release, problem: str) -> None:
    """It was cut and can't be published: the next one is not held up by it. Its number stays taken."""
    connection.execute(
        "UPDATE ledger.releases SET state = 'gone', problem = %s "
        "WHERE environment = %s AND number = %s AND state = 'cut'",
        [problem, release.environment, release.number],
    )


def forget(connection: psycopg.Connection, releases: Iterable[Release]) -> None:
    """These are no longer kept: say so before their files go."""
    for release in releases:
        connection.execute(
            "UPDATE ledger.releases SET state = 'gone' WHERE environment = %s AND number = %s",
            [release.environment, release.number],
        )
