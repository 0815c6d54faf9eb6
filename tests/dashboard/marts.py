"""The marts that the dashboard reads, computed from the real files by plain SQL, under their models' column names."""

from __future__ import annotations

from pathlib import Path

PICK_UPS = "marts.trips_by_pickup_location"
COLLISIONS = "marts.collisions_summary"
CAUSES = "marts.collisions_by_cause"
REVENUE = "marts.daily_revenue"
FOOD = "marts.food_prices_monthly"
ALL = (PICK_UPS, COLLISIONS, CAUSES, REVENUE, FOOD)


def statements(data: Path) -> list[str]:
    """What makes them in an empty lake."""
    crashes = f"""
      (SELECT crash_date::TIMESTAMP::DATE AS day, coalesce(borough, 'UNKNOWN') AS borough,
         coalesce(contributing_factor_vehicle_1, 'Unspecified') AS cause,
         coalesce(number_of_persons_injured::INT, 0) AS injured, coalesce(number_of_persons_killed::INT, 0) AS killed
       FROM '{data}/collisions/collisions_soda_strings.parquet')"""
    counted = """
      count(*)::BIGINT AS crashes, count(*) FILTER (injured + killed > 0)::BIGINT AS crashes_with_casualties,
      sum(injured)::BIGINT AS persons_injured, sum(killed)::BIGINT AS persons_killed"""
    return [
        "CREATE SCHEMA IF NOT EXISTS marts",
        f"""
        CREATE TABLE {PICK_UPS} AS
        SELECT pickup_location_id::BIGINT AS pickup_location_id, zone AS pickup_zone, borough AS pickup_borough,
          count(*)::BIGINT AS trips,
          sum(total_amount)::DECIMAL(18, 2) AS total_amount_usd, sum(tip_amount)::DECIMAL(18, 2) AS tip_amount_usd
        FROM read_csv('{data}/taxi/yellow_tripdata_sample_*.csv', union_by_name = true, strict_mode = false)
        JOIN '{data}/taxi/taxi_zone_lookup.csv' ON locationid = pickup_location_id
        GROUP BY ALL""",
        f"""
        CREATE TABLE {COLLISIONS} AS
        SELECT borough, date_trunc('month', day)::DATE AS crash_month, {counted} FROM {crashes} GROUP BY ALL""",
        f"""
        CREATE TABLE {CAUSES} AS
        SELECT cause, date_trunc('month', day)::DATE AS crash_month, {counted} FROM {crashes} GROUP BY ALL""",
        f"""
        CREATE TABLE {REVENUE} AS
        SELECT event_timestamp::DATE AS event_date, count(DISTINCT user_id)::BIGINT AS unique_users,
          count(*) FILTER (event_type = 'purchase')::BIGINT AS purchases,
          count(*) FILTER (event_type = 'refund')::BIGINT AS refunds,
          coalesce(sum(revenue) FILTER (event_type = 'purchase'), 0)::DECIMAL(18, 2) AS total_revenue,
          coalesce(sum(revenue) FILTER (event_type = 'refund'), 0)::DECIMAL(18, 2) AS refunded_revenue,
          coalesce(sum(revenue), 0)::DECIMAL(18, 2) AS net_revenue
        FROM '{data}/ecommerce/ecommerce_events_2009_2010.parquet'
        WHERE event_type IN ('purchase', 'refund') AND revenue IS NOT NULL GROUP BY ALL""",
        f"""
        CREATE TABLE {FOOD} AS
        SELECT countryiso3 AS country_iso3, date_trunc('month', date::DATE)::DATE AS price_month, category, commodity,
          unit, pricetype AS price_type, count(*)::BIGINT AS prices, count(DISTINCT market)::BIGINT AS markets,
          avg(usdprice::DOUBLE) AS average_price_usd, min(usdprice::DOUBLE)::DECIMAL(14, 2) AS lowest_price_usd,
          max(usdprice::DOUBLE)::DECIMAL(14, 2) AS highest_price_usd
        FROM read_csv('{data}/humanitarian/wfp_food_prices_global_*.csv', all_varchar = true)
        WHERE try_cast(usdprice AS DOUBLE) >= 0 GROUP BY ALL""",
    ]  # fmt: skip
