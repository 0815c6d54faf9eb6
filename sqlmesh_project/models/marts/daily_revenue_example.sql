/* What the example shop's visitors bought. One row per day with an event. */
MODEL (
  name marts.daily_revenue_example,
  kind INCREMENTAL_BY_TIME_RANGE (
    time_column event_date,
    lookback 2
  ),
  start '2024-01-01',
  cron '@daily',
  owner analytics,
  tags (published, example),
  grain event_date,
  audits (
    not_null(columns := (event_date, unique_users, total_revenue)),
    unique_values(columns := (
      event_date
    )),
    accepted_range("column" := total_revenue, min_v := 0)
  )
);

SELECT
  event_date::DATE AS event_date, /* The day, UTC */
  COUNT(DISTINCT user_id)::BIGINT AS unique_users, /* Different users with any event on that day */
  COALESCE(SUM(CASE WHEN event_type = 'purchase' THEN revenue END), 0)::DECIMAL(18, 2) AS total_revenue, /* US dollars of that day's purchases */
  (
    CURRENT_TIMESTAMP AT TIME ZONE 'UTC'
  )::TIMESTAMP AS computed_at /* When this row was computed, UTC */
FROM staging.stg_example__events
WHERE
  event_date BETWEEN @start_ds AND @end_ds
GROUP BY
  event_date
