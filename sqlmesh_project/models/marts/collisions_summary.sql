/* Collisions of each borough and month, and who was hurt in them. One row per borough and month that had one. */
MODEL (
  name marts.collisions_summary,
  kind FULL,
  cron '@daily',
  owner analytics,
  tags (published, nyc_collisions),
  grain (borough, crash_month),
  audits (
    not_null(columns := (borough, crash_month, crashes, persons_injured, persons_killed)),
    unique_combination_of_columns(columns := (borough, crash_month)),
    accepted_range("column" := crashes, min_v := 1)
  )
);

SELECT
  COALESCE(borough, 'UNKNOWN')::TEXT AS borough, /* Borough in capitals; UNKNOWN where the record has none */
  DATE_TRUNC('MONTH', crash_date)::DATE AS crash_month, /* First day of the month, New York time */
  COUNT(*)::BIGINT AS crashes, /* Collisions */
  SUM(CASE WHEN persons_injured > 0 OR persons_killed > 0 THEN 1 ELSE 0 END)::BIGINT AS crashes_with_casualties, /* Collisions in which somebody was injured or killed */
  COALESCE(SUM(persons_injured), 0)::BIGINT AS persons_injured, /* Persons injured */
  COALESCE(SUM(persons_killed), 0)::BIGINT AS persons_killed, /* Persons killed */
  COALESCE(SUM(pedestrians_killed), 0)::BIGINT AS pedestrians_killed, /* Pedestrians among the killed */
  COALESCE(SUM(cyclists_killed), 0)::BIGINT AS cyclists_killed, /* Cyclists among the killed */
  COALESCE(SUM(motorists_killed), 0)::BIGINT AS motorists_killed /* Drivers and passengers among the killed */
FROM staging.stg_nyc_collisions__crashes
GROUP BY
  COALESCE(borough, 'UNKNOWN'),
  DATE_TRUNC('MONTH', crash_date)::DATE
