"""The same promises on what this project runs on: DuckLake in PostgreSQL, SQLMesh's state beside it."""

from collections.abc import Iterator
from contextlib import closing

import pytest
import yaml
from sqlmesh.core.config import DuckDBConnectionConfig

from lakehouse.lake.ducklake import ALIAS, METADATA_SCHEMA, Lake
from lakehouse.settings import Settings
from tests.databases import create_database, empty_lake
from tests.sqlmesh_integration.conftest import ORDERS
from tests.sqlmesh_integration.sandbox import Sandbox, moment

DAY = "marts.daily_revenue"


class LakeSandbox(Sandbox):
    """A sandbox whose tables lie in the lake."""

    lake: Lake

    def query(self, statement: str) -> list[tuple[object, ...]]:
        with closing(self.lake.connect()) as connection:
            return connection.sql(statement).fetchall()

    def execute(self, statement: str) -> None:
        with closing(self.lake.connect()) as connection:
            connection.execute(statement)


@pytest.fixture(scope="module")
def shop(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LakeSandbox]:
    """The shop on a lake of its own, deployed and computed once. Its tests leave it right, not as it was."""
    folder = tmp_path_factory.mktemp("shop")
    lake = empty_lake(Settings(data_dir=folder / "data", postgres_url=create_database(server_url)))
    shop = LakeSandbox.of("shop", folder)
    shop.lake = lake
    host, database = (word.split("=", 1)[1] for word in sorted(lake.catalog.removeprefix("postgres:").split())[1::-1])
    config = yaml.safe_load((shop.folder / "config.yaml").read_text())
    config["gateways"]["local"] = {
        "connection": {
            "type": "duckdb",
            "catalogs": {
                ALIAS: {
                    "type": "ducklake",
                    "path": lake.catalog,
                    "data_path": lake.data_path,
                    "metadata_schema": METADATA_SCHEMA,
                }
            },
            "register_comments": False,
        },
        "state_connection": {
            "type": "postgres", "host": host, "port": 5432, "user": "postgres", "password": "", "database": database,
        },
    }  # fmt: skip
    (shop.folder / "config.yaml").write_text(yaml.safe_dump(config))
    for statement in ORDERS.split(";")[1:]:  # the zone raw is there
        shop.execute(statement)
    with pytest.MonkeyPatch.context() as patch:  # as sqlmesh_project/config.py has it
        options = property(lambda _: {"config": lake.duckdb_config()})
        patch.setattr(DuckDBConnectionConfig, "_static_connection_kwargs", options)
        shop.deploy()
        ran = shop.run()
        assert ran.success, ran.failure
        yield shop


def test_deploy_catch_up_touch_recompute_fail_and_heal(shop: LakeSandbox) -> None:
    assert shop.query("SELECT COUNT(*) FROM marts.daily_revenue") == [(31,)]
    before = shop.stamps(DAY)
    january_10 = [(moment("2024-01-10"), moment("2024-01-11"))]

    shop.execute("INSERT INTO raw.shop__orders VALUES (999, 'dan', '2024-01-10 12:00', 500)")
    assert shop.run(touched={DAY: january_10, "marts.customer_revenue": None}).success
    touched = shop.stamps(DAY)
    assert {day for day in touched if touched[day] != before[day]} == {"2024-01-10"}
    assert shop.query("SELECT revenue_usd FROM marts.customer_revenue WHERE customer = 'dan'") == [(500,)]

    assert shop.run(DAY, partitions=("2024-01-20", "2024-01-21"), by_hand=True).success
    again = shop.stamps(DAY)
    assert {day for day in again if again[day] != touched[day]} == {"2024-01-20", "2024-01-21"}

    shop.execute("UPDATE raw.shop__orders SET amount_usd = -5 WHERE ordered_at::DATE = '2024-01-10'")
    failed = shop.run(touched={DAY: january_10})
    assert "marts.daily_revenue: audit positive_revenue found 1 row" in failed.failure
    assert shop.resource.deployed()[DAY].missing == tuple(january_10)
    shop.execute("UPDATE raw.shop__orders SET amount_usd = 5 WHERE ordered_at::DATE = '2024-01-10'")
    assert shop.run().success
    assert shop.resource.deployed()[DAY].missing == ()


@pytest.mark.slow
def test_another_environment_reads_prods_tables_and_writes_its_own(shop: LakeSandbox) -> None:
    dev = LakeSandbox(shop.folder, "dev")
    dev.lake = shop.lake
    dev.deploy()
    assert dev.run(DAY, by_hand=True).outcomes[DAY].state == "shared"
    file = shop.folder / "models" / "daily_growth.sql"
    file.write_text(file.read_text().replace("daily.revenue_usd::DOUBLE", "(daily.revenue_usd * 2)::DOUBLE"))
    dev.deploy()
    assert dev.run("marts.daily_growth").outcomes["marts.daily_growth"].state == "computed"
    ((prod,),) = shop.query("SELECT SUM(revenue_usd) FROM marts.daily_revenue")
    ((changed,),) = shop.query("SELECT SUM(revenue_usd) FROM marts__dev.daily_growth")
    assert changed == 2 * prod
