"""`marts.collisions_summary` once more in Ibis: written in Python, computed as SQL by the lake's own engine."""

from __future__ import annotations

from sqlglot import exp
from sqlmesh import model
from sqlmesh.core.macros import MacroEvaluator


@model(
    "marts.collisions_summary_ibis",
    is_sql=True,
    description="Collisions of each borough and month, written with Ibis. "
    "Row for row the same as marts.collisions_summary.",
    kind="FULL",
    cron="@daily",
    owner="analytics",
    tags=["nyc_collisions", "example"],
    grains=["(borough, crash_month)"],
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
def entrypoint(evaluator: MacroEvaluator) -> str:
    """The query, in DuckDB's dialect, over the staging view's columns that it needs."""
    import ibis

    counts = ["persons_injured", "persons_killed", "pedestrians_killed", "cyclists_killed", "motorists_killed"]
    crashes = ibis.table(
        {"borough": "string", "crash_date": "date", **dict.fromkeys(counts, "int32")},
        name="stg_nyc_collisions__crashes",
        database="staging",
    )
    hurt = (crashes.persons_injured > 0) | (crashes.persons_killed > 0)
    summary = crashes.group_by(
        borough=crashes.borough.fill_null("UNKNOWN"), crash_month=crashes.crash_date.truncate("M")
    ).aggregate(
        crashes=crashes.count(),
        crashes_with_casualties=crashes.count(where=hurt),
        **{name: crashes[name].sum().fill_null(0).cast("int64") for name in counts},
    )
    return str(ibis.to_sql(summary, dialect="duckdb"))
