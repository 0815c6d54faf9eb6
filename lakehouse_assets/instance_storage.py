"""Dagster's own storage, in the same PostgreSQL as the lake's catalog, in a schema of its own.

dagster.yaml names this class instead of an address, so that every Dagster command finds (and where it is embedded,
starts) the server that the settings name, with nothing exported by hand and no secret in a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Any

from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage

from lakehouse.postgres import connect, postgres_url
from lakehouse.settings import load_settings

SCHEMA = "dagster"


class LakehouseStorage(DagsterPostgresStorage):
    """`DagsterPostgresStorage` at the settings' PostgreSQL."""

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """Nothing to configure: the settings say it all."""
        return {}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> LakehouseStorage:
        settings = load_settings()
        with closing(connect(settings)) as connection:
            connection.execute("SELECT pg_advisory_lock(hashtextextended('dagster storage', 0))")
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
            url = postgres_url(settings)
            separator = "&" if "?" in url else "?"
            # Under the lock: two processes that create the tables at once fail each other.
            return cls(f"{url}{separator}options=-csearch_path%3D{SCHEMA}", inst_data=inst_data)
