/* Orders of 100 dollars and more; has no table of its own. */
MODEL (name staging.large_orders, kind EMBEDDED);

SELECT
  orders.order_id,
  orders.ordered_at,
  orders.amount_usd
FROM staging.stg_shop__orders AS orders
WHERE
  orders.amount_usd >= 100
