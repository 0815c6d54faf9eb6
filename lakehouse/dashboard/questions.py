"""What the dashboard asks: one SELECT over published marts for each thing that it shows."""

from __future__ import annotations

PICK_UPS = """
SELECT
  pickup_location_id,
  trips,
  total_amount_usd::DOUBLE AS total_amount_usd,
  SUM(trips) OVER ()::BIGINT AS all_trips,
  SUM(total_amount_usd) OVER ()::DOUBLE AS all_amount_usd,
  COUNT(*) OVER ()::BIGINT AS all_locations
FROM marts.trips_by_pickup_location
ORDER BY trips DESC, pickup_location_id
LIMIT $locations
"""
"""The locations with the most pick-ups, the busiest first, and the totals of all beside each."""

COLLISIONS = """
SELECT crash_month, borough, crashes, persons_injured, persons_killed
FROM marts.collisions_summary
ORDER BY crash_month, borough
"""
"""One row per month and borough."""

CAUSES = """
SELECT
  cause,
  SUM(crashes)::BIGINT AS crashes,
  SUM(persons_injured)::BIGINT AS persons_injured,
  SUM(persons_killed)::BIGINT AS persons_killed
FROM marts.collisions_by_cause
GROUP BY cause
ORDER BY crashes DESC, cause
LIMIT $causes
"""
"""The most frequent causes."""

REVENUE = """
SELECT
  DATE_TRUNC($period, event_date)::DATE AS begins_on,
  SUM(total_revenue)::DOUBLE AS sold,
  SUM(refunded_revenue)::DOUBLE AS refunded,
  SUM(net_revenue)::DOUBLE AS net,
  SUM(purchases)::BIGINT AS purchases,
  SUM(refunds)::BIGINT AS refunds
FROM marts.daily_revenue
GROUP BY begins_on
ORDER BY begins_on
"""
"""One row per day, week or month; pounds."""

FOODS = """
SELECT commodity, unit, price_type
FROM marts.food_prices_monthly
GROUP BY commodity, unit, price_type
ORDER BY SUM(prices) DESC, commodity, unit, price_type
"""
"""What prices there are, those collected most first: prices per unit and of retail and wholesale are never mixed."""

FOOD_PRICES = """
SELECT country_iso3, price_month, average_price_usd, lowest_price_usd::DOUBLE AS lowest_price_usd,
  highest_price_usd::DOUBLE AS highest_price_usd, markets, prices
FROM marts.food_prices_monthly
WHERE commodity = $commodity AND unit = $unit AND price_type = $price_type
ORDER BY price_month, country_iso3
"""
"""One row per country and month."""
