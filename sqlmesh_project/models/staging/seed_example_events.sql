/* Five events of a made-up shop over two days: small enough to check every number by hand. */
MODEL (
  name staging.seed_example_events,
  kind SEED (
    path '../../seeds/example_events.csv'
  ),
  owner analytics,
  tags (
    example
  ),
  grain event_id,
  columns (
    event_id BIGINT,
    user_id BIGINT,
    event_type TEXT,
    event_timestamp TIMESTAMP,
    revenue DECIMAL(12, 2)
  ),
  column_descriptions (
    event_id = 'Number of the event',
    user_id = 'Who did it',
    event_type = 'page_view or purchase',
    event_timestamp = 'When it happened, UTC',
    revenue = 'US dollars; 0 for a page view'
  ),
  audits (
    not_null(columns := (event_id, user_id, event_type, event_timestamp, revenue)),
    unique_values(columns := (
      event_id
    ))
  )
)
