"""Lakes for the models' tests: a real DuckLake over the embedded PostgreSQL, raw filled without dlt."""

from __future__ import annotations

import runpy
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlmesh import Context
from sqlmesh.core.config import Config

from lakehouse.demo.sample import write_sample
from lakehouse.lake.ducklake import Lake
from lakehouse.settings import PROJECT_ROOT, load_settings
from tests.databases import create_database, empty_lake

PROJECT = PROJECT_ROOT / "sqlmesh_project"


@dataclass(frozen=True)
class Warehouse:
    """A lake whose raw tables are filled, and the project's own configuration for it."""

    lake: Lake
    config: Config

    @contextmanager
    def context(self) -> Iterator[Context]:
        """A SQLMesh context, closed afterwards."""
        with closing(Context(paths=[str(PROJECT)], config=self.config)) as context:
            yield context

    def deploy(self, **options: Any) -> None:
        """Plan and apply prod, backfill included."""
        with self.context() as context:
            context.plan("prod", auto_apply=True, no_prompts=True, skip_tests=True, **options)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """All rows of a query over the lake."""
        with closing(self.lake.connect(read_only=True)) as connection:
            return connection.execute(sql).fetchall()

    def execute(self, *statements: str) -> None:
        """Change the lake."""
        with closing(self.lake.connect()) as connection:
            for statement in statements:
                connection.execute(statement)


def make_warehouse(server_url: str, folder: Path) -> Warehouse:
    """A lake of its own with empty raw tables, as external_models.yaml has them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAKEHOUSE_DATA_DIR", str(folder))
        patch.setenv("LAKEHOUSE_POSTGRES_URL", create_database(server_url))
        load_settings.cache_clear()
        lake = empty_lake(load_settings())
        config = runpy.run_path(str(PROJECT / "config.py"))["config"]
        load_settings.cache_clear()
    config.cache_dir = str(folder / "sqlmesh")
    made = Warehouse(lake, config)
    tables = yaml.safe_load((PROJECT / "external_models.yaml").read_text())
    columns = [", ".join(f'"{name}" {kind}' for name, kind in table["columns"].items()) for table in tables]
    made.execute(*(f"CREATE TABLE {table['name']} ({names})" for table, names in zip(tables, columns, strict=True)))
    return made


def fill_raw(made: Warehouse, data: Path) -> None:
    """Put the files below `data`, laid out as the real ones, into raw as dlt would."""
    row = """parse_filename(filename) AS source_file, '1' AS _dlt_load_id,
             row_number() OVER (PARTITION BY filename) AS source_row"""
    made.execute(
        f"""INSERT INTO raw.nyc_collisions__crashes
            SELECT *, 'row-' || collision_id, now(), now(), '1', collision_id
            FROM '{data}/collisions/collisions_soda_strings.parquet'""",
        f"""INSERT INTO raw.nyc_taxi__trips BY NAME
            SELECT * EXCLUDE (filename), {row}
            FROM read_csv('{data}/taxi/yellow_tripdata_sample_*.csv', strict_mode = false, filename = true,
                types = {{'vendor_id': 'VARCHAR', 'rate_code_id': 'VARCHAR', 'payment_type': 'VARCHAR'}})""",
        f"""INSERT INTO raw.nyc_taxi_zones__zones BY NAME
            SELECT locationid AS location_id, * EXCLUDE (locationid, filename), {row}
            FROM read_csv('{data}/taxi/taxi_zone_lookup.csv', filename = true)""",
        f"""INSERT INTO raw.ecommerce__events BY NAME
            SELECT * EXCLUDE (filename), {row}
            FROM read_parquet('{data}/ecommerce/ecommerce_events_*.parquet', filename = true)""",
        f"""INSERT INTO raw.wfp_food_prices__prices BY NAME
            SELECT * EXCLUDE (filename), {row}
            FROM read_csv('{data}/humanitarian/wfp_food_prices_global_*.csv', filename = true, comment = '#')""",
    )


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory, server_url: str, shared_data: Path) -> Warehouse:
    """The real data, deployed to prod."""
    made = make_warehouse(server_url, tmp_path_factory.mktemp("real"))
    fill_raw(made, shared_data)
    made.deploy()
    return made


@pytest.fixture(scope="session")
def sample_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's own sample."""
    folder = tmp_path_factory.mktemp("sample_files")
    write_sample(folder)
    return folder


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory, server_url: str, sample_files: Path) -> Warehouse:
    """The sample, deployed to prod."""
    made = make_warehouse(server_url, tmp_path_factory.mktemp("sample"))
    fill_raw(made, sample_files)
    made.deploy()
    return made


@pytest.fixture
def empty(tmp_path_factory: pytest.TempPathFactory, server_url: str) -> Warehouse:
    """Empty raw tables and nothing deployed, for tests that change the lake."""
    return make_warehouse(server_url, tmp_path_factory.mktemp("empty"))


@pytest.fixture(scope="session")
def deployed_empty(tmp_path_factory: pytest.TempPathFactory, server_url: str) -> Warehouse:
    """Empty raw tables, deployed to prod."""
    made = make_warehouse(server_url, tmp_path_factory.mktemp("deployed_empty"))
    made.deploy()
    return made


@pytest.fixture
def crash() -> Callable[..., str]:
    """The statement that inserts a collision into raw."""

    def statement(collision_id: int, day: str) -> str:
        return (
            "INSERT INTO raw.nyc_collisions__crashes (collision_id, crash_date, number_of_persons_injured) "
            f"VALUES ('{collision_id}', '{day}T00:00:00.000', '1')"
        )

    return statement
