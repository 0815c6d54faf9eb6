/* Orders, with their day. */
MODEL (
  name staging.stg_orders,
  kind VIEW
);

SELECT
  order_id::BIGINT AS order_id,
  load::BIGINT AS load,
  ordered_at::DATE AS day,
  cents::BIGINT AS cents
FROM raw.proof__orders
