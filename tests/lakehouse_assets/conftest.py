"""One lakehouse for all tests here, driven in this process: SQLMesh's context lives once per process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from lakehouse import settings as settings_module
from lakehouse.lake.ducklake import Lake
from lakehouse.lake.postgres import connect
from lakehouse.settings import PROJECT_ROOT, Settings
from lakehouse.writing import marks
from lakehouse.writing.marks import Mark
from tests.databases import create_database


@dataclass
class House:
    """A deployed lakehouse, with shorthands for what its users do."""

    lake: Lake
    environment: dict[str, str]
    instance: dg.DagsterInstance
    definitions: dg.Definitions = field(init=False)

    def __post_init__(self) -> None:
        from lakehouse_assets.definitions import build
        from lakehouse_assets.defs.environments import deploying

        deploying.bootstrap(self.lake)
        deploying.deploy(self.lake, "prod", backfill=False, run="test")
        self.definitions = build()

    def land_events(self, name: str, rows: str) -> Path:
        """Land a Parquet file of shop events: `rows` is SQL for (id, user, type, timestamp, revenue)."""
        folder = Path(self.lake.settings.landing_uri) / "ecommerce"
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f"{name}.part"
        duckdb.sql(
            f"""
            COPY (
                SELECT event_id::INT AS event_id, user_id::INT AS user_id, event_type, event_timestamp::TIMESTAMP AS
                event_timestamp, revenue::DECIMAL(12, 2) AS revenue, 'i' AS invoice, 's' AS sku, 'UK' AS country
                FROM ({rows}) AS t (event_id, user_id, event_type, event_timestamp, revenue)
            ) TO '{part}' (FORMAT parquet)
            """
        )
        part.replace(folder / name)
        return folder / name

    def run(self, job: str, *, raise_on_error: bool = True, **options: Any) -> dg.ExecuteInProcessResult:
        """Execute a job on this house's instance."""
        definition = self.definitions.resolve_job_def(job)
        return definition.execute_in_process(instance=self.instance, raise_on_error=raise_on_error, **options)

    def load_events(self, **options: Any) -> dg.ExecuteInProcessResult:
        """Materialize the shop's raw table alone."""
        return self.run("ingest", asset_selection=[dg.AssetKey(["raw", "ecommerce__events"])], **options)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Ask the lake's head."""
        with closing(self.lake.connect(read_only=True)) as connection:
            return connection.execute(sql).fetchall()

    def computed_at(self, table: str = "marts.daily_revenue", day: str = "event_date") -> dict[str, Any]:
        """When each day's row was computed."""
        return dict(self.rows(f"SELECT {day}::VARCHAR, computed_at FROM {table}"))

    def marks(self, kind: str) -> list[Mark]:
        """What is unfinished."""
        with closing(connect(self.lake.settings)) as connection:
            return marks.read(connection, kind)

    def loader(self) -> subprocess.Popen[bytes]:
        """A process that loads the shop's events, to be killed."""
        program = "from tests.lakehouse_assets.loader import main; main()"
        return subprocess.Popen(
            [sys.executable, "-c", program], env={**os.environ, **self.environment}, stdout=-1, stderr=-1
        )


@contextmanager
def lived_in(environment: dict[str, str]) -> Iterator[Settings]:
    """This process's settings name the house while this lasts; tests of other files see nothing of it."""
    with pytest.MonkeyPatch.context() as patch:
        for key, value in environment.items():
            patch.setenv(key, value)
        settings_module.load_settings.cache_clear()
        yield settings_module.load_settings()
    settings_module.load_settings.cache_clear()


@pytest.fixture(scope="session")
def built_house(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A lakehouse with every model deployed and nothing loaded."""
    environment = {
        "LAKEHOUSE_DATA_DIR": str(tmp_path_factory.mktemp("house")),
        "LAKEHOUSE_POSTGRES_URL": create_database(server_url),
        "LAKEHOUSE_LOCK_TIMEOUT_SECONDS": "60",
        "LAKEHOUSE_RELEASE_DOCS": "false",  # seconds of each release; its tests turn it on
    }
    # The project's own instance, in PostgreSQL: thousands of partition events take minutes in SQLite.
    home = tmp_path_factory.mktemp("home")
    (home / "dagster.yaml").write_text((PROJECT_ROOT / "dagster_home" / "dagster.yaml").read_text())
    with ExitStack() as stack:
        with lived_in(environment) as settings:  # Dagster's storage is made where the settings say
            instance = stack.enter_context(dg.DagsterInstance.from_config(str(home)))
            built = House(Lake(settings), environment, instance)
        yield built


@pytest.fixture(scope="module")
def house(built_house: House) -> Iterator[House]:
    """The one house, as the tests before have left it."""
    with lived_in(built_house.environment):
        yield built_house


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every model batch that SQLMesh computes from here on."""
    from lakehouse_assets.sqlmesh_integration import engine

    begun: list[Any] = []
    evaluate = engine.RecordingEvaluator.evaluate
    monkeypatch.setattr(
        engine.RecordingEvaluator, "evaluate", lambda self, *a, **k: (begun.append(a), evaluate(self, *a, **k))[1]
    )
    return begun
