"""A worker's open releases, each in a DuckDB that can read nothing else."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

import duckdb

from lakehouse.lake.connections import lock_down
from lakehouse.lake.ducklake import identifier
from lakehouse.query.engine.calls import RELEASE, Call, Config
from lakehouse.query.engine.catalog import TableWithoutRows, catalog_of, tables_of
from lakehouse.query.engine.guard import CATALOG, Statement
from lakehouse.query.engine.literals import column_types
from lakehouse.query.engine.postgres_catalog import SCHEMA as POSTGRES
from lakehouse.query.engine.postgres_catalog import fill
from lakehouse.query.engine.problems import QueryError
from lakehouse.query.engine.sights import View, view_sql

RELEASES_OPEN = 2
BUFFERS_SHARE = 0.6
"""The part of a call's memory that DuckDB manages; its scalar functions take theirs beside it."""


class OpenRelease:
    """A release as statements see it: views over its tables, which have their columns and no others.

    The tables themselves, in the catalog RELEASE, have columns more that DuckLake makes up and that tell where files
    lie (`filename`, `rowid`, …).
    """

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, keys: Mapping[str, Sequence[str]], alias: str = RELEASE,
        views: Mapping[str, View] | None = None,
    ):  # fmt: skip
        self._connection = connection
        self._keys = keys
        self._alias = alias
        self._views = views
        self._catalogs: dict[bool, duckdb.DuckDBPyConnection] = {}
        self._viewed: set[str] = set()

    def session(self, statement: Statement) -> duckdb.DuckDBPyConnection:
        """A session for one statement."""
        if statement.asks_catalog:
            # PostgreSQL's catalog has a DuckDB of its own: its tables are none of the release's.
            is_postgres = POSTGRES in statement.sql
            if is_postgres not in self._catalogs:
                self._catalogs[is_postgres] = catalog_of(self._tables())
                if is_postgres:
                    fill(self._catalogs[is_postgres].cursor())
            session = self._catalogs[is_postgres].cursor()
        else:
            for name in sorted(statement.tables - self._viewed):
                self._view(name)
            session = self._connection.cursor()
        session.execute(f"USE {CATALOG}.{identifier(statement.schema)}" if statement.schema else f"USE {CATALOG}")
        return session

    def column_types(self, tables: Collection[str]) -> dict[str, str]:
        """The types of these tables' columns by name, where they agree."""
        found = column_types(self._connection, self._alias, sorted(tables))
        if self._views is None:
            return found
        seen = {column.lower() for columns, _ in self._views.values() for column in columns}
        return {name: kind for name, kind in found.items() if name in seen}

    def _tables(self) -> list[TableWithoutRows]:
        """What there is, as far as it is seen."""
        found = tables_of(self._connection, self._alias, self._keys)
        if self._views is None:
            return found
        seen = {f"{table.schema}.{table.name}": table for table in found}
        return [
            replace(seen[name], columns=[column for column in seen[name].columns if column[0] in columns])
            for name, (columns, _) in self._views.items()
            if name in seen
        ]

    def _view(self, name: str) -> None:
        schema, table = map(identifier, name.split(".", 1))
        source = f"{self._alias}.{schema}.{table}"
        self._connection.execute(f"CREATE SCHEMA IF NOT EXISTS {CATALOG}.{schema}")
        content = f"FROM {source}" if self._views is None else view_sql(source, self._views[name])
        try:
            self._connection.execute(f"CREATE VIEW {CATALOG}.{schema}.{table} AS {content}")
        except duckdb.Error as error:
            if self._views is None or isinstance(error, (duckdb.IOException, duckdb.HTTPException)):
                raise
            # Its words would tell of the filter.
            raise QueryError("forbidden", f"{name} can't be shown to this token as this release has it.") from None
        self._viewed.add(name)

    def close(self) -> None:
        """Let go of all that it holds."""
        for connection in (*self._catalogs.values(), self._connection):
            with suppress(duckdb.Error):
                connection.close()


class Releases:
    """The releases that are open."""

    def __init__(self, config: Config):
        self._config = config
        self._open: OrderedDict[str, OpenRelease] = OrderedDict()

    def open(self, call: Call) -> tuple[OpenRelease, bool]:
        """A call's release, and whether it was open already."""
        warm = call.place in self._open
        if not warm:
            while len(self._open) >= RELEASES_OPEN:
                self._open.popitem(last=False)[1].close()
            # Where not all of it is seen, nobody can guess the name under which the whole is there.
            alias = RELEASE if call.views is None else f"{RELEASE}_{secrets.token_hex(16)}"
            self._open[call.place] = OpenRelease(self._connect(call, alias), call.keys, alias, call.views)
        self._open.move_to_end(call.place)
        return self._open[call.place], warm

    def close(self, call: Call) -> None:
        """Forget a release: its DuckDB may be broken or full, or its files gone."""
        if found := self._open.pop(call.place, None):
            found.close()

    def _connect(self, call: Call, alias: str) -> duckdb.DuckDBPyConnection:
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
            connection.execute(call.attach.replace(f" AS {RELEASE} (", f" AS {alias} ("))
            connection.execute(f"ATTACH ':memory:' AS {CATALOG}")
            lock_down(connection, call.allowed)
        except BaseException:
            connection.close()
            raise
        return connection
