/* Collisions in New York and who was hurt in them. One row per day and borough that had one. */
MODEL (
  name marts.collisions_daily,
  kind INCREMENTAL_BY_TIME_RANGE (
    time_column crash_date,
    lookback 2,
    partition_by_time_column FALSE /* a day is a handful of rows: a file each would only slow readers down */
  ),
  start '2012-07-01',
  cron '@daily',
  owner analytics,
  tags (published, nyc_collisions),
  grain (crash_date, borough),
  audits (
    not_null(columns := (crash_date, borough, crashes, persons_injured, persons_killed)),
    unique_combination_of_columns(columns := (crash_date, borough)),
    accepted_range("column" := crashes, min_v := 1)
  )
);

SELECT
  crash_date::DATE AS crash_date, /* The day, New York time */
  COALESCE(borough, 'UNKNOWN')::TEXT AS borough, /* Borough in capitals; UNKNOWN where the record has none */
  COUNT(*)::BIGINT AS crashes, /* Collisions */
  COALESCE(SUM(persons_injured), 0)::BIGINT AS persons_injured, /* Persons injured in them */
  COALESCE(SUM(persons_killed), 0)::BIGINT AS persons_killed, /* Persons killed in them */
  COALESCE(SUM(pedestrians_injured), 0)::BIGINT AS pedestrians_injured, /* Pedestrians among the injured */
  COALESCE(SUM(cyclists_injured), 0)::BIGINT AS cyclists_injured, /* Cyclists among the injured */
  COALESCE(SUM(motorists_injured), 0)::BIGINT AS motorists_injured, /* Drivers and passengers among the injured */
  (
    CURRENT_TIMESTAMP AT TIME ZONE 'UTC'
  )::TIMESTAMP AS computed_at /* When this row was computed, UTC */
FROM staging.stg_nyc_collisions__crashes
WHERE
  crash_date BETWEEN @start_ds AND @end_ds
GROUP BY
  crash_date,
  COALESCE(borough, 'UNKNOWN')
