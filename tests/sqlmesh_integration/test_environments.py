"""Environments beside prod: what they share is never written from them, what they changed is theirs."""

from __future__ import annotations

import logging

import pytest

from lakehouse_assets.sqlmesh_integration.environments import drop, look_at_promotion
from tests.sqlmesh_integration.sandbox import Ran, Sandbox, moment

DAY = "marts.daily_revenue"
JANUARY_10 = [(moment("2024-01-10"), moment("2024-01-11"))]


@pytest.fixture
def dev(shop: Sandbox) -> Sandbox:
    """A developer's environment, with prod's models as they are."""
    dev = shop.in_environment("dev")
    dev.deploy()
    return dev


def change_growth(shop: Sandbox) -> None:
    file = shop.folder / "models" / "daily_growth.sql"
    file.write_text(file.read_text().replace("daily.revenue_usd::DOUBLE", "(daily.revenue_usd * 2)::DOUBLE"))


def test_outside_prod_the_environment_leads_the_asset_key(dev: Sandbox) -> None:
    keys = {"/".join(key.path) for key in dev.assets().keys}
    assert "dev/marts/daily_revenue" in keys


@pytest.mark.parametrize("by_hand", [True, False])
def test_a_table_that_prod_uses_is_neither_recomputed_nor_caught_up(dev: Sandbox, by_hand: bool) -> None:
    before = dev.stamps(DAY)
    ran = dev.run(DAY, partition="2024-01-10" if by_hand else None, touched={DAY: JANUARY_10}, by_hand=by_hand)
    assert ran.success
    assert dev.stamps(DAY) == before
    assert ran.outcomes[DAY].state == "shared"
    assert "belongs to prod" in ran.outcomes[DAY].reason
    assert dev.resource.deployed()[DAY].missing == ()


def test_a_name_that_sqlmesh_writes_otherwise_is_the_same_environment(shop: Sandbox) -> None:
    request = shop.in_environment("pr-12")
    request.deploy()
    ran = request.run()
    assert ran.success, ran.failure
    assert ran.outcomes[DAY].state == "shared"
    assert request.resource.deployed()
    assert look_at_promotion(shop.project, "pr-12", "prod").source == "pr_12"
    drop(shop.project, "pr-12")
    assert not request.resource.deployed()


def test_a_changed_model_is_computed_in_its_own_table(dev: Sandbox) -> None:
    change_growth(dev)
    dev.deploy()
    assert dev.resource.deployed()["marts.daily_growth"].owner == "dev"
    assert dev.run().outcomes["marts.daily_growth"].state == "computed"
    statement = "SELECT revenue_usd FROM {}.daily_growth WHERE ordered_on = '2024-01-10'"
    ((prod,),) = dev.query(statement.format("marts"))
    ((changed,),) = dev.query(statement.format("marts__dev"))
    assert changed == prod * 2


@pytest.mark.slow
def test_a_promoted_table_belongs_to_prod_from_then_on(shop: Sandbox, dev: Sandbox) -> None:
    change_growth(dev)
    dev.deploy()
    dev.run()
    before = dev.stamps("marts__dev.daily_growth")
    shop.deploy()
    assert shop.stamps("marts.daily_growth") == before
    assert dev.resource.deployed()["marts.daily_growth"].owner == "prod"
    assert shop.resource.deployed()["marts.daily_growth"].missing == ()


@pytest.mark.slow
def test_a_forward_only_change_is_marked_missing_in_its_own_intervals(dev: Sandbox) -> None:
    file = dev.folder / "models" / "daily_growth.sql"
    text = file.read_text().replace("(time_column ordered_on)", "(time_column ordered_on, forward_only true)")
    file.write_text(text.replace("daily.revenue_usd::DOUBLE AS", "(daily.revenue_usd * 2)::DOUBLE AS"))
    dev.deploy()
    name = "marts.daily_growth"
    prod = Sandbox(dev.folder).resource
    dev.run(name)
    assert dev.resource.deployed()[name].missing == ()
    dev.resource.mark_missing({name: JANUARY_10})
    assert dev.resource.deployed()[name].missing == tuple(JANUARY_10)
    assert prod.deployed()[name].missing == ()


@pytest.mark.slow
def test_the_first_environment_in_the_order_of_precedence_owns_a_table(shop: Sandbox) -> None:
    qa = shop.in_environment("qa", precedence=("prod", "qa"))
    change_growth(shop)
    qa.deploy()
    dev = shop.in_environment("dev", precedence=("prod", "qa"))
    dev.deploy()
    assert dev.resource.deployed()["marts.daily_growth"].owner == "qa"
    assert qa.resource.deployed()["marts.daily_growth"].owner == "qa"


def test_code_that_differs_from_what_is_deployed_is_a_warning_on_the_run_and_on_the_asset(shop: Sandbox) -> None:
    assert warnings_of(shop.run("marts.daily_growth", partition="2024-01-10", by_hand=True), shop) == []
    change_growth(shop)
    ran = shop.run("marts.daily_growth", partition="2024-01-10", by_hand=True)
    assert warnings_of(ran, shop) == [
        "The checked-out code of marts.daily_growth differs from what is deployed in prod; "
        "the deployed code runs. Deploy to change that."
    ]
    metadata = ran.materialization("marts", "daily_growth").metadata
    assert "differs from the deployed code" in str(metadata["sqlmesh/warning"].value)
    deployed = shop.resource.deployed()["marts.daily_growth"].data_hash
    tags = ran.materialization("marts", "daily_growth").tags
    assert tags["dagster/code_version"] == deployed  # so that the web UI shows the asset as behind its code
    growth = shop.query("SELECT revenue_usd FROM marts.daily_growth WHERE ordered_on = '2024-01-10'")
    assert growth == shop.query("SELECT revenue_usd FROM marts.daily_revenue WHERE ordered_on = '2024-01-10'")


def warnings_of(ran: Ran, shop: Sandbox) -> list[str]:
    """What stands in the run's log for the person who looks at it."""
    logged = shop.instance.all_logs(ran.result.run_id)
    return [entry.user_message for entry in logged if entry.level == logging.WARNING]


def test_a_deployed_model_names_what_it_reads(shop: Sandbox) -> None:
    models = shop.resource.deployed()
    assert models["staging.stg_shop__orders"].external == ("raw.shop__orders",)
    assert models["staging.stg_shop__orders"].is_view
    assert models["marts.daily_growth"].upstream == (DAY,)
    assert models["marts.large_orders_by_day"].upstream == ("staging.stg_shop__orders",)  # through the embedded one
