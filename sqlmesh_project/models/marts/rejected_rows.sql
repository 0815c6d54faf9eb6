/* Rows of raw that staging leaves out, counted. One row per source, reason and day; what is kept and what is counted here always add up to raw. */
MODEL (
  name marts.rejected_rows,
  kind FULL,
  cron '@daily',
  owner analytics,
  tags (published, quality),
  grain (source, reason, day),
  depends_on (
    staging.stg_nyc_collisions__crashes,
    staging.stg_nyc_taxi__trips,
    staging.stg_nyc_taxi__zones,
    staging.stg_ecommerce__events,
    staging.stg_wfp_food_prices__prices,
    staging.stg_example__events
  ) /* read by the audit no_row_is_lost */,
  audits (
    not_null(columns := (source, reason, rows)),
    unique_combination_of_columns(columns := (source, reason, day)),
    accepted_range("column" := rows, min_v := 1),
    no_row_is_lost
  )
);

WITH judged AS (
  SELECT
    'nyc_collisions' AS source,
    @nyc_collisions_rejection() AS reason,
    TRY_CAST(crash_date AS TIMESTAMP)::DATE AS day
  FROM raw.nyc_collisions__crashes
  UNION ALL
  SELECT
    'nyc_taxi' AS source,
    @nyc_taxi_rejection() AS reason,
    pickup_datetime::DATE AS day
  FROM raw.nyc_taxi__trips
  UNION ALL
  SELECT
    'nyc_taxi_zones' AS source,
    @nyc_taxi_zones_rejection() AS reason,
    NULL::DATE AS day
  FROM raw.nyc_taxi_zones__zones
  UNION ALL
  SELECT
    'ecommerce' AS source,
    @ecommerce_rejection() AS reason,
    event_timestamp::DATE AS day
  FROM raw.ecommerce__events
  UNION ALL
  SELECT
    'wfp_food_prices' AS source,
    @wfp_food_prices_rejection() AS reason,
    date::DATE AS day
  FROM raw.wfp_food_prices__prices
  UNION ALL
  SELECT
    'example' AS source,
    @example_rejection() AS reason,
    event_timestamp::DATE AS day
  FROM staging.seed_example_events
)
SELECT
  source::TEXT AS source, /* Where the rows came from, by the name of the source */
  reason::TEXT AS reason, /* Why staging leaves them out */
  day::DATE AS day, /* The day they are about; empty where that can't be read */
  COUNT(*)::BIGINT AS rows, /* Rows left out */
  (
    CURRENT_TIMESTAMP AT TIME ZONE 'UTC'
  )::TIMESTAMP AS computed_at /* When this row was computed, UTC */
FROM judged
WHERE
  NOT reason IS NULL
GROUP BY
  source,
  reason,
  day
