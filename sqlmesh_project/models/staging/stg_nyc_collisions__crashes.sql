/* Motor vehicle collisions that the New York police recorded, converted from the portal's text. One row per collision. Rows whose key, date or counts can't be read are left out and counted in marts.rejected_rows; an unreadable time or place is empty here. */
MODEL (
  name staging.stg_nyc_collisions__crashes,
  kind VIEW,
  owner analytics,
  tags (
    nyc_collisions
  ),
  grain collision_id,
  audits (
    not_null(columns := (collision_id, crash_date)),
    unique_combination_of_columns(columns := (
      collision_id
    )),
    accepted_range("column" := persons_injured, min_v := 0),
    accepted_range("column" := persons_killed, min_v := 0),
    accepted_range("column" := latitude, min_v := 40, max_v := 42, blocking := FALSE)
  )
);

SELECT
  TRY_CAST(collision_id AS BIGINT) AS collision_id, /* The police's number of the collision */
  TRY_CAST(crash_date AS TIMESTAMP)::DATE AS crash_date, /* The day it happened on, New York time */
  TRY_CAST(crash_time AS TIME) AS crash_time, /* The time of that day, New York time */
  borough::TEXT AS borough, /* Borough in capitals; empty in a third of the records */
  zip_code::TEXT AS zip_code, /* Postal code */
  NULLIF(TRY_CAST(latitude AS DOUBLE), 0) AS latitude, /* Degrees north; the portal's 0 means unknown and is empty here */
  NULLIF(TRY_CAST(longitude AS DOUBLE), 0) AS longitude, /* Degrees east; the portal's 0 means unknown and is empty here */
  on_street_name::TEXT AS on_street_name, /* Street it happened on */
  TRY_CAST(number_of_persons_injured AS INT) AS persons_injured, /* Persons injured, all kinds */
  TRY_CAST(number_of_persons_killed AS INT) AS persons_killed, /* Persons killed, all kinds */
  TRY_CAST(number_of_pedestrians_injured AS INT) AS pedestrians_injured, /* Pedestrians injured */
  TRY_CAST(number_of_pedestrians_killed AS INT) AS pedestrians_killed, /* Pedestrians killed */
  TRY_CAST(number_of_cyclist_injured AS INT) AS cyclists_injured, /* Cyclists injured */
  TRY_CAST(number_of_cyclist_killed AS INT) AS cyclists_killed, /* Cyclists killed */
  TRY_CAST(number_of_motorist_injured AS INT) AS motorists_injured, /* Drivers and passengers injured */
  TRY_CAST(number_of_motorist_killed AS INT) AS motorists_killed, /* Drivers and passengers killed */
  contributing_factor_vehicle_1::TEXT AS contributing_factor, /* What contributed, by the first vehicle's record */
  vehicle_type_code1::TEXT AS vehicle_type, /* Type of the first vehicle, in some 300 spellings */
  portal_updated_at::TIMESTAMPTZ AS portal_updated_at /* When the portal last changed the record */
FROM raw.nyc_collisions__crashes
WHERE
  @nyc_collisions_rejection() IS NULL
