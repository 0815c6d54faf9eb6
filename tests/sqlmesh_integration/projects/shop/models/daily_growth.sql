/* Each day's revenue beside the day before's; reads an incremental model. */
MODEL (
  name marts.daily_growth,
  kind INCREMENTAL_BY_TIME_RANGE (time_column ordered_on)
);

SELECT
  daily.ordered_on::DATE AS ordered_on,
  daily.revenue_usd::DOUBLE AS revenue_usd,
  @execution_ts::TIMESTAMP AS computed_at
FROM marts.daily_revenue AS daily
WHERE
  daily.ordered_on BETWEEN @start_ds AND @end_ds
