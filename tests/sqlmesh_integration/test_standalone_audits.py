"""Standalone audits: checks of what they read, made whenever any of it was computed."""

from __future__ import annotations

import dagster as dg
import pytest

from tests.sqlmesh_integration.conftest import ORDERS
from tests.sqlmesh_integration.sandbox import Sandbox, Saved

GROWTH = dg.AssetKey(["marts", "daily_growth"])
SAME_REVENUE = """
AUDIT (name same_revenue, standalone true);

SELECT daily.ordered_on, daily.revenue_usd, growth.revenue_usd AS grown
FROM marts.daily_revenue AS daily
JOIN marts.daily_growth AS growth ON growth.ordered_on = daily.ordered_on
WHERE growth.revenue_usd <> daily.revenue_usd
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """The shop with a standalone audit over two of its models, computed."""
    shop = Sandbox.of("shop", tmp_path_factory.mktemp("audited"))
    (shop.folder / "audits" / "same_revenue.sql").write_text(SAME_REVENUE)
    shop.execute(ORDERS)
    shop.deploy()
    ran = shop.run()
    assert ran.success, ran.failure
    assert ran.checks["daily_growth", "same_revenue"].passed
    return Saved.of(shop)


@pytest.fixture
def audited(saved: Saved) -> Sandbox:
    return saved.put_back()


def test_it_is_a_check_of_the_most_downstream_model_and_depends_on_the_others(audited: Sandbox) -> None:
    (check,) = [check for check in audited.assets().check_specs if check.name == "same_revenue"]
    assert check.asset_key == GROWTH
    assert [dep.asset_key for dep in check.additional_deps] == [dg.AssetKey(["marts", "daily_revenue"])]
    assert check.description == (
        "The standalone audit `same_revenue` over marts.daily_growth, marts.daily_revenue finds no row; "
        "a failure only warns."
    )


def test_a_failure_warns_with_its_rows_and_fails_nothing(audited: Sandbox) -> None:
    table = audited.resource.deployed()["marts.daily_growth"].physical_table
    audited.execute(f"UPDATE {table} SET revenue_usd = 1 WHERE ordered_on IN ('2024-01-05', '2024-01-06')")
    ran = audited.run("marts.daily_growth", partition="2024-01-06", by_hand=True)
    assert ran.success, ran.failure
    failed = ran.checks["daily_growth", "same_revenue"]
    assert not failed.passed
    assert failed.severity == dg.AssetCheckSeverity.WARN
    assert failed.metadata["failed_rows"].value == 1
    assert "2024-01-05" in str(failed.metadata["sample"].value)
    assert "daily_growth" in str(failed.metadata["query"].value)


def test_a_run_over_another_model_that_it_reads_makes_it_too(audited: Sandbox) -> None:
    audited.execute("UPDATE raw.shop__orders SET amount_usd = 7 WHERE ordered_at::DATE = '2024-01-10'")
    assert audited.run("marts.daily_revenue", partition="2024-01-10", by_hand=True).success
    assert not newest(audited).passed
    assert audited.run("marts.daily_growth", partition="2024-01-10", by_hand=True).success
    assert newest(audited).passed


def test_it_is_not_made_while_a_model_that_it_reads_is_unfinished(audited: Sandbox) -> None:
    audited.execute("UPDATE raw.shop__orders SET amount_usd = -5 WHERE ordered_at::DATE = '2024-01-11'")
    ran = audited.run("marts.daily_revenue", "marts.daily_growth", partitions=("2024-01-10", "2024-01-11"))
    assert not ran.success
    assert ("daily_growth", "same_revenue") not in ran.checks


def test_one_that_cannot_be_run_has_failed_and_says_why(audited: Sandbox) -> None:
    table = audited.resource.deployed()["marts.daily_revenue"].physical_table
    audited.execute(f"ALTER TABLE {table} RENAME COLUMN revenue_usd TO revenue")
    key = dg.AssetCheckKey(GROWTH, "same_revenue")
    result = dg.materialize(
        [audited.assets()], resources={"sqlmesh": audited.resource}, selection=dg.AssetSelection.checks(key)
    )
    (evaluation,) = result.get_asset_check_evaluations()
    assert not evaluation.passed
    assert "same_revenue could not be run: BinderException" in str(evaluation.description)


def test_an_environment_of_its_own_makes_it_over_its_own_tables(audited: Sandbox) -> None:
    model = audited.folder / "models" / "daily_growth.sql"
    model.write_text(model.read_text().replace("daily.revenue_usd::DOUBLE", "(daily.revenue_usd * 2)::DOUBLE"))
    dev = audited.in_environment("dev")
    dev.deploy()
    ran = dev.run()
    assert ran.success, ran.failure
    assert ran.checks["daily_growth", "same_revenue"].metadata["failed_rows"].value == 31
    assert (
        audited.run("marts.daily_growth", partition="2024-01-10", by_hand=True)
        .checks["daily_growth", "same_revenue"]
        .passed
    )


def newest(shop: Sandbox) -> dg.AssetCheckEvaluation:
    key = dg.AssetCheckKey(GROWTH, "same_revenue")
    record = shop.instance.event_log_storage.get_latest_asset_check_execution_by_key([key])[key]
    assert record.event is not None
    return record.event.dagster_event.asset_check_evaluation_data
