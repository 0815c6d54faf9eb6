/* New York's taxi zones and their names, one row per zone. Of a zone that comes several times the row that was loaded last is kept, the others are counted in marts.rejected_rows. */
MODEL (
  name staging.stg_nyc_taxi__zones,
  kind VIEW,
  owner analytics,
  tags (
    nyc_taxi
  ),
  grain location_id,
  audits (
    not_null(columns := (
      location_id
    )),
    unique_values(columns := (
      location_id
    ))
  )
);

SELECT
  location_id::BIGINT AS location_id, /* Number of the zone, as the trips name it */
  zone::TEXT AS zone, /* Its name; a few zones share one */
  borough::TEXT AS borough, /* Borough that it lies in; EWR is Newark's airport */
  service_zone::TEXT AS service_zone /* Which taxis may wait there: Yellow Zone, Boro Zone, Airports, EWR */
FROM raw.nyc_taxi_zones__zones
QUALIFY
  @nyc_taxi_zones_rejection() IS NULL
