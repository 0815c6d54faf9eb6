"""Marks: a durable row "unfinished", written before the first commit of a piece of work, deleted after its last.

A killed process leaves its mark. Only the repair, which is the same work done again, removes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.types.json import Jsonb


@dataclass(frozen=True)
class Mark:
    """One unfinished piece of work."""

    kind: str
    scope: str
    subject: str
    run: str
    since: datetime
    snapshot: int
    details: Mapping[str, Any]

    def __str__(self) -> str:
        what = f"{self.kind} of {self.subject} in {self.scope}" if self.subject else f"{self.kind} of {self.scope}"
        return f"{what}, left unfinished by {self.run} at {self.since:%Y-%m-%d %H:%M:%S} UTC"


def write(
    connection: psycopg.Connection,
    kind: str,
    scope: str,
    subjects: Iterable[str] = ("",),
    *,
    run: str,
    snapshot: int,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Mark work as unfinished. A mark that a killed predecessor left keeps its snapshot, the older of the two."""
    with connection.transaction(), connection.cursor() as cursor:
        cursor.executemany(
            """
            INSERT INTO ledger.marks (kind, scope, subject, run, snapshot, details) VALUES (%s, %s, %s, %s, %s, %s)
            ON CONFLICT (kind, scope, subject)
            DO UPDATE SET run = excluded.run, details = ledger.marks.details || excluded.details
            """,
            [(kind, scope, subject, run, snapshot, Jsonb(dict(details or {}))) for subject in subjects],
        )


def clear(connection: psycopg.Connection, kind: str, scope: str, subjects: Iterable[str] = ("",)) -> None:
    """The work is done, its last commit and its checks included."""
    connection.execute(
        "DELETE FROM ledger.marks WHERE kind = %s AND scope = %s AND subject = ANY(%s)", [kind, scope, list(subjects)]
    )


def read(connection: psycopg.Connection, kind: str | None = None, scope: str | None = None) -> list[Mark]:
    """The marks that are there, oldest first."""
    rows = connection.execute(
        """
        SELECT kind, scope, subject, run, since AT TIME ZONE 'UTC', snapshot, details FROM ledger.marks
        WHERE (%(kind)s::text IS NULL OR kind = %(kind)s) AND (%(scope)s::text IS NULL OR scope = %(scope)s)
        ORDER BY since, kind, scope, subject
        """,
        {"kind": kind, "scope": scope},
    ).fetchall()
    return [Mark(*row) for row in rows]
