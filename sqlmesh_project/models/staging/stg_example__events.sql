/* The example shop's events with the day they happened on. One row per event. */
MODEL (
  name staging.stg_example__events,
  kind VIEW,
  owner analytics,
  tags (
    example
  ),
  grain event_id,
  audits (
    not_null(columns := (event_id, event_date)),
    unique_values(columns := (
      event_id
    )),
    accepted_values("column" := event_type, is_in := ('page_view', 'purchase'))
  )
);

SELECT
  event_id::BIGINT AS event_id, /* Number of the event */
  user_id::BIGINT AS user_id, /* Who did it */
  event_type::TEXT AS event_type, /* page_view or purchase */
  event_timestamp::TIMESTAMP AS event_timestamp, /* When it happened, UTC */
  event_timestamp::DATE AS event_date, /* The day it happened on, UTC */
  revenue::DECIMAL(12, 2) AS revenue /* US dollars; 0 for a page view */
FROM staging.seed_example_events
WHERE
  @example_rejection() IS NULL
