/* Yellow taxi trips by where they began. One row per taxi zone that had a pick-up. */
MODEL (
  name marts.trips_by_pickup_location,
  kind FULL,
  cron '@daily',
  owner analytics,
  tags (published, nyc_taxi),
  grain pickup_location_id,
  audits (
    not_null(columns := (pickup_location_id, trips, total_amount_usd)),
    unique_values(columns := (
      pickup_location_id
    )),
    accepted_range("column" := trips, min_v := 1)
  )
);

SELECT
  pickup_location_id::BIGINT AS pickup_location_id, /* Taxi zone; 264 and 265 are unknown */
  COUNT(*)::BIGINT AS trips, /* Trips that began there */
  COALESCE(SUM(passenger_count), 0)::BIGINT AS passengers, /* Passengers on them */
  SUM(total_amount)::DECIMAL(18, 2) AS total_amount_usd, /* US dollars that they paid */
  SUM(tip_amount)::DECIMAL(18, 2) AS tip_amount_usd, /* US dollars of tips among it */
  MIN(pickup_date)::DATE AS first_pickup_date, /* Day of the first of these trips */
  MAX(pickup_date)::DATE AS last_pickup_date, /* Day of the last of these trips */
  (
    CURRENT_TIMESTAMP AT TIME ZONE 'UTC'
  )::TIMESTAMP AS computed_at /* When this row was computed, UTC */
FROM staging.stg_nyc_taxi__trips
GROUP BY
  pickup_location_id
