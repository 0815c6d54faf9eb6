"""A model with an `auto_restatement_cron`: its newest days are computed again when that ticks, as by `sqlmesh run`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import duckdb
import pytest

from tests.sqlmesh_integration.conftest import ORDERS
from tests.sqlmesh_integration.sandbox import Sandbox, Saved

DAY, GROWTH = "marts.daily_revenue", "marts.daily_growth"


def day(ago: int) -> str:
    return f"{datetime.now(UTC).date() - timedelta(days=ago)}"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """The shop with orders of the last days too, its days restated every week, three of them."""
    shop = Sandbox.of("shop", tmp_path_factory.mktemp("restating"))
    shop.execute(ORDERS)
    file = shop.folder / "models" / "daily_revenue.sql"
    weekly = "auto_restatement_cron '@weekly', auto_restatement_intervals 3"
    file.write_text(file.read_text().replace("lookback 2", weekly))
    for ago in range(1, 7):
        shop.execute(f"INSERT INTO raw.shop__orders VALUES ({900 + ago}, 'dan', '{day(ago)} 12:00', 10)")
    shop.deploy()
    ran = shop.run()
    assert ran.success, ran.failure
    return Saved.of(shop)


@pytest.fixture
def restating(saved: Saved) -> Sandbox:
    return saved.put_back()


def tick(shop: Sandbox) -> None:
    """Let a week pass, in SQLMesh's state."""
    (model,) = (deployed for name, deployed in shop.resource.deployed().items() if name == DAY)
    with duckdb.connect(str(shop.folder / "state.db")) as state:
        state.execute("DELETE FROM sqlmesh._auto_restatements")
        state.execute("INSERT INTO sqlmesh._auto_restatements VALUES (?, ?, 1)", [model.fqn, model.version])


def rewritten(shop: Sandbox, before: dict[str, object], table: str) -> set[str]:
    after = shop.stamps(table)
    return {key for key in after if after[key] != before[key]}


@pytest.mark.slow
def test_a_catch_up_computes_the_newest_days_again_and_what_reads_them_once(restating: Sandbox) -> None:
    before, growth = restating.stamps(DAY), restating.stamps(GROWTH)
    assert restating.run().outcomes[DAY].state == "up_to_date"
    tick(restating)
    restating.execute(f"UPDATE raw.shop__orders SET amount_usd = 99 WHERE ordered_at::DATE = '{day(2)}'")
    ran = restating.run()
    assert ran.success, ran.failure
    assert rewritten(restating, before, DAY) == {day(1), day(2), day(3)}
    assert rewritten(restating, growth, GROWTH) == {day(1), day(2), day(3)}
    assert restating.query(f"SELECT revenue_usd FROM marts.daily_growth WHERE ordered_on = '{day(2)}'") == [(99,)]
    assert restating.run().outcomes[DAY].state == "up_to_date"


def test_a_run_over_a_part_of_them_leaves_all_to_a_catch_up_that_is_over_them(
    restating: Sandbox, capfd: pytest.CaptureFixture[str]
) -> None:
    before = restating.stamps(DAY)
    tick(restating)
    assert restating.run(DAY).outcomes[DAY].state == "up_to_date"
    waits = "of marts.daily_revenue has ticked, and waits for a catch-up that is also over marts.daily_growth."
    assert waits in capfd.readouterr().err
    assert rewritten(restating, before, DAY) == set()
    assert restating.run(DAY, GROWTH).success
    assert rewritten(restating, before, DAY) == {day(1), day(2), day(3)}


def test_a_run_that_failed_leaves_them_missing_for_the_next(restating: Sandbox) -> None:
    growth = restating.stamps(GROWTH)
    tick(restating)
    restating.execute(f"UPDATE raw.shop__orders SET amount_usd = -1 WHERE ordered_at::DATE = '{day(2)}'")
    assert not restating.run().success
    for name in (DAY, GROWTH):
        assert [f"{start:%Y-%m-%d}" for start, _ in restating.resource.deployed()[name].missing] == [day(3)]
    restating.execute(f"UPDATE raw.shop__orders SET amount_usd = 1 WHERE ordered_at::DATE = '{day(2)}'")
    assert restating.run().success
    assert rewritten(restating, growth, GROWTH) == {day(1), day(2), day(3)}
    assert restating.resource.deployed()[DAY].missing == ()


def test_a_recompute_by_hand_is_of_what_was_asked_only(restating: Sandbox) -> None:
    before = restating.stamps(DAY)
    tick(restating)
    assert restating.run(DAY, partition="2024-01-10", by_hand=True).success
    assert rewritten(restating, before, DAY) == {"2024-01-10"}


def test_outside_prod_nothing_is_restated(restating: Sandbox) -> None:
    dev = restating.in_environment("dev", precedence=("dev",))
    dev.deploy()
    before = restating.stamps(DAY)
    tick(restating)
    assert dev.run().success
    assert rewritten(restating, before, DAY) == set()
