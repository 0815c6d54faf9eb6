"""Why staging leaves a row of raw out: the one place where these rules are written.

Each macro is a CASE over the columns of one raw table: a sentence for a row that is left out, NULL for one that
is kept. The staging view keeps the rows where it is NULL and `marts.rejected_rows` counts the others, so kept and
rejected always add up to raw. A model that starts on a day names the same day here: rows before it are counted
instead of never reaching the model.
"""

from sqlmesh import macro


@macro()
def nyc_collisions_rejection(evaluator) -> str:
    """Of a row of `raw.nyc_collisions__crashes`, in which everything is text."""
    return """
    CASE
      WHEN collision_id IS NULL THEN 'collision_id is missing'
      WHEN TRY_CAST(collision_id AS BIGINT) IS NULL THEN 'collision_id is no number'
      WHEN crash_date IS NULL THEN 'crash_date is missing'
      WHEN TRY_CAST(crash_date AS TIMESTAMP) IS NULL THEN 'crash_date is no date'
      WHEN TRY_CAST(crash_date AS TIMESTAMP) < CAST('2012-07-01' AS TIMESTAMP)
        THEN 'crash_date lies before 2012-07-01, when the records begin'
      WHEN (NOT number_of_persons_injured IS NULL AND TRY_CAST(number_of_persons_injured AS INT) IS NULL)
        OR (NOT number_of_persons_killed IS NULL AND TRY_CAST(number_of_persons_killed AS INT) IS NULL)
        OR (NOT number_of_pedestrians_injured IS NULL AND TRY_CAST(number_of_pedestrians_injured AS INT) IS NULL)
        OR (NOT number_of_pedestrians_killed IS NULL AND TRY_CAST(number_of_pedestrians_killed AS INT) IS NULL)
        OR (NOT number_of_cyclist_injured IS NULL AND TRY_CAST(number_of_cyclist_injured AS INT) IS NULL)
        OR (NOT number_of_cyclist_killed IS NULL AND TRY_CAST(number_of_cyclist_killed AS INT) IS NULL)
        OR (NOT number_of_motorist_injured IS NULL AND TRY_CAST(number_of_motorist_injured AS INT) IS NULL)
        OR (NOT number_of_motorist_killed IS NULL AND TRY_CAST(number_of_motorist_killed AS INT) IS NULL)
        THEN 'a count of injured or killed is no number'
    END
    """


@macro()
def nyc_taxi_rejection(evaluator) -> str:
    """Of a row of `raw.nyc_taxi__trips`. The month of a file is in its name, as 2018-01 or 2018_01."""
    return """
    CASE
      WHEN pickup_datetime IS NULL THEN 'pickup_datetime is missing'
      WHEN pickup_location_id IS NULL THEN 'pickup_location_id is missing'
      WHEN total_amount IS NULL THEN 'total_amount is missing'
      WHEN REGEXP_MATCHES(source_file, '[0-9]{4}[-_][0-9]{2}')
        AND NOT REPLACE(source_file, '_', '-') LIKE '%' || CAST(EXTRACT(YEAR FROM pickup_datetime) AS VARCHAR)
          || '-' || LPAD(CAST(EXTRACT(MONTH FROM pickup_datetime) AS VARCHAR), 2, '0') || '%'
        THEN 'pick-up lies outside the month of its file'
      WHEN total_amount < 0 THEN 'total_amount is negative'
    END
    """


@macro()
def nyc_taxi_zones_rejection(evaluator) -> str:
    """Of a row of `raw.nyc_taxi_zones__zones`. It looks at other rows, too: staging asks it with QUALIFY."""
    return """
    CASE
      WHEN location_id IS NULL THEN 'location_id is missing'
      WHEN ROW_NUMBER() OVER (
          PARTITION BY location_id ORDER BY _dlt_load_id DESC, source_file DESC, source_row DESC
        ) > 1
        THEN 'a later row of the same zone is there'
    END
    """


@macro()
def ecommerce_rejection(evaluator) -> str:
    """Of a row of `raw.ecommerce__events`."""
    return """
    CASE
      WHEN event_id IS NULL THEN 'event_id is missing'
      WHEN event_timestamp IS NULL THEN 'event_timestamp is missing'
      WHEN event_timestamp < CAST('2009-12-01' AS TIMESTAMP)
        THEN 'event_timestamp lies before 2009-12-01, when the records begin'
      WHEN event_type IS NULL THEN 'event_type is missing'
      WHEN revenue IS NULL THEN 'revenue is missing'
    END
    """


@macro()
def example_rejection(evaluator) -> str:
    """Of a row of the seed `staging.seed_example_events`."""
    return """
    CASE
      WHEN event_id IS NULL THEN 'event_id is missing'
      WHEN event_timestamp IS NULL THEN 'event_timestamp is missing'
      WHEN event_timestamp < CAST('2024-01-01' AS TIMESTAMP)
        THEN 'event_timestamp lies before 2024-01-01, when the example begins'
    END
    """


@macro()
def wfp_food_prices_rejection(evaluator) -> str:
    """Of a row of `raw.wfp_food_prices__prices`."""
    return """
    CASE
      WHEN countryiso3 IS NULL THEN 'countryiso3 is missing'
      WHEN date IS NULL THEN 'date is missing'
      WHEN commodity IS NULL OR unit IS NULL THEN 'commodity or unit is missing'
      WHEN usdprice IS NULL THEN 'usdprice is missing'
      WHEN usdprice < 0 THEN 'usdprice is negative'
    END
    """
