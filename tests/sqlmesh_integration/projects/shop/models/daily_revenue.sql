/* Revenue of each day. */
MODEL (
  name marts.daily_revenue,
  kind INCREMENTAL_BY_TIME_RANGE (time_column ordered_on, lookback 2),
  grain ordered_on,
  owner shop_team,
  tags (published, finance),
  audits (
    not_null(columns := (ordered_on)),
    positive_revenue,
    accepted_range(column := orders, max_v := 1000, blocking := false)
  )
);

SELECT
  orders.ordered_at::DATE AS ordered_on, /* Day, UTC */
  SUM(orders.amount_usd)::DOUBLE AS revenue_usd, /* US dollars */
  COUNT(*)::BIGINT AS orders,
  @execution_ts::TIMESTAMP AS computed_at
FROM staging.stg_shop__orders AS orders
WHERE
  orders.ordered_at BETWEEN @start_ts AND @end_ts
GROUP BY
  1
