"""A lake whose files can be counted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest

from lakehouse.lake.ducklake import Lake
from lakehouse.lake.postgres import connect


class Tended:
    """A lake, with shorthands for what its users do."""

    def __init__(self, lake: Lake, ledger: psycopg.Connection) -> None:
        self.lake = lake
        self.ledger = ledger

    @property
    def forgetful(self) -> Lake:
        """The same lake, whose maintenance keeps no history for its own sake."""
        return Lake(self.lake.settings.model_copy(update={"history_days": 0.0}))

    def execute(self, *statements: str) -> int:
        """Write to the lake; gives its newest snapshot."""
        with closing(self.lake.connect()) as connection:
            for statement in statements:
                connection.execute(statement)
        return self.lake.newest_snapshot()

    def rows(self, sql: str, snapshot: int | None = None) -> list[tuple[Any, ...]]:
        """The lake's answer, as it is or as it was."""
        with closing(self.lake.connect(read_only=True, snapshot=snapshot)) as connection:
            return connection.execute(sql).fetchall()

    def small_increments(self, count: int, table: str = "raw.t") -> int:
        """Many small loads, each a file of its own, into `table` (id INT, text VARCHAR); gives the newest snapshot."""
        inserts = [
            f"INSERT INTO {table} SELECT range::INT, 'row ' || range FROM range({20 * i}, {20 * i + 20})"
            for i in range(count)
        ]
        return self.execute(f"CREATE TABLE {table} (id INT, text VARCHAR)", *inserts)


@pytest.fixture
def tended(lake: Lake) -> Iterator[Tended]:
    """An empty lake."""
    with closing(connect(lake.settings)) as ledger:
        yield Tended(lake, ledger)
