/* Order lines by day. */
MODEL (
  name marts.lines_per_day,
  kind INCREMENTAL_BY_TIME_RANGE (
    time_column day
  ),
  start '2024-01-01',
  end '2024-02-10',
  tags (published),
  partitioned_by day,
  audits (unique_values(columns := (day)))
);

SELECT
  ordered_at::DATE AS day,
  COUNT(*)::BIGINT AS lines,
  SUM(cents)::BIGINT AS cents
FROM raw.proof__order_lines
WHERE
  ordered_at::DATE BETWEEN @start_ds AND @end_ds
GROUP BY
  1
