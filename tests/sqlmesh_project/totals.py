"""A mart's totals and the same computed straight from raw: they must agree, whatever data were loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import duckdb

# What staging keeps, said once more and in other words than sqlmesh_project/macros/rejections.py: a mistake there
# must not repeat itself here.
CRASH_COUNTS = ", ".join(
    f"number_of_{who}_{what}"
    for who in ("persons", "pedestrians", "cyclist", "motorist")
    for what in ("injured", "killed")
)
KEPT_CRASHES = f"""
    FROM raw.nyc_collisions__crashes
    WHERE TRY_CAST(collision_id AS BIGINT) IS NOT NULL
      AND TRY_CAST(crash_date AS TIMESTAMP) >= TIMESTAMP '2012-07-01'
      AND len(list_filter([{CRASH_COUNTS}], lambda n: n IS NOT NULL AND TRY_CAST(n AS INT) IS NULL)) = 0"""
KEPT_TRIPS = r"""
    FROM (SELECT *, replace(regexp_extract(source_file, '\d{4}[-_]\d{2}'), '_', '-') AS file_month
          FROM raw.nyc_taxi__trips)
    WHERE total_amount >= 0 AND pickup_location_id IS NOT NULL AND pickup_datetime IS NOT NULL
      AND file_month IN ('', strftime(pickup_datetime, '%Y-%m'))"""
KEPT_EVENTS = """
    FROM raw.ecommerce__events
    WHERE event_timestamp >= TIMESTAMP '2009-12-01' AND event_id IS NOT NULL
      AND event_type IS NOT NULL AND revenue IS NOT NULL"""
KEPT_PRICES = """
    FROM raw.wfp_food_prices__prices
    WHERE usdprice >= 0 AND date IS NOT NULL AND countryiso3 IS NOT NULL
      AND commodity IS NOT NULL AND unit IS NOT NULL"""
CRASH_TOTALS = f"""
    SELECT COUNT(*), COALESCE(SUM(TRY_CAST(number_of_persons_injured AS INT)), 0),
      COALESCE(SUM(TRY_CAST(number_of_persons_killed AS INT)), 0) {KEPT_CRASHES}"""


@dataclass(frozen=True)
class Check:
    """Two queries of one row each that must agree; `totals` says what the row's numbers are."""

    mart: str
    totals: str
    mart_sql: str
    raw_sql: str


@dataclass(frozen=True)
class Comparison:
    """What a check found."""

    check: Check
    rows: int
    mart_totals: tuple[Any, ...]
    raw_totals: tuple[Any, ...]

    @property
    def problem(self) -> str:
        """What is wrong, in a sentence; empty when the mart has rows and agrees with raw."""
        check = self.check
        if not self.rows:
            return f"{check.mart} has no rows or is not there. `lakehouse status` shows what was loaded and computed."
        if self.mart_totals != self.raw_totals:
            return (
                f"{check.mart} and raw disagree on {check.totals}: {_text(self.mart_totals)} in the mart, "
                f"{_text(self.raw_totals)} in raw. "
                f"Materialize the mart again; if they still differ, the model is wrong."
            )
        return ""


