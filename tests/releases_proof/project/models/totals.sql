/* Both raw tables in one row. */
MODEL (
  name marts.totals,
  kind FULL,
  start '2024-01-01',
  tags (published)
);

SELECT
  orders.loads::BIGINT AS order_loads,
  lines.loads::BIGINT AS line_loads,
  orders.orders::BIGINT AS orders,
  orders.cents::BIGINT AS order_cents,
  lines.cents::BIGINT AS line_cents
FROM (
  SELECT
    MAX(load) AS loads,
    COUNT(*) AS orders,
    SUM(cents) AS cents
  FROM staging.stg_orders
) AS orders
CROSS JOIN (
  SELECT
    MAX(load) AS loads,
    SUM(cents) AS cents
  FROM raw.proof__order_lines
) AS lines
