"""Held back: groups of tables that stay as readers have them while the others move, why, and since when."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import psycopg
from psycopg.types.json import Jsonb


@dataclass(frozen=True)
class HeldBack:
    """A group that the newest cut left alone."""

    environment: str
    tables: tuple[str, ...]
    reasons: tuple[str, ...]
    since: str = ""  # UTC, to the second, as 2026-11-28T04:00:00Z

    def __str__(self) -> str:
        lines = "\n".join(f"    {reason}" for reason in self.reasons)
        since = f" since {self.since[:16].replace('T', ' ')} UTC" if self.since else ""
        return f"Held back{since}, as readers have them: {', '.join(self.tables)}:\n{lines}"

    def record(self) -> dict[str, Any]:
        """For a manifest, and for programs."""
        return {name: value for name, value in asdict(self).items() if name != "environment"}


def record(
    connection: psycopg.Connection, environment: str, found: Iterable[tuple[Sequence[str], Sequence[str]]]
) -> tuple[HeldBack, ...]:
    """Say that these groups, (tables, reasons) each, are held back now and no others.

    Who was held back before under whatever company is so since then.
    """
    with connection.transaction():
        before = connection.execute(
            "DELETE FROM ledger.held_back WHERE environment = %s RETURNING tables, since", [environment]
        ).fetchall()
        for tables, reasons in found:
            since = min((moment for names, moment in before if set(names) & set(tables)), default=None)
            connection.execute(
                """
                INSERT INTO ledger.held_back (environment, tables, reasons, since)
                VALUES (%s, %s, %s, coalesce(%s, now()))
                """,
                [environment, list(tables), Jsonb(list(reasons)), since],
            )
    return read(connection, environment)


def read(connection: psycopg.Connection, environment: str | None = None) -> tuple[HeldBack, ...]:
    """What is held back now, of one environment or of all."""
    there = connection.execute("SELECT to_regclass('ledger.held_back') IS NOT NULL").fetchone()
    if not there or not there[0]:  # a ledger of before there were groups
        return ()
    rows = connection.execute(
        """
        SELECT environment, tables, reasons, to_char(since AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
        FROM ledger.held_back WHERE %(environment)s::text IS NULL OR environment = %(environment)s
        ORDER BY environment, tables
        """,
        {"environment": environment},
    ).fetchall()
    return tuple(HeldBack(name, tuple(tables), tuple(reasons), since) for name, tables, reasons, since in rows)
