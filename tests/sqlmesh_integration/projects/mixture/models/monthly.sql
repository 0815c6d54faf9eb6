MODEL (
  name marts.monthly_clicks,
  kind INCREMENTAL_BY_TIME_RANGE (time_column month),
  cron '@monthly',
  start '2023-11-01'
);

SELECT
  DATE_TRUNC('month', events.at)::DATE AS month,
  COUNT(*)::BIGINT AS clicks,
  @execution_ts::TIMESTAMP AS computed_at
FROM "raw-zone"."click-events" AS events
WHERE
  events.at BETWEEN @start_ts AND @end_ts
GROUP BY
  1
