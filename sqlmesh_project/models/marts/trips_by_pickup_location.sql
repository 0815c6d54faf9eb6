/* Yellow taxi trips by where they began. One row per taxi zone that had a pick-up. */
MODEL (
  name marts.trips_by_pickup_location,
  kind FULL,
  cron '@daily',
  owner analytics,
  tags (published, nyc_taxi),
  grain pickup_location_id,
  audits (
    not_null(
      columns := (pickup_location_id, pickup_zone, pickup_borough, trips, total_amount_usd)
    ),
    unique_values(columns := (
      pickup_location_id
    )),
    accepted_range("column" := trips, min_v := 1)
  )
);

SELECT
  trips.pickup_location_id::BIGINT AS pickup_location_id, /* Taxi zone; 264 and 265 are unknown */
  COALESCE(MAX(zones.zone), 'Zone ' || trips.pickup_location_id)::TEXT AS pickup_zone, /* Name of the zone, its number where it has none; a few zones share a name */
  COALESCE(MAX(zones.borough), 'Unknown')::TEXT AS pickup_borough, /* Borough that it lies in; EWR is Newark's airport */
  COUNT(*)::BIGINT AS trips, /* Trips that began there */
  COALESCE(SUM(trips.passenger_count), 0)::BIGINT AS passengers, /* Passengers on them */
  SUM(trips.total_amount)::DECIMAL(18, 2) AS total_amount_usd, /* US dollars that they paid */
  SUM(trips.tip_amount)::DECIMAL(18, 2) AS tip_amount_usd, /* US dollars of tips among it */
  MIN(trips.pickup_date)::DATE AS first_pickup_date, /* Day of the first of these trips */
  MAX(trips.pickup_date)::DATE AS last_pickup_date, /* Day of the last of these trips */
  (
    CURRENT_TIMESTAMP AT TIME ZONE 'UTC'
  )::TIMESTAMP AS computed_at /* When this row was computed, UTC */
FROM staging.stg_nyc_taxi__trips AS trips
LEFT JOIN staging.stg_nyc_taxi__zones AS zones
  ON trips.pickup_location_id = zones.location_id
GROUP BY
  trips.pickup_location_id
