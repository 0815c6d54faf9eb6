/* What goods cost in each country's markets, month by month, in US dollars. One row per country, month, commodity, unit and price type: a price per sack and one per kilogram are never averaged. */
MODEL (
  name marts.food_prices_monthly,
  kind FULL,
  cron '@daily',
  owner analytics,
  tags (published, wfp_food_prices),
  grain (country_iso3, price_month, category, commodity, unit, price_type),
  audits (
    not_null(columns := (country_iso3, price_month, commodity, unit, average_price_usd)),
    unique_combination_of_columns(columns := (country_iso3, price_month, category, commodity, unit, price_type)),
    accepted_range("column" := average_price_usd, min_v := 0),
    accepted_range("column" := prices, min_v := 1)
  )
);

SELECT
  country_iso3::TEXT AS country_iso3, /* Three-letter country code */
  DATE_TRUNC('MONTH', price_date)::DATE AS price_month, /* First day of the month */
  category::TEXT AS category, /* Group of goods; non-food among them */
  commodity::TEXT AS commodity, /* What is sold */
  unit::TEXT AS unit, /* Quantity that the prices are for */
  price_type::TEXT AS price_type, /* Retail or Wholesale */
  COUNT(*)::BIGINT AS prices, /* Prices collected */
  COUNT(DISTINCT market_id)::BIGINT AS markets, /* Markets they were collected in */
  (
    SUM(price_usd)::DOUBLE / COUNT(*)
  )::DOUBLE AS average_price_usd, /* US dollars per unit, each collected price counting alike */
  MIN(price_usd)::DECIMAL(14, 2) AS lowest_price_usd, /* US dollars per unit in the cheapest market */
  MAX(price_usd)::DECIMAL(14, 2) AS highest_price_usd, /* US dollars per unit in the dearest market */
  (
    CURRENT_TIMESTAMP AT TIME ZONE 'UTC'
  )::TIMESTAMP AS computed_at /* When this row was computed, UTC */
FROM staging.stg_wfp_food_prices__prices
GROUP BY
  country_iso3,
  DATE_TRUNC('MONTH', price_date)::DATE,
  category,
  commodity,
  unit,
  price_type
