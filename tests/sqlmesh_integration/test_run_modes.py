"""What a run computes, by what it was asked for; proved by the stamp that every row carries."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
import time_machine

from tests.sqlmesh_integration.sandbox import Sandbox, moment

DAY = "marts.daily_revenue"


def changed(before: dict[str, object], after: dict[str, object]) -> set[str]:
    return {day for day in after if after[day] != before.get(day)}


def test_one_partition_recomputes_that_day_of_that_model_only(shop: Sandbox) -> None:
    before, other = shop.stamps(DAY), shop.stamps("marts.daily_growth")
    ran = shop.run(DAY, partition="2024-01-10", by_hand=True)
    assert ran.success
    assert changed(before, shop.stamps(DAY)) == {"2024-01-10"}
    assert shop.stamps("marts.daily_growth") == other


def test_a_range_is_one_run_over_exactly_its_days(shop: Sandbox) -> None:
    before = shop.stamps(DAY)
    ran = shop.run(DAY, partitions=("2024-01-10", "2024-01-12"), by_hand=True)
    assert changed(before, shop.stamps(DAY)) == {"2024-01-10", "2024-01-11", "2024-01-12"}
    assert ran.outcomes[DAY].rows == {"2024-01-10": 1, "2024-01-11": 1, "2024-01-12": 1}
    events = ran.result.asset_materializations_for_node("models")
    assert {event.partition for event in events} == {"2024-01-10", "2024-01-11", "2024-01-12"}
    assert {event.metadata["dagster/partition_row_count"].value for event in events} == {1}
    newest = ran.materialization("marts", "daily_revenue")  # what the asset's page shows
    assert newest.partition == "2024-01-12"
    assert newest.metadata["dagster/row_count"].value == 31
    assert newest.metadata["sqlmesh/rows_written"].value == 3
    assert [event.partition for event in events if "dagster/row_count" in event.metadata] == ["2024-01-12"]


def test_two_incremental_models_of_one_range_run_in_order(shop: Sandbox) -> None:
    shop.execute("UPDATE raw.shop__orders SET amount_usd = 1000 WHERE ordered_at::DATE = '2024-01-10'")
    shop.run(DAY, "marts.daily_growth", partition="2024-01-10", by_hand=True)
    assert shop.query("SELECT revenue_usd FROM marts.daily_growth WHERE ordered_on = '2024-01-10'") == [(3000,)]


def test_nothing_due_computes_nothing_and_says_so(shop: Sandbox) -> None:
    before = shop.stamps(DAY)
    ran = shop.run()
    assert ran.success and shop.stamps(DAY) == before
    assert ran.outcomes[DAY].state == "up_to_date"
    assert not ran.result.asset_materializations_for_node("models")


def test_touched_days_reach_the_marts_and_only_they_are_rewritten(shop: Sandbox) -> None:
    before = shop.stamps(DAY)
    shop.execute("INSERT INTO raw.shop__orders VALUES (999, 'dan', '2024-01-05 12:00', 500)")
    touched = {
        DAY: [(moment("2024-01-05 12:00"), moment("2024-01-05 12:00:01"))],
        "marts.daily_growth": [(moment("2024-01-05"), moment("2024-01-06"))],
        "marts.customer_revenue": None,  # weekly: due all the same
    }
    ran = shop.run(touched=touched)
    assert ran.success
    assert changed(before, shop.stamps(DAY)) == {"2024-01-05"}
    assert shop.query("SELECT revenue_usd FROM marts.customer_revenue WHERE customer = 'dan'") == [(500,)]
    assert shop.query("SELECT orders FROM marts.daily_revenue WHERE ordered_on = '2024-01-05'") == [(4,)]
    assert ran.outcomes["marts.large_orders_by_day"].state == "up_to_date"


def test_the_same_days_touched_again_are_computed_again(shop: Sandbox) -> None:
    touched = {DAY: [(moment("2024-01-05"), moment("2024-01-06"))]}
    shop.run(touched=touched)
    before = shop.stamps(DAY)
    shop.run(touched=touched)
    assert changed(before, shop.stamps(DAY)) == {"2024-01-05"}


def test_a_touch_of_a_model_not_chosen_stays_missing_for_the_next_run(shop: Sandbox) -> None:
    before = shop.stamps(DAY)
    touched = {DAY: [(moment("2024-01-05"), moment("2024-01-06"))]}
    shop.run("marts.large_orders_by_day", touched=touched, by_hand=True)
    assert shop.stamps(DAY) == before
    assert shop.resource.deployed()[DAY].missing == ((moment("2024-01-05"), moment("2024-01-06")),)
    shop.run()
    assert "2024-01-05" in changed(before, shop.stamps(DAY))
    assert shop.resource.deployed()[DAY].missing == ()


def test_a_full_model_made_by_hand_is_recomputed_and_by_schedule_is_not(shop: Sandbox) -> None:
    name = "marts.large_orders_by_day"
    before = shop.stamps(name)
    assert shop.run(name).outcomes[name].state == "up_to_date"
    assert shop.stamps(name) == before
    assert shop.run(name, by_hand=True).outcomes[name].state == "computed"
    assert set(shop.stamps(name).values()).isdisjoint(before.values())


def test_a_view_made_by_hand_is_made_again(shop: Sandbox) -> None:
    ran = shop.run("staging.stg_shop__orders", by_hand=True)
    assert ran.outcomes["staging.stg_shop__orders"].state == "computed"


def test_recompute_with_downstream_rewrites_everything_that_reads_it(shop: Sandbox) -> None:
    growth = shop.stamps("marts.daily_growth")
    customers = shop.query("SELECT DISTINCT computed_at FROM marts.customer_revenue")
    shop.run(DAY, partition="2024-01-10", by_hand=True, config={"downstream": True})
    assert changed(growth, shop.stamps("marts.daily_growth")) == {"2024-01-10"}
    assert shop.query("SELECT DISTINCT computed_at FROM marts.customer_revenue") == customers


@pytest.mark.slow
@pytest.mark.parametrize(
    "models",
    [
        pytest.param({"total": ("FULL", DAY)}, id="full"),
        pytest.param({"total_view": ("VIEW", DAY), "total": ("FULL", "marts.total_view")}, id="full behind a view"),
        pytest.param(
            {"some_days": ("EMBEDDED", DAY), "total": ("FULL", "staging.some_days")},
            id="full behind an embedded one",
        ),
    ],
)
def test_recompute_with_downstream_makes_full_models_and_views_again(
    shop: Sandbox, models: dict[str, tuple[str, str]]
) -> None:
    for name, (kind, read) in models.items():
        columns = "SUM(revenue_usd)::DOUBLE AS revenue_usd, @execution_ts::TIMESTAMP AS computed_at"
        if kind == "EMBEDDED":
            columns = "revenue_usd"
        schema = "staging" if kind == "EMBEDDED" else "marts"
        model = f"MODEL (name {schema}.{name}, kind {kind}, cron '@weekly'); SELECT {columns} FROM {read}"
        (shop.folder / "models" / f"{name}.sql").write_text(model)
    shop.deploy()
    assert shop.run().success
    made = [name for name, (kind, _) in models.items() if kind != "EMBEDDED"]
    before = {name: shop.query(f"SELECT computed_at FROM marts.{name}") for name in made}
    shop.execute("UPDATE raw.shop__orders SET amount_usd = 1000 WHERE ordered_at::DATE = '2024-01-10'")
    ran = shop.run(DAY, partition="2024-01-10", by_hand=True, config={"downstream": True})
    assert ran.success, ran.failure
    (revenue,) = shop.query(f"SELECT SUM(revenue_usd) FROM {DAY}")
    for name in made:
        assert shop.query(f"SELECT computed_at FROM marts.{name}") > before[name]
        assert shop.query(f"SELECT revenue_usd FROM marts.{name}") == [revenue]
        assert ran.materialization("marts", name)


def test_a_view_made_again_with_downstream_rewrites_every_day_that_reads_it(shop: Sandbox) -> None:
    before = shop.stamps(DAY)
    ran = shop.run("staging.stg_shop__orders", by_hand=True, config={"downstream": True})
    assert ran.success, ran.failure
    assert changed(before, shop.stamps(DAY)) == set(before)


@pytest.mark.slow
def test_downstream_reaches_models_without_partitions_and_what_reads_them(tmp_path: Path) -> None:
    made = Sandbox.with_models(tmp_path, {f"models/{name}.sql": text for name, text in UNPARTITIONED.items()})
    made.execute("CREATE SCHEMA raw; CREATE TABLE raw.t AS SELECT DATE '2024-01-02' AS ds, 1 AS id, 10 AS amount")
    made.deploy()
    assert made.run().success
    made.execute("UPDATE raw.t SET amount = 99")
    ran = made.run("a.inc", partition="2024-01-02", by_hand=True, config={"downstream": True})
    assert ran.success, ran.failure
    for table in ("inc", "uk", "bp", "after_uk", "history WHERE valid_to IS NULL"):
        assert made.query(f"SELECT amount FROM a.{table}") == [(99,)], table
    assert made.query("SELECT amount FROM a.history WHERE valid_to IS NOT NULL") == [(10,)], "its history stays"
    assert made.query("SELECT SUM(amount) FROM a.appended") == [(10,)], "it only appends, and may not be made again"
    assert "keeps its history and is never recomputed" in ran.outcomes["a.appended"].reason
    assert len(ran.outcomes["a.inc"].intervals) == len(ran.outcomes["a.after_uk"].intervals) == 1
    assert all(model.missing == () for model in made.resource.deployed().values())


def test_downstream_makes_nothing_that_was_never_computed_but_the_same_days(tmp_path: Path) -> None:
    made = Sandbox.with_models(tmp_path, {f"models/{name}.sql": text for name, text in UNPARTITIONED.items()})
    made.execute("CREATE SCHEMA raw; CREATE TABLE raw.t AS SELECT DATE '2024-01-02' AS ds, 1 AS id, 10 AS amount")
    made.deploy()
    assert made.run("a.inc", partition="2024-01-02", by_hand=True, config={"downstream": True}).success
    computed = {name: model.computed for name, model in made.resource.deployed().items()}
    assert computed.pop("a.inc") == ((moment("2024-01-02"), moment("2024-01-03")),)
    assert set(computed.values()) == {()}


def test_mode_recompute_rewrites_every_day(shop: Sandbox) -> None:
    before = shop.stamps(DAY)
    shop.run(DAY, config={"mode": "recompute"})
    assert changed(before, shop.stamps(DAY)) == set(before)


def test_catch_up_marks_every_partition_it_computed(empty_shop: Sandbox) -> None:
    empty_shop.deploy()
    assert empty_shop.run().success
    computed = empty_shop.partitions("marts", "daily_revenue")
    assert {"2024-01-01", "2024-01-31"} <= computed
    assert len(computed) == len(empty_shop.partitions("marts", "daily_growth")) == 35


def test_a_model_that_keeps_history_may_be_chosen_with_partitions(tmp_path: Path) -> None:
    made = Sandbox.with_models(tmp_path, {"models/orders.sql": ORDERS, "models/customers.sql": CUSTOMERS})
    made.deploy()
    assert made.run().success
    before = made.stamps("marts.orders")
    ran = made.run("marts.orders", "marts.customers", partition="2024-01-02", by_hand=True)
    assert ran.success, ran.failure
    assert ran.outcomes["marts.customers"].state == "up_to_date"
    assert changed(before, made.stamps("marts.orders")) == {"2024-01-02"}


def test_days_that_may_not_be_recomputed_are_computed_once(tmp_path: Path) -> None:
    fixed = ORDERS.replace("(time_column ordered_on)", "(time_column ordered_on, disable_restatement true)")
    made = Sandbox.with_models(tmp_path, {"models/orders.sql": fixed})
    made.deploy()
    assert made.run("marts.orders", partition="2024-01-02", by_hand=True).success
    before = made.stamps("marts.orders")
    assert made.run("marts.orders", partitions=("2024-01-01", "2024-01-03"), by_hand=True).success
    assert changed(before, made.stamps("marts.orders")) == {"2024-01-01", "2024-01-03"}
    ran = made.run("marts.orders", partition="2024-01-02", by_hand=True)
    assert "keeps its history and is never recomputed" in ran.failure


def test_a_model_by_partition_never_loses_the_partitions_that_its_query_no_longer_gives(tmp_path: Path) -> None:
    made = Sandbox.with_models(tmp_path, {"models/recent.sql": RECENT})
    made.execute("CREATE SCHEMA raw; CREATE TABLE raw.sold AS SELECT 'ann' AS who, 1 AS amount")
    with time_machine.travel(datetime(2024, 1, 2, 12, tzinfo=UTC)):
        made.deploy()
        assert made.run().success
        made.execute("DELETE FROM raw.sold; INSERT INTO raw.sold VALUES ('bob', 2)")
        made.resource.mark_missing({"marts.recent": None})  # its first and only interval, as a killed run does
        assert made.run(touched={"marts.recent": None}).success
    assert made.query("SELECT who, amount FROM marts.recent ORDER BY 1") == [("ann", 1), ("bob", 2)]


ORDERS = """
MODEL (
  name marts.orders,
  kind INCREMENTAL_BY_TIME_RANGE (time_column ordered_on),
  start '2024-01-01', end '2024-01-03'
);
SELECT day::DATE AS ordered_on, 'ann' AS customer, @execution_ts::TIMESTAMP AS computed_at
FROM range(TIMESTAMP '2024-01-01', TIMESTAMP '2024-01-04', INTERVAL 1 DAY) AS r(day)
WHERE day BETWEEN @start_ts AND @end_ts
"""
CUSTOMERS = """
MODEL (name marts.customers, kind SCD_TYPE_2_BY_COLUMN (unique_key customer, columns [orders]));
SELECT customer, COUNT(*)::INT AS orders FROM marts.orders GROUP BY 1
"""
RECENT = """
MODEL (name marts.recent, kind INCREMENTAL_BY_PARTITION, partitioned_by [who], start '2024-01-01');
SELECT who::TEXT AS who, amount::INT AS amount FROM raw.sold
"""
UNPARTITIONED = {
    "inc": """MODEL (name a.inc, kind INCREMENTAL_BY_TIME_RANGE (time_column ds), end '2024-01-03');
        SELECT ds, id, amount FROM raw.t WHERE ds BETWEEN @start_ds AND @end_ds""",
    "uk": """MODEL (name a.uk, kind INCREMENTAL_BY_UNIQUE_KEY (unique_key id), end '2024-01-03');
        SELECT id, SUM(amount) AS amount FROM a.inc GROUP BY id""",
    "bp": """MODEL (name a.bp, kind INCREMENTAL_BY_PARTITION, partitioned_by id, end '2024-01-03');
        SELECT id, SUM(amount) AS amount FROM a.inc GROUP BY id""",
    "after_uk": """MODEL (name a.after_uk, kind INCREMENTAL_BY_TIME_RANGE (time_column ds), end '2024-01-03');
        SELECT DATE '2024-01-02' AS ds, amount FROM a.uk WHERE '2024-01-02' BETWEEN @start_ds AND @end_ds""",
    "history": """MODEL (name a.history, kind SCD_TYPE_2_BY_COLUMN (unique_key id, columns [amount]), end '2024-01-03');
        SELECT id, amount::INT AS amount FROM a.inc""",
    "appended": """MODEL (name a.appended, kind INCREMENTAL_UNMANAGED, end '2024-01-03');
        SELECT id, amount FROM a.inc WHERE ds BETWEEN @start_ds AND @end_ds""",
}
