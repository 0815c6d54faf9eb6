/* Orders by day. */
MODEL (
  name marts.orders_per_day,
  kind INCREMENTAL_BY_TIME_RANGE (
    time_column day
  ),
  start '2024-01-01',
  end '2024-02-10',
  tags (published),
  audits (unique_values(columns := (day)))
);

SELECT
  day::DATE AS day,
  COUNT(*)::BIGINT AS orders,
  SUM(cents)::BIGINT AS cents
FROM staging.stg_orders
WHERE
  day BETWEEN @start_ds AND @end_ds
GROUP BY
  day
