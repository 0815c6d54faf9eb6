"""What the linter says of a model's edges is what SQLMesh does: flagged where rows are lost, and only there."""

from __future__ import annotations

import shutil

import pytest
from sqlmesh import Context
from sqlmesh.core.config import Config, DuckDBConnectionConfig, GatewayConfig, ModelDefaultsConfig
from sqlmesh.core.config.linter import LinterConfig

from lakehouse.settings import PROJECT_ROOT

# The first and the last instants of a range of three days, and one between.
ROWS = """
    SELECT seen_at::TIMESTAMP AS seen_at, seen_at::TIMESTAMP::DATE AS day FROM (VALUES
        ('2024-01-01 00:00:00'), ('2024-01-01 12:00:00'), ('2024-01-02 12:00:00'), ('2024-01-03 00:00:00'),
        ('2024-01-03 12:00:00'), ('2024-01-03 23:59:59.999999')
    ) AS t (seen_at)
"""
RIGHT = [
    "seen_at BETWEEN @start_ts AND @end_ts",
    "seen_at BETWEEN @start_dt AND @end_dt",
    "seen_at >= @start_ds AND seen_at <= @end_ts",
    "day BETWEEN @start_ds AND @end_ds",
    "day >= @start_date AND day <= @end_date",
    "seen_at::DATE BETWEEN @start_ds AND @end_ds",
    "seen_at >= @start_ds AND seen_at < @end_ds::DATE + INTERVAL 1 DAY",
    "day < @end_dt",
    "day < @end_ts::TIMESTAMP",
    "day <= @end_ts",
]
WRONG = [
    "day < @end_ts",
    "seen_at <= @end_ts::DATE",
    "seen_at >= @start_ds AND seen_at < @end_ds",
    "day >= @start_ds AND day < @end_ds",
    "seen_at BETWEEN @start_ds AND @end_ds",
    "seen_at BETWEEN @start_ts AND CAST(@end_ds AS TIMESTAMP)",
    "seen_at >= @start_ts AND seen_at <= @end_date",
    "seen_at >= @start_ts AND seen_at < @end_ts",
    "@end_ds > seen_at",
    "seen_at > @start_ts",
    "day > @start_ds",
]

TYPED = ["events.at <= @end_ds", "events.day <= @end_ds", "o.seen_at <= @end_ds"]


@pytest.fixture(scope="module")
def looked_at(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, int], dict[str, list[str]]]:
    """predicate -> rows that SQLMesh computed with it, of six; and what the linter says of it."""
    folder = tmp_path_factory.mktemp("edges")
    (folder / "models").mkdir()
    shutil.copytree(PROJECT_ROOT / "sqlmesh_project" / "linter", folder / "linter")
    names = {predicate: f"edges.m{number}" for number, predicate in enumerate(RIGHT + WRONG + TYPED)}
    for predicate, name in names.items():
        (folder / "models" / f"{name.split('.')[1]}.sql").write_text(model(name, predicate))
    (folder / "models" / "other.sql").write_text(
        "MODEL (name s.e, kind VIEW); SELECT seen_at AS at, day FROM source.events"
    )
    (folder / "external_models.yaml").write_text(
        "- {name: source.events, columns: {seen_at: timestamp, day: date}}\n"
        "- {name: r.other, columns: {seen_at: text}}\n"
    )
    connection = DuckDBConnectionConfig(database=str(folder / "db.duckdb"))
    config = Config(
        gateways={"main": GatewayConfig(connection=connection)},
        model_defaults=ModelDefaultsConfig(dialect="duckdb", start="2024-01-01"),
        linter=LinterConfig(enabled=True, warn_rules=["norowlostatanedge"]),
        disable_anonymized_analytics=True,
    )
    context = Context(paths=str(folder), config=config)
    context.engine_adapter.execute("CREATE SCHEMA source; CREATE SCHEMA r; CREATE TABLE r.other (seen_at TEXT)")
    context.engine_adapter.execute(f"CREATE TABLE source.events AS {ROWS}")
    context.plan("prod", execution_time="2024-01-04 01:00:00", auto_apply=True, no_prompts=True)
    said: dict[str, list[str]] = {name: [] for name in names.values()}
    for violation in context.lint_models(raise_on_error=False):
        said[violation.model.name].append(
            f"{violation.violation_msg} (line {violation.violation_range.start.line + 1})"
        )
    counts = {name: context.engine_adapter.fetchone(f"SELECT count(*) FROM {name}")[0] for name in names.values()}
    context.close()
    return {each: counts[name] for each, name in names.items()}, {each: said[name] for each, name in names.items()}


def model(name: str, predicate: str) -> str:
    source = "s.e AS events CROSS JOIN r.other AS o" if predicate in TYPED else "source.events"
    column = "day" if "day" in predicate or predicate in TYPED else "seen_at"
    columns = "events.day" if predicate in TYPED else "seen_at, day"
    return (
        f"MODEL (name {name}, kind INCREMENTAL_BY_TIME_RANGE (time_column {column}), cron '@daily');\n"
        f"SELECT {columns} FROM {source} WHERE {predicate}"
    )


@pytest.mark.parametrize("predicate", RIGHT + WRONG)
def test_a_predicate_is_flagged_when_it_loses_rows(looked_at: tuple, predicate: str) -> None:
    computed, said = looked_at
    assert bool(said[predicate]) == (computed[predicate] < 6) == (predicate in WRONG), (said[predicate], computed)


def test_what_is_written_instead_loses_nothing(looked_at: tuple) -> None:
    computed, said = looked_at
    assert said["seen_at BETWEEN @start_ds AND @end_ds"] == [
        "seen_at BETWEEN @start_ds AND @end_ds drops the last day but its midnight of every range, with green audits. "
        "Write seen_at BETWEEN @start_ts AND @end_ts (line 2)"
    ]
    assert computed["seen_at BETWEEN @start_ts AND @end_ts"] == 6


def test_types_are_found_through_aliases_and_other_models(looked_at: tuple) -> None:
    assert [len(looked_at[1][predicate]) for predicate in TYPED] == [1, 0, 0]
