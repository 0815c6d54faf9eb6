"""A worker's open releases, each in a DuckDB that can read nothing else."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import suppress

import duckdb

from lakehouse.query.calls import Call, Config
from lakehouse.query.guard import CATALOG

RELEASES_OPEN = 2
BUFFERS_SHARE = 0.6
"""The part of a call's memory that DuckDB manages; its scalar functions take theirs beside it."""


class Releases:
    """The releases that are open, each in a DuckDB of its own that can read nothing else."""

    def __init__(self, config: Config):
        self._config = config
        self._open: OrderedDict[str, duckdb.DuckDBPyConnection] = OrderedDict()

    def session(self, call: Call) -> tuple[duckdb.DuckDBPyConnection, bool]:
        """A session for one call, and whether its release was open already."""
        warm = call.attach in self._open
        if not warm:
            while len(self._open) >= RELEASES_OPEN:
                self._open.popitem(last=False)[1].close()
            self._open[call.attach] = self._connect(call)
        self._open.move_to_end(call.attach)
        session = self._open[call.attach].cursor()
        session.execute(f"USE {CATALOG}")
        return session, warm

    def close(self, call: Call) -> None:
        """Forget a release: its DuckDB may be broken, or its files gone."""
        connection = self._open.pop(call.attach, None)
        if connection is not None:
            with suppress(duckdb.Error):
                connection.close()

    def _connect(self, call: Call) -> duckdb.DuckDBPyConnection:
        config = self._config
        connection = duckdb.connect(
            config={
                "extension_directory": config.extension_directory,
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
                "allow_community_extensions": False,
                "allow_unsigned_extensions": False,
                "python_enable_replacements": False,
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
            connection.execute(f"SET allowed_directories = ['{call.allowed.replace(chr(39), chr(39) * 2)}']")
            connection.execute("SET enable_external_access = false")
            connection.execute("SET lock_configuration = true")
        except BaseException:
            connection.close()
            raise
        return connection
