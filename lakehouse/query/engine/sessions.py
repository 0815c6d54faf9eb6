"""A worker's open releases, each in a DuckDB that can read nothing else."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress

import duckdb

from lakehouse.lake.connections import lock_down
from lakehouse.lake.ducklake import identifier
from lakehouse.query.engine.calls import RELEASE, Call, Config
from lakehouse.query.engine.catalog import catalog_of, tables_of
from lakehouse.query.engine.guard import CATALOG, Statement
from lakehouse.query.engine.literals import column_types
from lakehouse.query.engine.postgres_catalog import SCHEMA as POSTGRES
from lakehouse.query.engine.postgres_catalog import fill

RELEASES_OPEN = 2
BUFFERS_SHARE = 0.6
"""The part of a call's memory that DuckDB manages; its scalar functions take theirs beside it."""


class OpenRelease:
    """A release as statements see it: views over its tables, which have their columns and no others.

    The tables themselves, in the catalog RELEASE, have columns more that DuckLake makes up and that tell where files
    lie (`filename`, `rowid`, …).
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, keys: Mapping[str, Sequence[str]]):
        self._connection = connection
        self._keys = keys
        self._catalog: duckdb.DuckDBPyConnection | None = None
        self._has_postgres = False
        self._viewed: set[str] = set()

    def session(self, statement: Statement) -> duckdb.DuckDBPyConnection:
        """A session for one statement."""
        if statement.asks_catalog:
            self._catalog = self._catalog or catalog_of(tables_of(self._connection, RELEASE, self._keys))
            session = self._catalog.cursor()
            if POSTGRES in statement.sql and not self._has_postgres:
                fill(self._catalog.cursor())
                self._has_postgres = True
        else:
            for name in sorted(statement.tables - self._viewed):
                self._view(name)
            session = self._connection.cursor()
        session.execute(f"USE {CATALOG}")
        return session

    def column_types(self, tables: Collection[str]) -> dict[str, str]:
        """The types of these tables' columns by name, where they agree."""
        return column_types(self._connection, RELEASE, sorted(tables))

    def _view(self, name: str) -> None:
        schema, table = map(identifier, name.split(".", 1))
        self._connection.execute(f"CREATE SCHEMA IF NOT EXISTS {CATALOG}.{schema}")
        self._connection.execute(f"CREATE VIEW {CATALOG}.{schema}.{table} AS FROM {RELEASE}.{schema}.{table}")
        self._viewed.add(name)

    def close(self) -> None:
        """Let go of all that it holds."""
        for connection in (self._catalog, self._connection):
            with suppress(duckdb.Error):
                if connection is not None:
                    connection.close()


class Releases:
    """The releases that are open."""

    def __init__(self, config: Config):
        self._config = config
        self._open: OrderedDict[str, OpenRelease] = OrderedDict()

    def open(self, call: Call) -> tuple[OpenRelease, bool]:
        """A call's release, and whether it was open already."""
        warm = call.attach in self._open
        if not warm:
            while len(self._open) >= RELEASES_OPEN:
                self._open.popitem(last=False)[1].close()
            self._open[call.attach] = OpenRelease(self._connect(call), call.keys)
        self._open.move_to_end(call.attach)
        return self._open[call.attach], warm

    def close(self, call: Call) -> None:
        """Forget a release: its DuckDB may be broken or full, or its files gone."""
        if found := self._open.pop(call.attach, None):
            found.close()

    def _connect(self, call: Call) -> duckdb.DuckDBPyConnection:
        config = self._config
        connection = duckdb.connect(
            config={
                "extension_directory": config.extension_directory,
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
                "allow_community_extensions": False,
                "allow_unsigned_extensions": False,
                "threads": config.threads,
                "memory_limit": f"{int(config.memory_bytes * BUFFERS_SHARE) >> 20}MiB",
                "temp_directory": "",
            }
        )
        try:
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute("LOAD ducklake")
            if config.secret:
                connection.execute("LOAD httpfs")
                connection.execute(config.secret)
            connection.execute(call.attach)
            connection.execute(f"ATTACH ':memory:' AS {CATALOG}")
            lock_down(connection, call.allowed)
        except BaseException:
            connection.close()
            raise
        return connection
