/* Lifetime revenue of each customer. */
MODEL (
  name marts.customer_revenue,
  kind FULL,
  cron '@weekly',
  grain customer,
  audits (not_null(columns := (customer)), not_null(columns := (revenue_usd)))
);

SELECT
  orders.customer::TEXT AS customer,
  SUM(orders.amount_usd)::DOUBLE AS revenue_usd,
  @execution_ts::TIMESTAMP AS computed_at
FROM staging.stg_shop__orders AS orders
GROUP BY
  1
