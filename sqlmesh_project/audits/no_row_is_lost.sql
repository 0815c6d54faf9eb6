AUDIT (
  name no_row_is_lost,
  dialect duckdb
);

/* Sources whose kept and rejected rows don't add up to raw. */
WITH counted AS (
  SELECT
    'nyc_collisions' AS source,
    COUNT(*) AS raw_rows
  FROM raw.nyc_collisions__crashes
  UNION ALL
  SELECT
    'nyc_taxi' AS source,
    COUNT(*) AS raw_rows
  FROM raw.nyc_taxi__trips
  UNION ALL
  SELECT
    'nyc_taxi_zones' AS source,
    COUNT(*) AS raw_rows
  FROM raw.nyc_taxi_zones__zones
  UNION ALL
  SELECT
    'ecommerce' AS source,
    COUNT(*) AS raw_rows
  FROM raw.ecommerce__events
  UNION ALL
  SELECT
    'wfp_food_prices' AS source,
    COUNT(*) AS raw_rows
  FROM raw.wfp_food_prices__prices
  UNION ALL
  SELECT
    'example' AS source,
    COUNT(*) AS raw_rows
  FROM staging.seed_example_events
), kept AS (
  SELECT
    'nyc_collisions' AS source,
    COUNT(*) AS kept_rows
  FROM staging.stg_nyc_collisions__crashes
  UNION ALL
  SELECT
    'nyc_taxi' AS source,
    COUNT(*) AS kept_rows
  FROM staging.stg_nyc_taxi__trips
  UNION ALL
  SELECT
    'nyc_taxi_zones' AS source,
    COUNT(*) AS kept_rows
  FROM staging.stg_nyc_taxi__zones
  UNION ALL
  SELECT
    'ecommerce' AS source,
    COUNT(*) AS kept_rows
  FROM staging.stg_ecommerce__events
  UNION ALL
  SELECT
    'wfp_food_prices' AS source,
    COUNT(*) AS kept_rows
  FROM staging.stg_wfp_food_prices__prices
  UNION ALL
  SELECT
    'example' AS source,
    COUNT(*) AS kept_rows
  FROM staging.stg_example__events
), rejected AS (
  SELECT
    source,
    SUM(rows) AS rejected_rows
  FROM @this_model
  GROUP BY
    source
)
SELECT
  counted.source,
  counted.raw_rows,
  kept.kept_rows,
  COALESCE(rejected.rejected_rows, 0) AS rejected_rows
FROM counted
INNER JOIN kept
  ON counted.source = kept.source
LEFT JOIN rejected
  ON counted.source = rejected.source
WHERE
  counted.raw_rows <> kept.kept_rows + COALESCE(rejected.rejected_rows, 0)
