/* Orders as the shop sends them, one row per order. */
MODEL (
  name staging.stg_shop__orders,
  kind VIEW,
  owner 'data@example.com',
  grain order_id
);

SELECT
  orders.order_id::BIGINT AS order_id, /* The shop's own number */
  orders.customer::TEXT AS customer,
  orders.ordered_at::TIMESTAMP AS ordered_at,
  orders.amount_usd::DOUBLE AS amount_usd
FROM raw.shop__orders AS orders
