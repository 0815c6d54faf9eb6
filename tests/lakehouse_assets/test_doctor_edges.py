"""What `lakehouse doctor` says of a model's edges is what SQLMesh does: flagged where rows are lost, and only there."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlmesh import Context
from sqlmesh.core.config import Config, DuckDBConnectionConfig, GatewayConfig, ModelDefaultsConfig
from sqlmesh.core.dialect import parse

from lakehouse_assets.doctor.edges import lossy

SOURCE = {"source.events": {"seen_at": "timestamp", "day": "date"}}
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


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """predicate -> rows that SQLMesh computed with it, of six."""
    folder = tmp_path_factory.mktemp("edges")
    (folder / "models").mkdir()
    names = {predicate: f"edges.m{number}" for number, predicate in enumerate(RIGHT + WRONG)}
    for predicate, name in names.items():
        (folder / "models" / f"{name.split('.')[1]}.sql").write_text(model(name, predicate))
    database = str(folder / "db.duckdb")
    connection = DuckDBConnectionConfig(database=database)
    config = Config(
        gateways={"main": GatewayConfig(connection=connection)},
        model_defaults=ModelDefaultsConfig(dialect="duckdb", start="2024-01-01"),
        disable_anonymized_analytics=True,
    )
    context = Context(paths=str(folder), config=config)
    context.engine_adapter.execute("CREATE SCHEMA source")
    context.engine_adapter.execute(f"CREATE TABLE source.events AS {ROWS}")
    context.plan("prod", execution_time="2024-01-04 01:00:00", auto_apply=True, no_prompts=True)
    counts = {name: context.engine_adapter.fetchone(f"SELECT count(*) FROM {name}")[0] for name in names.values()}
    context.close()
    return {predicate: counts[name] for predicate, name in names.items()}


def model(name: str, predicate: str) -> str:
    column = "day" if "day" in predicate else "seen_at"
    return (
        f"MODEL (name {name}, kind INCREMENTAL_BY_TIME_RANGE (time_column {column}), cron '@daily');\n"
        f"SELECT seen_at, day FROM source.events WHERE {predicate}"
    )


@pytest.mark.parametrize("predicate", RIGHT + WRONG)
def test_a_predicate_is_flagged_when_it_loses_rows(computed: dict[str, int], predicate: str) -> None:
    found = list(lossy(parse(model("a.b", predicate), default_dialect="duckdb"), SOURCE))
    assert bool(found) == (computed[predicate] < 6) == (predicate in WRONG), (found, computed[predicate])


def test_what_is_written_instead_loses_nothing(computed: dict[str, int]) -> None:
    (edge,) = lossy(parse(model("a.b", "seen_at BETWEEN @start_ds AND @end_ds"), default_dialect="duckdb"), SOURCE)
    assert edge.instead == "seen_at BETWEEN @start_ts AND @end_ts" and computed[edge.instead] == 6
    assert edge.line == 2 and edge.lost == "the last day but its midnight"


def test_the_models_of_this_project_lose_nothing() -> None:
    from lakehouse.settings import load_settings
    from lakehouse.upkeep.doctor.examination import Examination
    from lakehouse_assets.doctor.edges import edges

    seen = edges(Examination(load_settings))
    assert seen.findings == () and int(seen.line.split()[0]) > 10


def test_types_are_found_through_aliases_and_casts_of_other_models(tmp_path: Path) -> None:
    from lakehouse_assets.doctor.edges import _types

    upstream = "MODEL (name s.e, kind VIEW); SELECT raw_at::TIMESTAMPTZ AS at, d::DATE AS day FROM r.t"
    types = dict(_types(parse(upstream, default_dialect="duckdb")))
    sql = "MODEL (name m.x, kind FULL); SELECT 1 FROM s.e AS events JOIN r.other AS o USING (id) WHERE {}"
    for predicate, count in (("events.at <= @end_ds", 1), ("events.day <= @end_ds", 0), ("o.at <= @end_ds", 0)):
        assert len(list(lossy(parse(sql.format(predicate), default_dialect="duckdb"), types))) == count, predicate
