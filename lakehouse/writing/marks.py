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

from lakehouse.lake.worker import begin_anew, worker

WORKER = "worker"


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
    """Mark work as unfinished. A mark that a predecessor left keeps its snapshot, the older of the two."""
    subjects = list(subjects)
    take_over(connection, [mark for mark in read(connection, kind, scope) if mark.subject in subjects])
    details = {**(details or {}), WORKER: _registered(connection)}
    with connection.transaction(), connection.cursor() as cursor:
        cursor.executemany(
            """
            INSERT INTO ledger.marks (kind, scope, subject, run, snapshot, details) VALUES (%s, %s, %s, %s, %s, %s)
            ON CONFLICT (kind, scope, subject)
            DO UPDATE SET run = excluded.run, details = ledger.marks.details || excluded.details
            """,
            [(kind, scope, subject, run, snapshot, Jsonb(details)) for subject in subjects],
        )


def _registered(connection: psycopg.Connection) -> str:
    """This process's name, under which it may commit."""
    register = """
        INSERT INTO ledger.workers (worker) VALUES (%s) ON CONFLICT (worker) DO UPDATE SET since = now()
        RETURNING is_taken_over
    """
    name = worker()
    if connection.execute(register, [name]).fetchone() == (True,):
        name = begin_anew()
        connection.execute(register, [name])
    return name


def take_over(connection: psycopg.Connection, found: Iterable[Mark]) -> None:
    """Whoever left these marks commits no more to the lake, should it live: its locks, which are ours now, it has lost.

    Call before its work is repaired or done again.
    """
    names = {str(mark.details[WORKER]) for mark in found if WORKER in mark.details} - {worker()}
    connection.execute("UPDATE ledger.workers SET is_taken_over = true WHERE worker = ANY(%s)", [sorted(names)])


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
