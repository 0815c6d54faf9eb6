"""Dagster's own storage, in the same PostgreSQL as the lake's catalog, in a schema of its own.

dagster.yaml names this class instead of an address, so that every Dagster command finds (and where it is embedded,
starts) the server that the settings name, with nothing exported by hand and no secret in a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Any

from dagster._serdes import ConfigurableClassData
from dagster_postgres.utils import create_pg_engine

from lakehouse.lake.postgres import connect, postgres_url
from lakehouse.settings import load_settings
from lakehouse_assets.sqlmesh_integration.postgres_event_log import BatchingStorage

SCHEMA = "dagster"


class LakehouseStorage(BatchingStorage):
    """PostgreSQL storage at the settings' address, with events in batches and connections that are kept.

    dagster-postgres 0.29 opens a connection for every event, 4 to 9 ms each. A kept one is asked before use whether it
    still answers, so a server that was killed and came back costs nobody an error.
    """

    def __init__(self, postgres_url: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(postgres_url, inst_data=inst_data)
        for storage in (self._event_log_storage, self._run_storage, self._schedule_storage):
            storage._engine = create_pg_engine(
                postgres_url,
                isolation_level="AUTOCOMMIT",
                pool_size=1,
                max_overflow=20,
                pool_recycle=600,
                pool_pre_ping=True,
            )

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
            there = connection.execute("SELECT to_regnamespace(%s) IS NOT NULL", [SCHEMA]).fetchone()
            if not (there and there[0]):  # IF NOT EXISTS wants the right to create even where there is nothing to do
                connection.execute(f"CREATE SCHEMA {SCHEMA}")
            url = postgres_url(settings)
            separator = "&" if "?" in url else "?"
            # Under the lock: two processes that create the tables at once fail each other.
            return cls(f"{url}{separator}options=-csearch_path%3D{SCHEMA}", inst_data=inst_data)
