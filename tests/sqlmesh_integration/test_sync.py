"""What SQLMesh knows shows in Dagster, without a run."""

import dagster as dg

from lakehouse_assets.sqlmesh_integration.sync import Synced, sync_partitions
from tests.sqlmesh_integration.sandbox import Sandbox, moment

DAY = "marts.daily_revenue"


def sync(shop: Sandbox) -> Synced:
    return sync_partitions(shop.instance, shop.resource, [shop.assets()])


def test_a_fresh_instance_shows_every_computed_day_and_model(shop: Sandbox) -> None:
    synced = sync(shop)
    assert synced.materialized[DAY] == len(shop.partitions("marts", "daily_revenue")) > 1000
    assert synced.materialized["marts.customer_revenue"] == 1
    assert shop.instance.get_latest_materialization_event(dg.AssetKey(["marts", "customer_revenue"]))
    assert not sync(shop)


def test_days_that_sqlmesh_holds_missing_show_as_missing(shop: Sandbox) -> None:
    sync(shop)
    shop.resource.mark_missing({DAY: [(moment("2024-01-10"), moment("2024-01-12"))]})
    assert sync(shop).missing == {DAY: 2}
    assert {"2024-01-10", "2024-01-11"}.isdisjoint(shop.partitions("marts", "daily_revenue"))
    shop.run()
    assert {"2024-01-10", "2024-01-11"} <= shop.partitions("marts", "daily_revenue")
    assert not sync(shop)


def test_a_breaking_deploy_shows_every_day_as_missing_until_it_is_computed(shop: Sandbox) -> None:
    sync(shop)
    file = shop.folder / "models" / "daily_growth.sql"
    file.write_text(file.read_text().replace("daily.revenue_usd::DOUBLE", "(daily.revenue_usd * 2)::DOUBLE"))
    shop.deploy()
    assert sync(shop).missing["marts.daily_growth"] > 1000
    assert shop.partitions("marts", "daily_growth") == set()
    shop.run()
    assert "2024-01-31" in shop.partitions("marts", "daily_growth")


def test_a_whole_model_written_elsewhere_gets_an_event(shop: Sandbox) -> None:
    sync(shop)
    elsewhere = Sandbox(shop.folder)
    elsewhere.run("marts.customer_revenue", by_hand=True)
    assert sync(shop).materialized == {"marts.customer_revenue": 1}


def test_only_the_models_named_are_looked_at(shop: Sandbox) -> None:
    synced = sync_partitions(shop.instance, shop.resource, [shop.assets()], names=[DAY])
    assert set(synced.materialized) == {DAY}


def test_before_the_first_deploy_there_is_nothing_to_show(empty_shop: Sandbox) -> None:
    assert not sync(empty_shop)
