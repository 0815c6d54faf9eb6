"""A check's result stays in sight until its model's content changes: runs that leave a model alone don't hide it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import dagster as dg
import pytest
from dagster._core.loader import LoadingContextForTest
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionResolvedStatus as Shown

from lakehouse_assets.sqlmesh_integration.sync import sync_partitions
from tests.sqlmesh_integration.sandbox import Sandbox, moment

T = TypeVar("T")
DAY = "marts.daily_revenue"
POSITIVE = dg.AssetCheckKey(dg.AssetKey(["marts", "daily_revenue"]), "positive_revenue")
NOT_NULL = dg.AssetCheckKey(dg.AssetKey(["marts", "customer_revenue"]), "not_null_customer")
TOUCHED = {DAY: [(moment("2024-01-10"), moment("2024-01-11"))]}


def shown(shop: Sandbox, key: dg.AssetCheckKey = POSITIVE) -> Shown | None:
    """What the web UI shows of a check."""
    record = shop.instance.event_log_storage.get_latest_asset_check_execution_by_key([key]).get(key)
    return None if record is None else answer(record.resolve_status(LoadingContextForTest(shop.instance)))


def shown_of_newest(shop: Sandbox, key: dg.AssetCheckKey = POSITIVE) -> Shown | None:
    """What the web UI shows of a check beside its asset: nothing when it was made of an earlier materialization."""
    record = shop.instance.event_log_storage.get_latest_asset_check_execution_by_key([key])[key]
    is_of_it = answer(record.targets_latest_materialization(LoadingContextForTest(shop.instance)))
    return shown(shop, key) if is_of_it else None


def answer(coroutine: Coroutine[Any, Any, T]) -> T:
    with ThreadPoolExecutor(1) as pool:  # a browser of other tests may have an event loop in this thread
        return pool.submit(asyncio.run, coroutine).result()


def test_a_catch_up_that_leaves_a_model_as_it_is_leaves_its_result(shop: Sandbox) -> None:
    assert shop.run(touched=TOUCHED).success
    assert shown(shop) is Shown.SUCCEEDED
    assert shop.run().outcomes[DAY].state == "up_to_date"
    assert shown(shop) is Shown.SUCCEEDED
    assert shown(shop, NOT_NULL) is None  # never evaluated, and not skipped either


def test_a_failed_result_stays_until_its_model_is_healed(shop: Sandbox) -> None:
    shop.execute("UPDATE raw.shop__orders SET amount_usd = -5 WHERE ordered_at::DATE = '2024-01-10'")
    assert not shop.run(touched=TOUCHED).success
    assert shop.run("marts.customer_revenue", by_hand=True).success
    assert shown(shop) is Shown.FAILED
    shop.execute("UPDATE raw.shop__orders SET amount_usd = 5 WHERE ordered_at::DATE = '2024-01-10'")
    assert shop.run().success
    assert shown(shop) is Shown.SUCCEEDED


@pytest.mark.slow
def test_a_model_that_is_skipped_keeps_its_result(shop: Sandbox) -> None:
    file = shop.folder / "models" / "daily_growth.sql"
    file.write_text(file.read_text().replace("kind INC", "audits (not_null(columns := (revenue_usd))),\n  kind INC"))
    growth = dg.AssetCheckKey(dg.AssetKey(["marts", "daily_growth"]), "not_null")
    shop.deploy()
    both = {**TOUCHED, "marts.daily_growth": TOUCHED[DAY]}
    assert shop.run(touched=both).success
    shop.execute("UPDATE raw.shop__orders SET amount_usd = -5 WHERE ordered_at::DATE = '2024-01-10'")
    assert shop.run(touched=both).outcomes["marts.daily_growth"].state == "skipped"
    assert shown(shop, growth) is Shown.SUCCEEDED


def test_a_run_that_breaks_a_model_before_its_audits_says_that_they_were_not_made(shop: Sandbox) -> None:
    assert shop.run(touched=TOUCHED).success
    shop.execute("ALTER TABLE raw.shop__orders RENAME COLUMN amount_usd TO amount")
    assert not shop.run(touched=TOUCHED).success
    assert shown(shop) is Shown.EXECUTION_FAILED


def test_a_run_that_came_to_no_model_leaves_every_result(shop: Sandbox) -> None:
    assert shop.run(touched=TOUCHED).success
    (shop.folder / "state.db").rename(shop.folder / "elsewhere.db")
    assert not shop.run().success
    assert shown(shop) is Shown.SUCCEEDED


def test_a_backfill_leaves_its_result_and_no_announcement_for_each_partition(shop: Sandbox) -> None:
    assert shop.run(DAY, partitions=("2024-01-05", "2024-01-07"), by_hand=True).success
    assert shown(shop) is Shown.SUCCEEDED
    history = shop.instance.event_log_storage.get_asset_check_execution_history(POSITIVE, limit=10)
    assert [record.status.value for record in history] == ["SUCCEEDED"]


def deploy_other_code(shop: Sandbox, backfill: bool = False) -> None:
    for name in ("daily_revenue", "customer_revenue"):
        file = shop.folder / "models" / f"{name}.sql"
        file.write_text(file.read_text().replace("SUM(orders.amount_usd)", "SUM(2 * orders.amount_usd)"))
    (shop.folder / "tests" / "test_daily_revenue.yaml").unlink()
    shop.deploy(backfill=backfill)


def deploy_and_compute(shop: Sandbox) -> None:
    deploy_other_code(shop, backfill=True)


def restate(shop: Sandbox) -> None:
    both = ("--restate-model", DAY, "--restate-model", "marts.customer_revenue")
    shop.sqlmesh("plan", "prod", *both, "--auto-apply", "--no-prompts", "--skip-tests")


@pytest.mark.slow
@pytest.mark.parametrize(
    "rewrite",
    [
        pytest.param(restate, id="restated by SQLMesh's command line"),
        pytest.param(deploy_and_compute, id="deployed and computed"),
        pytest.param(deploy_other_code, id="deployed"),
    ],
)
def test_a_result_is_not_shown_as_that_of_content_which_came_after_it(
    shop: Sandbox, rewrite: Callable[[Sandbox], None]
) -> None:
    """Neither of a model that is computed as a whole nor of one with days."""
    sync_partitions(shop.instance, shop.resource, [shop.assets()])
    assert shop.run("marts.customer_revenue", by_hand=True).success
    assert shop.run(touched=TOUCHED).success
    assert [shown_of_newest(shop, key) for key in (NOT_NULL, POSITIVE)] == [Shown.SUCCEEDED] * 2
    rewrite(shop)
    sync_partitions(shop.instance, shop.resource, [shop.assets()])
    assert Shown.SUCCEEDED not in [shown_of_newest(shop, key) for key in (NOT_NULL, POSITIVE)]


@pytest.mark.slow
def test_a_model_that_the_option_downstream_added_shows_its_results_too(shop: Sandbox) -> None:
    file = shop.folder / "models" / "daily_growth.sql"
    audited = "audits (accepted_range(column := revenue_usd, max_v := 1000)),\n  kind INC"
    file.write_text(file.read_text().replace("kind INC", audited))
    shop.deploy()
    growth = dg.AssetCheckKey(dg.AssetKey(["marts", "daily_growth"]), "accepted_range")
    both = {**TOUCHED, "marts.daily_growth": TOUCHED[DAY]}
    assert shop.run(touched=both).success
    assert shown(shop, growth) is Shown.SUCCEEDED
    shop.execute("UPDATE raw.shop__orders SET amount_usd = 5000 WHERE ordered_at::DATE = '2024-01-10'")
    assert not shop.run(DAY, partition="2024-01-10", by_hand=True, config={"downstream": True}).success
    assert shown(shop, growth) is Shown.FAILED
