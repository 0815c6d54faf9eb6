MODEL (
  name marts.weekly_pages,
  kind FULL,
  cron '@weekly'
);

SELECT
  COUNT(*)::BIGINT AS pages
FROM marts.pages AS pages