TOTALS = (
    Check(
        "marts.daily_revenue",
        "purchases, refunds, pounds sold, pounds net",
        """SELECT SUM(purchases), SUM(refunds), SUM(total_revenue), SUM(net_revenue)
           FROM marts.daily_revenue""",
        # An incremental model has the days that are over: today's rows come tomorrow.
        f"""SELECT COUNT(*) FILTER (WHERE event_type = 'purchase'), COUNT(*) FILTER (WHERE event_type = 'refund'),
              SUM(revenue) FILTER (WHERE event_type = 'purchase'),
              SUM(revenue) FILTER (WHERE event_type IN ('purchase', 'refund'))
            {KEPT_EVENTS} AND event_timestamp < CURRENT_DATE""",
    ),
    Check(
        "marts.daily_revenue_example",
        "days, dollars",
        "SELECT COUNT(*), SUM(total_revenue) FROM marts.daily_revenue_example",
        # The seed is this mart's raw.
        "SELECT COUNT(DISTINCT CAST(event_timestamp AS DATE)), SUM(revenue) FROM staging.seed_example_events",
    ),
    Check(
        "marts.collisions_daily",
        "crashes, injured, killed",
        "SELECT SUM(crashes), SUM(persons_injured), SUM(persons_killed) FROM marts.collisions_daily",
        f"{CRASH_TOTALS} AND TRY_CAST(crash_date AS TIMESTAMP) < CURRENT_DATE",
    ),
    *(
        Check(
            mart,
            "crashes, injured, killed",
            f"SELECT SUM(crashes), SUM(persons_injured), SUM(persons_killed) FROM {mart}",
            CRASH_TOTALS,
        )
        for mart in (
            "marts.collisions_summary",
            "marts.collisions_summary_polars",
            "marts.collisions_summary_ibis",
            "marts.collisions_by_cause",
        )
    ),
    Check(
        "marts.trips_by_pickup_location",
        "trips, dollars, trips of Manhattan",
        """SELECT SUM(trips), SUM(total_amount_usd), SUM(trips) FILTER (WHERE pickup_borough = 'Manhattan')
           FROM marts.trips_by_pickup_location""",
        f"""SELECT COUNT(*), SUM(CAST(total_amount AS DECIMAL(12, 2))), COUNT(*) FILTER (WHERE pickup_location_id IN (
              SELECT location_id FROM raw.nyc_taxi_zones__zones WHERE borough = 'Manhattan')) {KEPT_TRIPS}""",
    ),
    Check(
        "marts.top_pickup_locations",
        "zones, trips",
        "SELECT COUNT(*), SUM(trips) FROM marts.top_pickup_locations",
        f"""SELECT COUNT(*), SUM(trips) FROM (
              SELECT COUNT(*) AS trips {KEPT_TRIPS} GROUP BY pickup_location_id ORDER BY trips DESC LIMIT 200)""",
    ),
    Check(
        "marts.food_prices_monthly",
        "prices, the sum of all prices in dollars",
        "SELECT SUM(prices), CAST(SUM(average_price_usd * prices) AS DECIMAL(18, 2)) FROM marts.food_prices_monthly",
        f"SELECT COUNT(*), CAST(SUM(CAST(usdprice AS DECIMAL(14, 2))) AS DECIMAL(18, 2)) {KEPT_PRICES}",
    ),
    Check(
        "marts.rejected_rows",
        "rows left out of collisions, trips, events and prices",
        """SELECT COALESCE(SUM(rows) FILTER (WHERE source = 'nyc_collisions'), 0),
             COALESCE(SUM(rows) FILTER (WHERE source = 'nyc_taxi'), 0),
             COALESCE(SUM(rows) FILTER (WHERE source = 'ecommerce'), 0),
             COALESCE(SUM(rows) FILTER (WHERE source = 'wfp_food_prices'), 0)
           FROM marts.rejected_rows""",
        f"""SELECT (SELECT COUNT(*) FROM raw.nyc_collisions__crashes) - (SELECT COUNT(*) {KEPT_CRASHES}),
              (SELECT COUNT(*) FROM raw.nyc_taxi__trips) - (SELECT COUNT(*) {KEPT_TRIPS}),
              (SELECT COUNT(*) FROM raw.ecommerce__events) - (SELECT COUNT(*) {KEPT_EVENTS}),
              (SELECT COUNT(*) FROM raw.wfp_food_prices__prices) - (SELECT COUNT(*) {KEPT_PRICES})""",
    ),
)


def compare(connection: duckdb.DuckDBPyConnection, checks: tuple[Check, ...] = TOTALS) -> list[Comparison]:
    """Every mart against raw, over a connection whose current database is the lake."""
    return [_compare(connection, check) for check in checks]


def _compare(connection: duckdb.DuckDBPyConnection, check: Check) -> Comparison:
    try:
        rows = _one_row(connection, f"SELECT COUNT(*) FROM {check.mart}")[0]
    except duckdb.CatalogException:  # nothing is deployed yet
        return Comparison(check, rows=0, mart_totals=(), raw_totals=())
    return Comparison(check, rows, _one_row(connection, check.mart_sql), _one_row(connection, check.raw_sql))


def _one_row(connection: duckdb.DuckDBPyConnection, sql: str) -> tuple[Any, ...]:
    rows: list[tuple[Any, ...]] = connection.execute(sql).fetchall()
    return rows[0]


def _text(totals: tuple[Any, ...]) -> str:
    return ", ".join("none" if total is None else f"{total:,}" for total in totals)
