"""How many rows each partition has, however a model keeps its time and wherever the process runs."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.sqlmesh_integration.sandbox import Sandbox

SECONDS = "SELECT TIMESTAMP '2024-01-01' + INTERVAL 6 HOUR * n AS at FROM range(12) AS r(n)"
MODEL = """
MODEL (
  name marts.kept,
  kind INCREMENTAL_BY_TIME_RANGE (time_column {time_column}, batch_size {batch_size}),
  cron '{cron}', start '2024-01-01', end '2024-01-03'
);
SELECT {expression} AS at_time, 1 AS one FROM ({rows}) WHERE at BETWEEN @start_ts AND @end_ts
"""
DAYS = {"2024-01-01": 4, "2024-01-02": 4, "2024-01-03": 4}
QUARTERS = {f"2024-01-0{day}-{hour:02}:00": 1 for day in (1, 2, 3) for hour in (0, 6, 12, 18)}


def kept(folder: Path, expression: str, time_column: str = "at_time", cron: str = "@daily") -> Sandbox:
    batch_size = 96 if cron == "*/15 * * * *" else 1  # a day each: what is counted is added up
    model = MODEL.format(expression=expression, time_column=time_column, cron=cron, batch_size=batch_size, rows=SECONDS)
    made = Sandbox.with_models(folder, {"models/kept.sql": model})
    made.deploy()
    return made


WAYS = {
    "at": ("at::TIMESTAMP", "at_time"),
    "day": ("at::DATE", "at_time"),
    "with_zone": ("(at AT TIME ZONE 'UTC')::TIMESTAMPTZ", "at_time"),
    "text": ("strftime(at, '%Y%m%d')::TEXT", "(at_time, '%Y%m%d')"),
    "number": ("strftime(at, '%Y%m%d')::INT", "(at_time, '%Y%m%d')"),
}
"""However a model keeps its time."""


def test_each_partition_carries_its_rows(tmp_path: Path) -> None:
    models = {
        f"models/{name}.sql": MODEL.format(
            expression=expression, time_column=column, cron="@daily", batch_size=1, rows=SECONDS
        ).replace("marts.kept", f"marts.{name}")
        for name, (expression, column) in WAYS.items()
    }
    made = Sandbox.with_models(tmp_path, models)
    made.deploy()
    ran = made.run(*(f"marts.{name}" for name in WAYS), partitions=("2024-01-01", "2024-01-03"), by_hand=True)
    assert ran.success, ran.failure
    events = ran.result.asset_materializations_for_node("models")
    for name in WAYS:
        assert ran.outcomes[f"marts.{name}"].rows == DAYS, name
        own = [event for event in events if event.asset_key.path[-1] == name]
        assert {event.partition: event.metadata["dagster/partition_row_count"].value for event in own} == DAYS, name
        assert ran.materialization("marts", name).metadata["dagster/row_count"].value == 12


def test_quarters_of_an_hour_carry_theirs(tmp_path: Path) -> None:
    ran = kept(tmp_path, "at::TIMESTAMP", cron="*/15 * * * *").run()
    assert ran.outcomes["marts.kept"].rows == QUARTERS


def test_rows_whose_partition_can_not_be_told_are_counted_together(tmp_path: Path) -> None:
    made = kept(tmp_path, "strftime(at, '%Y-%m-%d %H:%M:%S')::TEXT", "(at_time, '%Y-%m-%d %H:%M:%S')")
    ran = made.run("marts.kept", partitions=("2024-01-01", "2024-01-03"), by_hand=True)
    assert ran.outcomes["marts.kept"].rows == {None: 12}
    newest = ran.materialization("marts", "kept")
    assert newest.metadata["dagster/row_count"].value == newest.metadata["sqlmesh/rows_written"].value == 12
    assert "dagster/partition_row_count" not in newest.metadata, "no number is better than a wrong one"


def test_the_machines_time_zone_moves_no_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = kept(tmp_path, "(at AT TIME ZONE 'UTC')::TIMESTAMPTZ")
    (tmp_path / "naive").mkdir()
    naive = kept(tmp_path / "naive", "at::TIMESTAMP")
    try:
        for zone in ("Europe/Berlin", "America/Los_Angeles"):
            monkeypatch.setenv("TZ", zone)
            time.tzset()
            for one in (made, naive):
                ran = one.run(config={"mode": "recompute"})
                assert ran.outcomes["marts.kept"].rows == DAYS, zone
    finally:
        monkeypatch.undo()
        time.tzset()
