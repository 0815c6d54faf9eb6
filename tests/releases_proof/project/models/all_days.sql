/* The two marts' totals side by side. */
MODEL (
  name marts.all_days,
  kind VIEW,
  tags (published)
);

SELECT
  (
    SELECT
      SUM(cents)
    FROM marts.orders_per_day
  )::BIGINT AS order_cents,
  (
    SELECT
      SUM(cents)
    FROM marts.lines_per_day
  )::BIGINT AS line_cents
