"""The numbers in the lake, over the real data and over the demo's sample."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from tests.sqlmesh_project.totals import compare

RAW_AND_STAGING = {
    "nyc_collisions": ("raw.nyc_collisions__crashes", "staging.stg_nyc_collisions__crashes"),
    "nyc_taxi": ("raw.nyc_taxi__trips", "staging.stg_nyc_taxi__trips"),
    "nyc_taxi_zones": ("raw.nyc_taxi_zones__zones", "staging.stg_nyc_taxi__zones"),
    "ecommerce": ("raw.ecommerce__events", "staging.stg_ecommerce__events"),
    "wfp_food_prices": ("raw.wfp_food_prices__prices", "staging.stg_wfp_food_prices__prices"),
}


@pytest.fixture(params=["real", "sample"])
def loaded(request):
    return request.getfixturevalue(request.param)


def test_the_example_shop_sold_29_99_on_each_of_its_two_days(real):
    rows = real.query("SELECT event_date, unique_users, total_revenue FROM marts.daily_revenue_example ORDER BY 1")
    assert rows == [(date(2024, 1, 1), 2, Decimal("29.99")), (date(2024, 1, 2), 1, Decimal("29.99"))]


@pytest.mark.parametrize("other", ["collisions_summary_polars", "collisions_summary_ibis"])
def test_the_collisions_summary_is_the_same_in_sql_polars_and_ibis(loaded, other):
    everything = loaded.query("SELECT * FROM marts.collisions_summary ORDER BY ALL")
    assert everything == loaded.query(f"SELECT * FROM marts.{other} ORDER BY ALL")
    assert len(everything) > 50


@pytest.mark.parametrize("source", RAW_AND_STAGING)
def test_kept_and_rejected_rows_add_up_to_raw(loaded, source):
    raw, staging = RAW_AND_STAGING[source]
    [(raw_rows, kept, rejected)] = loaded.query(
        f"""SELECT (SELECT COUNT(*) FROM {raw}), (SELECT COUNT(*) FROM {staging}),
              (SELECT COALESCE(SUM(rows), 0) FROM marts.rejected_rows WHERE source = '{source}')"""
    )
    assert raw_rows == kept + rejected
    assert kept > 0


def test_what_the_real_data_reject_is_known_by_reason(real):
    assert real.query("SELECT source, reason, SUM(rows) FROM marts.rejected_rows GROUP BY ALL ORDER BY 3") == [
        ("nyc_taxi", "pick-up lies outside the month of its file", 8),
        ("nyc_taxi", "total_amount is negative", 308),
    ]


def test_every_mart_agrees_with_raw(loaded):
    with loaded.lake.connect(read_only=True) as connection:
        comparisons = compare(connection)
    assert [comparison.problem for comparison in comparisons if comparison.problem] == []


def test_the_top_pickup_locations_are_200_in_descending_order(real):
    rows = real.query("SELECT position, trips, pickup_location_id FROM marts.top_pickup_locations ORDER BY position")
    assert [position for position, _, _ in rows] == list(range(1, 201))
    assert rows == sorted(rows, key=lambda row: (-row[1], row[2]))
    first = real.query("SELECT pickup_zone, pickup_borough FROM marts.top_pickup_locations WHERE position = 1")
    assert first == [("Upper East Side South", "Manhattan")]


def test_real_totals(real):
    assert real.query("SELECT COUNT(*), SUM(purchases + refunds) FROM marts.daily_revenue") == [(307, 525_461)]
    assert real.query("SELECT SUM(crashes) FROM marts.collisions_daily") == [(87_866,)]
    assert real.query("SELECT SUM(trips) FROM marts.trips_by_pickup_location") == [(240_000 - 316,)]
    assert real.query("SELECT SUM(prices) FROM marts.food_prices_monthly") == [(59_953,)]


@pytest.mark.slow
def test_a_row_that_is_neither_kept_nor_counted_fails_the_audit(sample):
    """The audit compares with raw as it is now, and the mart was computed before this row came."""

    def passes() -> bool:
        with sample.context() as context:
            return context.audit("2024-01-01", "2024-01-01", models=iter(["marts.rejected_rows"]))

    assert passes()
    sample.execute(
        "INSERT INTO raw.nyc_taxi__trips (source_file, source_row, pickup_datetime, pickup_location_id, total_amount)"
        " VALUES ('late_2018-01.csv', 1, '2018-01-01', 1, -1)"
    )
    try:
        assert not passes()
    finally:
        sample.execute("DELETE FROM raw.nyc_taxi__trips WHERE source_file = 'late_2018-01.csv'")


@pytest.mark.parametrize("mart", ["collisions_summary", "collisions_summary_polars", "daily_revenue", "rejected_rows"])
def test_models_over_empty_raw_are_empty_and_sound(deployed_empty, mart):
    assert deployed_empty.query(f"SELECT COUNT(*) FROM marts.{mart}") == [(0,)]
