"""One partition through Dagster beside `sqlmesh run` for the same work."""

from __future__ import annotations

import statistics
from datetime import date, timedelta

from benchmarks.case import Case, Options
from benchmarks.measurement import Measured, Sample, differences, in_turns, spread
from benchmarks.model_project import START, ModelProject
from benchmarks.section import Section
from benchmarks.throwaway import Throwaway, throwaway

ROWS = (10_000, 100_000, 1_000_000)


def measure(options: Options) -> Section:
    """Each size in a project of its own; every command computes one day with that many rows."""
    section = Section()
    excess: dict[int, list[float]] = {}
    with throwaway() as lakehouse:
        for rows in (options.scaled(size, least=10) for size in ROWS):
            section.say(f"**{rows:,} rows in the day**")
            ours, bare, empty = _measured(lakehouse, rows, options.runs)
            section.comparison([ours, bare, empty])
            excess[rows] = differences(ours, bare)
            over = statistics.median(differences(ours, bare, empty))
            allowed = bare.median("cpu_seconds") + empty.median("cpu_seconds")
            section.judge(
                f"{rows:,} rows: no more CPU than `sqlmesh run` and an empty asset together",
                f"{spread(ours.values('cpu_seconds'))} s of {allowed:.1f} s allowed ({over:+.2f} s)",
                over <= 0,
            )
    (small, fewest), *_, (large, most) = sorted(excess.items())
    growth = statistics.median(most) - statistics.median(fewest)
    noise = max(max(values) - min(values) for values in excess.values())
    section.judge(
        f"what it costs more than `sqlmesh run` does not grow with the rows, {small:,} to {large:,}",
        f"{growth:+.2f} s of CPU; the runs themselves differ by up to {noise:.2f} s",
        growth <= max(noise, 0.1),
    )
    return section


def _measured(lakehouse: Throwaway, rows: int, runs: int) -> tuple[Measured, Measured, Measured]:
    days = [(date.fromisoformat(START) + timedelta(days=number)).isoformat() for number in range(2 * runs + 2)]
    project = ModelProject.create(lakehouse, f"day_of_{rows}", {"copied": MODEL.format(rows=rows)}, FILL.format(
        rows=rows, days=len(days), start=START
    ), computed=False)  # fmt: skip
    left = iter(days)

    def ours() -> list[str]:
        return project.dagster("--select", f"key:marts/copied_{rows}", "--partition", next(left))

    def bare() -> list[str]:
        day = next(left)
        return project.sqlmesh("run", "prod", "--start", day, "--end", day)

    def run(words: list[str]) -> Sample:
        return lakehouse.command(*words, cwd=project.folder)

    run(ours())
    run(bare())
    day = days[0]
    materialize = project.dagster("--select", f"key:marts/copied_{rows}", "--partition", day)
    materialized = Measured("dagster asset materialize, one partition", lakehouse.shown(*materialize))
    run_bare = Measured(
        "sqlmesh run, the same work",
        lakehouse.shown(*project.sqlmesh("run", "prod", "--start", day, "--end", day)),
    )
    nothing = Measured("dagster asset materialize, an empty asset", lakehouse.shown(*project.empty_asset()))
    in_turns(
        runs,
        (materialized, lambda: run(ours())),
        (run_bare, lambda: run(bare())),
        (nothing, lambda: run(project.empty_asset())),
    )
    project.holds(f"SELECT count(*) FROM marts.copied_{rows}", rows * len(days))
    return materialized, run_bare, nothing


FILL = """
    CREATE TABLE raw.rows_{rows} AS
    SELECT n AS order_id, n % 97 AS customer_id, TIMESTAMP '{start}' + INTERVAL (n // {rows}) DAY AS ordered_at,
        (n % 1000)::DOUBLE AS amount_usd
    FROM range({rows} * {days}) AS numbers(n)
"""
MODEL = """
    MODEL (
      name marts.copied_{rows},
      kind INCREMENTAL_BY_TIME_RANGE (time_column ordered_on),
      audits (not_null(columns := (order_id)))
    );
    SELECT order_id, customer_id, ordered_at::DATE AS ordered_on, amount_usd
    FROM lakehouse.raw.rows_{rows}
    WHERE ordered_at BETWEEN @start_ts AND @end_ts
"""

CASE = Case(
    "one-partition",
    "One partition",
    "Whole commands. Each computes one day that was missing, all rows of which it copies; the instance's storage, "
    "SQLMesh's state and the lake's catalog are in PostgreSQL, whose CPU is counted.",
    measure,
)
