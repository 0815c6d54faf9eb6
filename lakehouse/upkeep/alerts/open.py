"""Which alerts are open: a row each in the ledger, so that only changes are told, whoever looks and how often."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.types.json import Jsonb


@dataclass(frozen=True)
class OpenAlert:
    """Something that is wrong, and of which somebody was told."""

    environment: str
    subject: str
    state: str
    details: dict[str, Any]
    since: datetime  # UTC, without a zone

    @property
    def text(self) -> str:
        """What was told."""
        return str(self.details.get("text", self.state))


def open_alert(
    connection: psycopg.Connection, environment: str, subject: str, state: str, details: dict[str, Any] | None = None
) -> bool:
    """It is wrong, in this state. Gives whether that is new: one who asks twice, or two who ask at once, tell it
    once."""
    row = connection.execute(
        """
        INSERT INTO ledger.alerts AS known (environment, subject, state, details) VALUES (%s, %s, %s, %s)
        ON CONFLICT (environment, subject) DO UPDATE SET state = excluded.state, details = excluded.details
        WHERE known.state <> excluded.state
        RETURNING 1
        """,
        [environment, subject, state, Jsonb(details or {})],
    ).fetchone()
    return row is not None


def close_alert(connection: psycopg.Connection, environment: str, subject: str) -> OpenAlert | None:
    """It is well. Gives what was open, to the one who closes it; None when nothing was."""
    row = connection.execute(
        "DELETE FROM ledger.alerts WHERE environment = %s AND subject = %s "
        "RETURNING environment, subject, state, details, since AT TIME ZONE 'UTC'",
        [environment, subject],
    ).fetchone()
    return OpenAlert(*row) if row else None


def open_alerts(connection: psycopg.Connection, environment: str | None = None) -> list[OpenAlert]:
    """What is open, the oldest first."""
    rows = connection.execute(
        "SELECT environment, subject, state, details, since AT TIME ZONE 'UTC' FROM ledger.alerts "
        "WHERE %(environment)s::text IS NULL OR environment = %(environment)s ORDER BY since, subject",
        {"environment": environment},
    ).fetchall()
    return [OpenAlert(*row) for row in rows]
