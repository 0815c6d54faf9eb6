MODEL (
  name marts.users_over_time,
  kind SCD_TYPE_2_BY_COLUMN (unique_key user_id, columns [clicks])
);

SELECT
  events.user_id::BIGINT AS user_id,
  COUNT(*)::BIGINT AS clicks
FROM "raw-zone"."click-events" AS events
GROUP BY
  1
