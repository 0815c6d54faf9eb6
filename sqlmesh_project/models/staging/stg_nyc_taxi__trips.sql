/* Trips of New York's yellow taxis, one row per trip of a month's file. Trips outside the month of their file and negative totals (voided rides) are left out and counted in marts.rejected_rows. */
MODEL (
  name staging.stg_nyc_taxi__trips,
  kind VIEW,
  owner analytics,
  tags (
    nyc_taxi
  ),
  grain (source_file, source_row),
  audits (
    not_null(columns := (pickup_datetime, pickup_location_id, total_amount)),
    unique_combination_of_columns(columns := (source_file, source_row)),
    accepted_range("column" := total_amount, min_v := 0),
    accepted_range("column" := total_amount, max_v := 10000, blocking := FALSE)
  )
);

SELECT
  vendor_id::TEXT AS vendor_id, /* Who made the taximeter: 1 Creative Mobile, 2 VeriFone, 4 others */
  pickup_datetime::TIMESTAMP AS pickup_datetime, /* When the meter was switched on, New York time */
  dropoff_datetime::TIMESTAMP AS dropoff_datetime, /* When it was switched off, New York time */
  pickup_datetime::DATE AS pickup_date, /* The day of the pick-up */
  passenger_count::BIGINT AS passenger_count, /* Passengers, as the driver typed it in */
  trip_distance::DOUBLE AS trip_distance_miles, /* Miles by the taximeter; a few are negative */
  pickup_location_id::BIGINT AS pickup_location_id, /* Taxi zone of the pick-up; 264 and 265 are unknown */
  dropoff_location_id::BIGINT AS dropoff_location_id, /* Taxi zone of the drop-off */
  payment_type::TEXT AS payment_type, /* 1 card, 2 cash, 3 no charge, 4 dispute */
  fare_amount::DECIMAL(12, 2) AS fare_amount, /* US dollars by the meter */
  tip_amount::DECIMAL(12, 2) AS tip_amount, /* US dollars of tip paid by card */
  tolls_amount::DECIMAL(12, 2) AS tolls_amount, /* US dollars of tolls */
  congestion_surcharge::DECIMAL(12, 2) AS congestion_surcharge, /* US dollars; empty before 2019-02, when it was introduced */
  total_amount::DECIMAL(12, 2) AS total_amount, /* US dollars that the passenger paid, cash tips left out */
  source_file::TEXT AS source_file, /* The file it came in */
  source_row::BIGINT AS source_row /* Its row there, the first being 1 */
FROM raw.nyc_taxi__trips
WHERE
  @nyc_taxi_rejection() IS NULL
