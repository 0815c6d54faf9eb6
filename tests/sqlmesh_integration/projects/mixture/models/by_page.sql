MODEL (
  name marts.clicks_by_page,
  kind INCREMENTAL_BY_PARTITION,
  partitioned_by (page)
);

SELECT
  pages.page::TEXT AS page,
  pages.clicks::BIGINT AS clicks
FROM marts.pages AS pages
