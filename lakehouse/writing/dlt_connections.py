"""How dlt opens its connections to the lake: imported where a pipeline is made, since dlt takes a second to import."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import duckdb
from dlt.common.configuration import resolve
from dlt.common.configuration.providers import environ
from dlt.common.configuration.specs import base_configuration
from dlt.common.destination import Destination
from dlt.destinations.impl.duckdb.configuration import DuckDbConnectionPool
from dlt.destinations.impl.ducklake import configuration

from lakehouse.lake.connections import ONLY_AT_CONNECT

TIMEZONE = "TimeZone"


class ConnectionPool(DuckDbConnectionPool):
    """dlt's, and `global_config` may hold what only `duckdb.connect` can be told.

    dlt (1.31) SETs it on the open connection. It opens six in a load, and each would spend 0.4 s of a processor
    on the signatures of extensions. This can go when dlt passes it on.
    """

    def borrow_conn(
        self,
        global_config: dict[str, Any] | None = None,
        local_config: dict[str, Any] | None = None,
        pragmas: list[str] | None = None,
    ) -> duckdb.DuckDBPyConnection:
        """A connection of its own."""
        config = {**(self.credentials.global_config or {}), **(global_config or {})}
        if ONLY_AT_CONNECT not in config or not self.always_open_connection:
            return super().borrow_conn(global_config or {}, local_config or {}, pragmas or [])
        timezone = config.pop(TIMEZONE, "UTC")
        connection = duckdb.connect(config=config)
        try:
            self._apply_config(connection, "GLOBAL", {TIMEZONE: timezone})
            self._execute_statements(connection)
            self._apply_local_config(connection, local_config or {}, pragmas or [])
        except BaseException:
            connection.close()
            raise
        with self._conn_lock:
            self._conn_borrows += 1
        return connection


def _remembered(function: Callable[..., Any]) -> Callable[..., Any]:
    known = cache(function)

    def ask(hint: Any, *arguments: Any, **options: Any) -> Any:
        try:
            return known(hint, *arguments, **options)
        except TypeError:  # a hint that has a list in it can't be looked up
            return function(hint, *arguments, **options)

    return ask


@cache
def install() -> None:
    """Let dlt's credentials of a DuckLake make this pool: what it resolves is a copy that no subclass survives.

    And let dlt (1.31) remember what a type hint means: it asks twelve thousand times in a load, of the same few, which
    is a third of what a small one takes.
    """
    configuration.DuckDbConnectionPool = ConnectionPool  # type: ignore[attr-defined]
    for name in ("is_secret_hint", "extract_inner_hint"):
        remembered = _remembered(getattr(base_configuration, name))
        for module in (base_configuration, resolve, environ):
            if hasattr(module, name):
                setattr(module, name, remembered)


def remember_capabilities(destination: Destination) -> None:
    """Let dlt (1.31) resolve once what its destination can do, not eleven times: a fifth of a small load."""
    ask = destination.capabilities
    credentials = destination.config_params["credentials"].copy()
    resolved = destination.configuration(destination.spec(credentials=credentials), accept_partial=True)
    destination.capabilities = lambda config=None, naming=None: ask(config or resolved, naming)  # type: ignore[method-assign]
