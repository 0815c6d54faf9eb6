/* Purchases and refunds of a British online shop, one row per line of an invoice. Rows without a time, a type or an amount are left out and counted in marts.rejected_rows. */
MODEL (
  name staging.stg_ecommerce__events,
  kind VIEW,
  owner analytics,
  tags (
    ecommerce
  ),
  grain event_id,
  audits (
    not_null(columns := (event_id, event_type, event_timestamp, revenue)),
    unique_combination_of_columns(columns := (
      event_id
    ))
  )
);

SELECT
  event_id::BIGINT AS event_id, /* Number of the event */
  user_id::BIGINT AS user_id, /* The customer; empty for a fifth of the events, sold without an account */
  event_type::TEXT AS event_type, /* purchase or refund */
  event_timestamp::TIMESTAMP AS event_timestamp, /* When it happened, as the shop's clock said */
  event_timestamp::DATE AS event_date, /* The day it happened on */
  revenue::DECIMAL(12, 2) AS revenue, /* Pounds sterling: quantity times unit price, negative for most refunds */
  invoice::TEXT AS invoice, /* Number of the invoice; C in front marks a cancellation, A an adjustment of bad debt */
  sku::TEXT AS sku, /* The shop's code of the product */
  country::TEXT AS country /* Where the customer lives */
FROM raw.ecommerce__events
WHERE
  @ecommerce_rejection() IS NULL
