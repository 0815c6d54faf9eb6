/* Collisions by what contributed to them, month by month, and who was hurt in them. One row per cause and month that had one. */
MODEL (
  name marts.collisions_by_cause,
  kind FULL,
  cron '@daily',
  owner analytics,
  tags (published, nyc_collisions),
  grain (cause, crash_month),
  audits (
    not_null(columns := (cause, crash_month, crashes, persons_injured, persons_killed)),
    unique_combination_of_columns(columns := (cause, crash_month)),
    accepted_range("column" := crashes, min_v := 1)
  )
);

SELECT
  COALESCE(contributing_factor, 'Unspecified')::TEXT AS cause, /* What contributed, by the first vehicle's record; Unspecified, the police's own word, where there is none, too */
  DATE_TRUNC('MONTH', crash_date)::DATE AS crash_month, /* First day of the month, New York time */
  COUNT(*)::BIGINT AS crashes, /* Collisions */
  COALESCE(SUM(persons_injured), 0)::BIGINT AS persons_injured, /* Persons injured */
  COALESCE(SUM(persons_killed), 0)::BIGINT AS persons_killed /* Persons killed */
FROM staging.stg_nyc_collisions__crashes
GROUP BY
  COALESCE(contributing_factor, 'Unspecified'),
  DATE_TRUNC('MONTH', crash_date)::DATE
