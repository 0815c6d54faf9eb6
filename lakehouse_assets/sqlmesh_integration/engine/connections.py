"""A project's connections as every process of it needs them: the same files, the same time zone, whoever runs it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlmesh import Context
from sqlmesh.core.config import Config
from sqlmesh.core.config.connection import BaseDuckDBConnectionConfig, DuckDBAttachOptions

# Where a session takes its time zone from the client's process or account: (field of the connection, its entry).
TIME_ZONES = {
    "databricks": ("session_configuration", "spark.sql.session.timeZone"),
    "duckdb": ("connector_config", "TimeZone"),
    "motherduck": ("connector_config", "TimeZone"),
    "snowflake": ("session_parameters", "TIMEZONE"),
    "spark": ("config", "spark.sql.session.timeZone"),
    "trino": ("timezone", None),
}


def settle(config: Config, folder: Path) -> None:
    """Make a project's connections independent of the process: UTC, and relative files from the project's folder."""
    gateways = config.gateways.values() if isinstance(config.gateways, dict) else [config.gateways]
    found = [config.default_connection, config.default_test_connection_]
    for gateway in gateways:
        found += [gateway.connection, gateway.state_connection, gateway.test_connection]
    for connection in found:
        if connection is not None:
            pin_utc(connection)
            if isinstance(connection, BaseDuckDBConnectionConfig):
                anchor_files(connection, folder)


def pin_utc(connection: Any) -> None:
    """Let the connection's sessions be in UTC, if its settings name no time zone.

    DuckDB takes the process's: a cast of TIMESTAMPTZ to DATE would give another day where a laptop runs the models
    than where a server does. Engines that are not named above take their server's, the same for every client.
    """
    name, entry = TIME_ZONES.get(connection.type_, (None, None))
    if name is None:
        return
    given = getattr(connection, name)
    if entry is None:
        setattr(connection, name, given or "UTC")
        return
    opened = connection._static_connection_kwargs.get("config")  # of a subclass; DuckDB's own has none
    known = {str(key).lower() for key in [*(given or {}), *(opened if isinstance(opened, dict) else {})]}
    if entry.lower() not in known:
        setattr(connection, name, {**(given or {}), entry: "UTC"})


def pin_unit_tests(context: Context) -> None:
    """The same for the database that SQLMesh makes for unit tests where the project names none."""
    config = context.config
    if config.default_test_connection_ is None:
        made = config.get_default_test_connection(context.default_catalog, config.dialect or "")
        pin_utc(made)
        config.default_test_connection_ = made


def anchor_files(connection: BaseDuckDBConnectionConfig, folder: Path) -> None:
    """Read relative DuckDB and DuckLake files from the project's folder, as SQLMesh's own command line does there.

    Against Dagster's working directory each would be a new file: an empty prod, with no error.
    """
    if connection.type_ != "duckdb":
        return
    connection.database = _anchored(connection.database, folder)
    catalogs: dict[str, Any] = {}
    for name, options in (connection.catalogs or {}).items():
        if isinstance(options, DuckDBAttachOptions):
            options.path = _anchored(options.path, folder)
            options.data_path = _anchored(options.data_path, folder)
        catalogs[name] = _anchored(options, folder) if isinstance(options, str) else options
    connection.catalogs = catalogs or connection.catalogs


def _anchored(path: Any, folder: Path) -> Any:
    """An absolute path; what is no path of a file (`:memory:`, `md:…`, `s3://…`, `postgres:…`) as it is."""
    if not isinstance(path, str) or not path or ":" in path or Path(path).is_absolute():
        return path
    return str(folder / path) + ("/" if path.endswith("/") else "")


def files_of(config: Config) -> Iterator[Path]:
    """The DuckDB files that hold the project's state or tables."""
    gateways = config.gateways.values() if isinstance(config.gateways, dict) else [config.gateways]
    for gateway in gateways:
        for connection in (gateway.connection, gateway.state_connection):
            database = getattr(connection, "database", None)
            if isinstance(connection, BaseDuckDBConnectionConfig) and isinstance(database, str) and ":" not in database:
                yield Path(database)
