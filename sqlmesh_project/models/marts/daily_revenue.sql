/* What the online shop sold and took back. One row per day with an event; amounts in pounds sterling. */
MODEL (
  name marts.daily_revenue,
  kind INCREMENTAL_BY_TIME_RANGE (
    time_column event_date,
    lookback 2,
    partition_by_time_column FALSE /* a day is a handful of rows: a file each would only slow readers down */
  ),
  start '2009-12-01',
  cron '@daily',
  owner analytics,
  tags (published, ecommerce),
  grain event_date,
  audits (
    not_null(
      columns := (event_date, unique_users, total_revenue, refunded_revenue, net_revenue)
    ),
    unique_values(columns := (
      event_date
    )),
    accepted_range("column" := purchases, min_v := 0),
    accepted_range("column" := refunds, min_v := 0)
  )
);

SELECT
  event_date::DATE AS event_date, /* The day, by the shop's clock */
  COUNT(DISTINCT user_id)::BIGINT AS unique_users, /* Different customers with an account who bought or returned something */
  SUM(CASE WHEN event_type = 'purchase' THEN 1 ELSE 0 END)::BIGINT AS purchases, /* Invoice lines sold */
  SUM(CASE WHEN event_type = 'refund' THEN 1 ELSE 0 END)::BIGINT AS refunds, /* Invoice lines taken back */
  SUM(CASE WHEN event_type = 'purchase' THEN revenue ELSE 0 END)::DECIMAL(18, 2) AS total_revenue, /* Purchases; bad debt written off can make it negative [£] */
  SUM(CASE WHEN event_type = 'refund' THEN revenue ELSE 0 END)::DECIMAL(18, 2) AS refunded_revenue, /* Refunds, a negative number [£] */
  SUM(CASE WHEN event_type IN ('purchase', 'refund') THEN revenue ELSE 0 END)::DECIMAL(18, 2) AS net_revenue, /* Both together [£] */
  (
    CURRENT_TIMESTAMP AT TIME ZONE 'UTC'
  )::TIMESTAMP AS computed_at /* When this row was computed, UTC */
FROM staging.stg_ecommerce__events
WHERE
  event_date BETWEEN @start_ds AND @end_ds
GROUP BY
  event_date
