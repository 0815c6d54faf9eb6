/* Large orders of each day, through an embedded model. */
MODEL (name marts.large_orders_by_day, kind FULL);

SELECT
  large.ordered_at::DATE AS ordered_on,
  COUNT(*)::BIGINT AS orders,
  @execution_ts::TIMESTAMP AS computed_at
FROM staging.large_orders AS large
GROUP BY
  1
