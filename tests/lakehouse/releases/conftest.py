"""A lake with tables of every column type, published on a folder and on S3."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from typing import Any

import duckdb
import pytest

from lakehouse import settings as settings_module
from lakehouse.lake.ducklake import Lake
from lakehouse.lake.extensions import extension_directory
from lakehouse.lake.postgres import connect
from lakehouse.releases import log, publishing
from lakehouse.releases.log import Release
from lakehouse.releases.manifest import Lineage
from lakehouse.releases.tables import Written, publish_table
from lakehouse.writing.graph import ServedTable
from tests.databases import empty_lake
from tests.object_store import READER_KEY, READER_SECRET


class Publisher:
    """Cuts and publishes what the lake holds, as the graph does, without models."""

    def __init__(self, lake: Lake, environment: str = "prod") -> None:
        self.lake = lake
        self.environment = environment
        self.pages: dict[str, str] = {}
        """What is released with whatever is cut: the dashboard's pages."""

    def execute(self, *statements: str) -> None:
        """Write to the lake."""
        with closing(self.lake.connect()) as connection:
            for statement in statements:
                connection.execute(statement)

    def cut(self, *tables: ServedTable) -> Release:
        """A candidate at the newest snapshot."""
        with closing(connect(self.lake.settings)) as connection:
            return log.write(
                connection, self.environment, self.lake.newest_snapshot(), tables,
                code_version="v1", run="run 1", author="tester", changed=["test"],
                pages=self.pages,
            )  # fmt: skip

    def publish(
        self, *tables: ServedTable, told: Mapping[str, Mapping[str, Any]] | None = None, lineage: Lineage | None = None
    ) -> dict[str, Written]:
        """Cut and publish. `told`: what models say of a table beside that."""
        release = self.cut(*tables)
        with publishing.publishing(self.lake, self.environment, run="test") as connection:
            before = publishing.last_manifest(self.lake, connection, self.environment)
            elsewhere = publishing.same_content_elsewhere(self.lake, connection, release)
            done = {table.name: publish_table(self.lake, release, table, before, elsewhere) for table in release.tables}
            entries = tuple(replace(one.table, **(told or {}).get(one.table.name, {})) for one in done.values())
            publishing.complete(self.lake, connection, release, entries, lineage)
        return done

    def give_up(self, release: Release) -> None:
        """It was cut and is never published."""
        with closing(connect(self.lake.settings)) as connection:
            log.give_up(connection, release, "a test gave it up")

    def reader(self, attach: str | None = None) -> duckdb.DuckDBPyConnection:
        """A stock DuckDB with rights to read the published zone, and nothing of ours but the extensions' folder."""
        settings = self.lake.settings
        connection = duckdb.connect(
            config={
                "extension_directory": str(extension_directory(settings.cache_dir)),
                "autoinstall_known_extensions": False,
            }
        )
        if settings.stores_on_s3:
            connection.execute(
                f"CREATE SECRET (TYPE s3, KEY_ID '{READER_KEY}', SECRET '{READER_SECRET}', REGION 'us-east-1', "
                f"ENDPOINT '{settings.s3_endpoint.removeprefix('http://')}', URL_STYLE 'path', USE_SSL false)"
            )
        if attach:
            connection.execute(attach)
        return connection


@pytest.fixture
def publisher(
    storage_environment: dict[str, str], lakehouse_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Publisher]:
    """An empty lake on each kind of storage."""
    for name, value in {**lakehouse_environment, **storage_environment}.items():
        monkeypatch.setenv(name, value)
    settings_module.load_settings.cache_clear()
    yield Publisher(empty_lake(settings_module.load_settings()))
    settings_module.load_settings.cache_clear()


def served(name: str, content: str, **options: object) -> ServedTable:
    """A table that is served as it is stored."""
    return ServedTable(name, name, name, content, **options)  # type: ignore[arg-type]
