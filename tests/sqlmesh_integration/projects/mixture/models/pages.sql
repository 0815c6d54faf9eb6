MODEL (name marts.pages, kind FULL, grain page);

SELECT
  @short_page(events.page)::TEXT AS page,
  COUNT(*)::BIGINT AS clicks
FROM "raw-zone"."click-events" AS events
GROUP BY
  1
HAVING
  COUNT(*) >= @VAR('threshold')
