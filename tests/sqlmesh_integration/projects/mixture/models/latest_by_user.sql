MODEL (
  name marts.latest_by_user,
  kind INCREMENTAL_BY_UNIQUE_KEY (unique_key user_id),
  grain user_id
);

SELECT
  events.user_id::BIGINT AS user_id,
  MAX(events.at)::TIMESTAMP AS last_click_at
FROM "raw-zone"."click-events" AS events
WHERE
  events.at BETWEEN @start_ts AND @end_ts
GROUP BY
  1
