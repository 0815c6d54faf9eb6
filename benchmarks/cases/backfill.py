"""A year of three models in one run beside `sqlmesh plan`."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from benchmarks.case import Case, Options
from benchmarks.measurement import Measured, in_turns, ratio, timed
from benchmarks.model_project import START, ModelProject, bare, bare_context, definitions, instance
from benchmarks.section import Section
from benchmarks.throwaway import throwaway

ROWS, DAYS, TARGET = 1_000_000, 365, 1.2
NAMES = ("orders_kept", "orders_by_customer", "orders_by_day")


def measure(options: Options) -> Section:
    """In process several times, the whole commands once or twice."""
    rows, days = options.scaled(ROWS, least=100), options.scaled(DAYS, least=3)
    end = (date.fromisoformat(START) + timedelta(days=days - 1)).isoformat()
    with throwaway() as lakehouse:
        fill = FILL.format(rows=rows, days=days, start=START)
        project = ModelProject.create(lakehouse, "year", MODELS, fill)
        answer = lakehouse.call(
            "benchmarks.cases.backfill:inside", folder=str(project.folder), end=end, runs=options.runs
        )
        inside_ours, inside_bare = (Measured.of(plain) for plain in answer)
        span = ["--partition-range", f"{START}...{end}"]
        command = project.dagster("--select", " or ".join(f"key:marts/{name}" for name in NAMES), *span)
        restated = [word for name in NAMES for word in ("--restate-model", f"marts.{name}")]
        plan = project.sqlmesh(
            "plan", "prod", *restated, "--start", START, "--end", end, "--auto-apply", "--no-prompts"
        )
        ours = Measured("whole command, ours", lakehouse.shown(*command))
        peer = Measured("whole command, sqlmesh plan", lakehouse.shown(*plan))
        in_turns(
            min(options.runs, 2),
            (ours, lambda: lakehouse.command(*command, cwd=project.folder)),
            (peer, lambda: lakehouse.command(*plan, cwd=project.folder)),
        )
        project.holds("SELECT sum(orders)::BIGINT FROM marts.orders_by_day", rows)
    section = Section()
    section.say(f"{days:,} days, {rows:,} rows, three models that read one another.")
    section.comparison([inside_ours, inside_bare], peer=inside_bare)
    section.comparison([ours, peer], peer=peer)
    found = ratio(inside_ours, inside_bare)
    section.judge(f"at most {TARGET} times bare `sqlmesh plan`, in process", f"{found:.2f} times", found <= TARGET)
    return section


def inside(folder: str, end: str, runs: int) -> list[dict[str, Any]]:
    """In a child: a run over the range of partitions, and a plan that restates them; both warmed up."""
    import dagster as dg

    module = definitions(folder)
    keys = [dg.AssetKey(["marts", name]) for name in NAMES]
    tags = {"dagster/asset_partition_range_start": START, "dagster/asset_partition_range_end": end}
    models = [f"marts.{name}" for name in NAMES]
    context = bare_context(folder)
    with instance() as dagster:

        def ours() -> None:
            dg.materialize(
                [module.models], instance=dagster, selection=dg.AssetSelection.assets(*keys), tags=tags,
                resources=dict(module.defs.resources or {}),
            )  # fmt: skip

        def peer() -> None:
            bare(context, "plan", restate_models=models, start=START, end=end, auto_apply=True, no_prompts=True)

        ours()
        peer()
        first = Measured("in process, ours", "dg.materialize([models], tags={range of partitions}, instance=…)")
        second = Measured("in process, sqlmesh plan", "Context(…).plan('prod', restate_models=…, start=…, end=…)")
        in_turns(runs, (first, lambda: timed(ours)), (second, lambda: timed(peer)))
    return [first.plain(), second.plain()]


FILL = """
    CREATE TABLE raw.orders AS
    SELECT n AS order_id, n % 997 AS customer_id, TIMESTAMP '{start}' + INTERVAL (n % {days}) DAY AS ordered_at,
        (n % 1000)::DOUBLE AS amount_usd
    FROM range({rows}) AS numbers(n)
"""
HEAD = """
    MODEL (
      name marts.{name},
      kind INCREMENTAL_BY_TIME_RANGE (time_column ordered_on),
      audits (not_null(columns := (ordered_on)))
    );
"""
MODELS = {
    "orders_kept": HEAD.format(name="orders_kept")
    + """
    SELECT order_id, customer_id, ordered_at::DATE AS ordered_on, amount_usd
    FROM lakehouse.raw.orders WHERE ordered_at BETWEEN @start_ts AND @end_ts
""",
    "orders_by_customer": HEAD.format(name="orders_by_customer")
    + """
    SELECT ordered_on, customer_id, SUM(amount_usd)::DOUBLE AS amount_usd, COUNT(*)::BIGINT AS orders
    FROM marts.orders_kept WHERE ordered_on BETWEEN @start_ds AND @end_ds GROUP BY 1, 2
""",
    "orders_by_day": HEAD.format(name="orders_by_day")
    + """
    SELECT ordered_on, SUM(amount_usd)::DOUBLE AS amount_usd, SUM(orders)::BIGINT AS orders
    FROM marts.orders_by_customer WHERE ordered_on BETWEEN @start_ds AND @end_ds GROUP BY 1
""",
}

CASE = Case(
    "backfill",
    "A year of three models",
    "Days that were computed are computed again: ours in one Dagster run over a range of partitions (each of them "
    "recorded in Dagster's log with its rows), beside SQLMesh's own plan that restates them.",
    measure,
)
