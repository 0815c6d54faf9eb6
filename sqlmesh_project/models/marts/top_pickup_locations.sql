/* The 200 taxi zones with the most pick-ups, the busiest first. One row per zone; equal counts are ordered by the zone's number. */
MODEL (
  name marts.top_pickup_locations,
  kind FULL,
  cron '@daily',
  owner analytics,
  tags (published, nyc_taxi),
  grain pickup_location_id,
  audits (
    not_null(columns := (position, pickup_location_id, pickup_zone, trips)),
    unique_values(columns := (pickup_location_id, position)),
    accepted_range("column" := position, min_v := 1, max_v := 200)
  )
);

WITH ranked AS (
  SELECT
    ROW_NUMBER() OVER (ORDER BY trips DESC, pickup_location_id) AS position,
    pickup_location_id,
    pickup_zone,
    pickup_borough,
    trips,
    total_amount_usd
  FROM marts.trips_by_pickup_location
)
SELECT
  position::BIGINT AS position, /* 1 for the zone with the most pick-ups */
  pickup_location_id::BIGINT AS pickup_location_id, /* Taxi zone; 264 and 265 are unknown */
  pickup_zone::TEXT AS pickup_zone, /* Name of the zone, its number where it has none; a few zones share a name */
  pickup_borough::TEXT AS pickup_borough, /* Borough that it lies in; EWR is Newark's airport */
  trips::BIGINT AS trips, /* Trips that began there */
  total_amount_usd::DECIMAL(18, 2) AS total_amount_usd, /* US dollars that passengers paid for them */
  (
    CURRENT_TIMESTAMP AT TIME ZONE 'UTC'
  )::TIMESTAMP AS computed_at /* When this row was computed, UTC */
FROM ranked
WHERE
  position <= 200
ORDER BY
  position
