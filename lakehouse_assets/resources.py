"""The lake as a Dagster resource, built on dagster-duckdb's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import duckdb
from dagster_duckdb import DuckDBResource

from lakehouse.lake import Lake
from lakehouse.settings import load_settings


class LakeResource(DuckDBResource):
    """DuckDB with the lake attached as `lakehouse`. What it needs to know comes from the settings, not from here.

    Addresses and passwords are no fields of it: Dagster keeps the fields of a resource in clear.
    """

    database: str = ":memory:"

    @property
    def lake(self) -> Lake:
        """The lake of this process's settings."""
        return Lake(load_settings())

    @contextmanager
    def get_connection(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection of its own, the lake attached and current."""
        lake = self.lake
        opened = DuckDBResource(database=self.database, connection_config=lake.duckdb_config())
        with opened.get_connection() as connection:
            lake.attach(connection)
            yield connection
