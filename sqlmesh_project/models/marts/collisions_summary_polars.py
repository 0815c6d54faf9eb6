"""`marts.collisions_summary` once more as a Python model: Polars computes it, outside the database."""

from __future__ import annotations

import typing as t
from datetime import datetime

from sqlglot import exp
from sqlmesh import ExecutionContext, model


@model(
    "marts.collisions_summary_polars",
    description="Collisions of each borough and month, computed by Polars. "
    "Row for row the same as marts.collisions_summary.",
    kind="FULL",
    cron="@daily",
    owner="analytics",
    tags=["nyc_collisions", "example"],
    grains=["(borough, crash_month)"],
    depends_on=["staging.stg_nyc_collisions__crashes"],
    columns={
        "borough": "text",
        "crash_month": "date",
        "crashes": "bigint",
        "crashes_with_casualties": "bigint",
        "persons_injured": "bigint",
        "persons_killed": "bigint",
        "pedestrians_killed": "bigint",
        "cyclists_killed": "bigint",
        "motorists_killed": "bigint",
    },
    column_descriptions={
        "borough": "Borough in capitals; UNKNOWN where the record has none",
        "crash_month": "First day of the month, New York time",
        "crashes": "Collisions",
        "crashes_with_casualties": "Collisions in which somebody was injured or killed",
        "persons_injured": "Persons injured",
        "persons_killed": "Persons killed",
        "pedestrians_killed": "Pedestrians among the killed",
        "cyclists_killed": "Cyclists among the killed",
        "motorists_killed": "Drivers and passengers among the killed",
    },
    audits=[
        ("not_null", {"columns": exp.tuple_("borough", "crash_month", "crashes")}),
        ("unique_combination_of_columns", {"columns": exp.tuple_("borough", "crash_month")}),
    ],
)
def execute(
    context: ExecutionContext, start: datetime, end: datetime, execution_time: datetime, **kwargs: t.Any
) -> t.Iterator[t.Any]:
    """Yields nothing when there are no collisions: SQLMesh refuses an empty DataFrame."""
    import polars as pl

    killed = ["pedestrians_killed", "cyclists_killed", "motorists_killed"]
    # An expression, not text: SQLMesh then writes it in the dialect of whatever engine runs it.
    query = exp.select("borough", "crash_date", "persons_injured", "persons_killed", *killed).from_(
        exp.to_table(context.resolve_table("staging.stg_nyc_collisions__crashes"), dialect="duckdb")
    )
    crashes = pl.from_pandas(context.fetchdf(query))
    if crashes.is_empty():
        return
    summary = crashes.group_by(
        pl.col("borough").fill_null("UNKNOWN"),
        pl.col("crash_date").cast(pl.Date).dt.truncate("1mo").alias("crash_month"),
    ).agg(
        pl.len().alias("crashes"),
        ((pl.col("persons_injured") > 0) | (pl.col("persons_killed") > 0)).sum().alias("crashes_with_casualties"),
        pl.col("persons_injured", "persons_killed", *killed).sum(),
    )
    yield summary.to_pandas()
