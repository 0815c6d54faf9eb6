/* Clicks of each hour. */
MODEL (
  name "web-marts"."hourly-clicks",
  kind INCREMENTAL_BY_TIME_RANGE (time_column at_hour),
  cron '@hourly',
  start '2024-01-01',
  end '2024-01-02',
  audits (small_enough(most := 50), small_enough(most := 60), inline_positive)
);

@DEF(one, 1);

SELECT
  DATE_TRUNC('hour', events.at)::TIMESTAMP AS at_hour,
  COUNT(*)::BIGINT * @one AS clicks,
  @execution_ts::TIMESTAMP AS computed_at
FROM "raw-zone"."click-events" AS events
WHERE
  events.at BETWEEN @start_ts AND @end_ts
GROUP BY
  1;

AUDIT (name inline_positive);
SELECT * FROM @this_model WHERE clicks <= 0;
