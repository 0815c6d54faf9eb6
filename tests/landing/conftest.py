"""A lakehouse with one dataset's table, on a folder and on S3 alike, and what its users do with files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import Result
from rich.console import Console
from typer.testing import CliRunner

from dlt_sources.datasets import ecommerce
from dlt_sources.landing.tables import create_tables
from lakehouse import settings as settings_module
from lakehouse.cli import alerts as alerts_cli
from lakehouse.cli.status import render_status
from lakehouse.lake.ducklake import Lake
from lakehouse.lake.postgres import connect
from lakehouse.writing import marks
from lakehouse.writing.pipelines import lake_pipeline
from lakehouse_assets.cli import landing as landing_cli
from lakehouse_assets.defs.ingestion.assets import LANDING_IO, landing_key, source_assets
from lakehouse_assets.defs.jobs import landing_sensor
from lakehouse_assets.io_managers import LandingIOManagerFactory
from lakehouse_assets.resources import LakeResource, StorageResource
from tests.databases import empty_lake

EVENTS = "event_id,user_id,event_type,event_timestamp,revenue,invoice,sku,country\n"


def event(number: int, revenue: str = "1.00", day: str = "2024-01-01") -> str:
    """One line of a file of shop events."""
    return f"{number},7,purchase,{day} 10:00:00,{revenue},A1,S1,France\n"


def with_tables(lake: Lake) -> None:
    """The dataset's table, empty."""
    lake.settings.pipelines_dir.mkdir(parents=True, exist_ok=True)
    create_tables(lake_pipeline(lake, "ecommerce"), ecommerce())


@dataclass
class LandingHouse:
    """A lakehouse whose shop events are landed, loaded and looked at."""

    lake: Lake
    instance: dg.DagsterInstance
    desk: Path
    environment: dict[str, str]
    definitions: dg.Definitions = field(init=False)

    def __post_init__(self) -> None:
        self.define("ecommerce")

    def define(self, dataset: str) -> None:
        """The code location of one dataset: its asset and its sensor."""
        assets = source_assets(dataset)
        self.definitions = dg.Definitions(
            assets=[assets, dg.AssetSpec(landing_key(dataset))],
            sensors=[landing_sensor(dataset, assets)],
            resources={"lake": LakeResource(), LANDING_IO: LandingIOManagerFactory(storage=StorageResource())},
        )

    def file(self, name: str, content: str | bytes) -> Path:
        """A file on the user's desk."""
        path = self.desk / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def command(self, *arguments: object, typed: str | None = None) -> Result:
        """`lakehouse …`, in this process, on a wide terminal."""
        return CliRunner().invoke(
            landing_cli.app, [str(argument) for argument in arguments], input=typed, env={"COLUMNS": "200"}
        )

    def upload(self, *paths: Path, options: tuple[str, ...] = ()) -> Result:
        """`lakehouse upload … --dataset ecommerce`."""
        return self.command("upload", *paths, "--dataset", "ecommerce", *options)

    def load(self, *, raise_on_error: bool = True) -> dg.ExecuteInProcessResult:
        """Materialize the raw table."""
        job = self.definitions.resolve_implicit_global_asset_job_def()
        return job.execute_in_process(instance=self.instance, raise_on_error=raise_on_error)

    def tick(self) -> Any:
        """One evaluation of the landing sensor."""
        context = dg.build_sensor_context(instance=self.instance, definitions=self.definitions)
        return self.definitions.get_sensor_def("ecommerce_landing_sensor")(context)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Ask the lake's head."""
        with closing(self.lake.connect(read_only=True)) as connection:
            return connection.execute(sql).fetchall()

    def per_file(self) -> dict[str, int]:
        """Rows in the lake by the file that they came from."""
        return dict(self.rows("SELECT source_file, count(*) FROM raw.ecommerce__events GROUP BY ALL"))

    def landed(self) -> dict[str, str]:
        """Key -> state, as `lakehouse files --json` tells it."""
        import json

        done = self.command("files", "ecommerce", "--json")
        assert done.exit_code == 0, done.output
        return {entry["key"]: entry["state"] for entry in json.loads(done.stdout)}

    def alerts(self) -> str:
        """`lakehouse alerts`."""
        return CliRunner().invoke(alerts_cli.app, ["alerts"], env={"COLUMNS": "200"}).stdout

    def status(self) -> str:
        """`lakehouse status`."""
        console = Console(width=200)
        with console.capture() as shown:
            console.print(render_status(self.lake))
        return shown.get()

    def marks(self) -> list[marks.Mark]:
        """Unfinished loads."""
        with closing(connect(self.lake.settings)) as connection:
            return marks.read(connection, "load")


@pytest.fixture
def house(
    storage_environment: dict[str, str],
    lakehouse_environment: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[LandingHouse]:
    """On a folder, and for `make prove` on S3."""
    environment = {**lakehouse_environment, **storage_environment}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("lakehouse.landing.zones.SETTLE_SECONDS", 0.0)
    settings_module.load_settings.cache_clear()
    with dg.DagsterInstance.ephemeral() as instance:
        yield LandingHouse(
            empty_lake(settings_module.load_settings(), with_tables), instance, tmp_path / "desk", environment
        )
    settings_module.load_settings.cache_clear()
