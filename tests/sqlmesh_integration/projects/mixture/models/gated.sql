MODEL (
  name marts.gated_clicks,
  kind INCREMENTAL_BY_TIME_RANGE (time_column day),
  start '2024-01-01',
  end '2024-01-03',
  signals (is_open(gate := @VAR('gate', '/nowhere')))
);

SELECT
  events.at::DATE AS day,
  COUNT(*)::BIGINT AS clicks
FROM "raw-zone"."click-events" AS events
WHERE
  events.at BETWEEN @start_ts AND @end_ts
GROUP BY
  1
