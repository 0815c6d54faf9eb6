"""How long models take to compute, by the run that computed most of each: a run of a day says little of a year's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import psycopg


@dataclass(frozen=True)
class Timing:
    """`intervals` in `seconds`; a model that is computed as a whole has one interval."""

    intervals: int
    seconds: float


def read(connection: psycopg.Connection) -> Mapping[str, Timing]:
    """By physical table."""
    rows = connection.execute("SELECT physical_table, intervals, seconds FROM ledger.timings").fetchall()
    return {table: Timing(intervals, seconds) for table, intervals, seconds in rows}


def record(connection: psycopg.Connection, measured: Mapping[str, Timing]) -> None:
    """Note what a run has measured, of those tables of which none computed more."""
    with connection.transaction(), connection.cursor() as cursor:
        cursor.executemany(
            """
            INSERT INTO ledger.timings AS known (physical_table, intervals, seconds) VALUES (%s, %s, %s)
            ON CONFLICT (physical_table) DO UPDATE SET intervals = excluded.intervals, seconds = excluded.seconds
            WHERE excluded.intervals >= known.intervals
            """,
            [(table, one.intervals, one.seconds) for table, one in measured.items()],
        )
