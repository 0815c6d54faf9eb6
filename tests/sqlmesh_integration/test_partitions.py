"""A partition shows as materialized when the whole of it was computed, and never otherwise."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
import time_machine

from lakehouse_assets.sqlmesh_integration.partitions import keys_within
from lakehouse_assets.sqlmesh_integration.ranges import as_intervals, interval_count
from lakehouse_assets.sqlmesh_integration.sync import sync_partitions
from tests.sqlmesh_integration.sandbox import Sandbox, moment

SIGNAL = """
from pathlib import Path
from sqlmesh import DatetimeRanges, signal

@signal()
def has_come(batch: DatetimeRanges, folder: str) -> bool | DatetimeRanges:
    return [(start, end) for start, end in batch if (Path(folder) / f"{start:%Y-%m-%d}").exists()]
"""
DAYS_MODEL = """
MODEL (
  name marts.days,
  kind INCREMENTAL_BY_TIME_RANGE (time_column day),
  cron '@daily', start '2024-01-01', end '2024-01-05'{more}
);
SELECT day::DATE AS day, @execution_ts::TIMESTAMP AS computed_at
FROM range(TIMESTAMP '2024-01-01', TIMESTAMP '2024-01-06', INTERVAL 1 DAY) AS r(day)
WHERE day BETWEEN @start_ts AND @end_ts
"""
NOT_BROKEN = "AUDIT (name not_broken); SELECT * FROM @this_model WHERE day IN (SELECT b.day FROM raw.broken AS b)"
WEEKLY = DAYS_MODEL.replace("'@daily'", "'@weekly', interval_unit 'day'").replace(", end '2024-01-05'", "")


def test_of_a_range_only_what_a_signal_let_through_is_shown(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    gate = tmp_path / "come"
    gate.mkdir()
    more = f", signals (has_come(folder := '{gate}'))"
    files = {"models/days.sql": DAYS_MODEL.format(more=more), "signals/come.py": SIGNAL, "signals/__init__.py": ""}
    made = Sandbox.with_models(tmp_path, files)
    made.deploy()
    (gate / "2024-01-02").touch()
    (gate / "2024-01-03").touch()
    assert made.run("marts.days", partitions=("2024-01-01", "2024-01-05"), by_hand=True).success
    assert made.partitions("marts", "days") == {"2024-01-02", "2024-01-03"}
    said = capfd.readouterr().err
    assert "marts.days: not computed" in said and "2024-01-01, 2024-01-04, 2024-01-05" in said
    (gate / "2024-01-05").touch()
    before = made.stamps("marts.days", "day")
    (gate / "2024-01-02").unlink()
    assert made.run("marts.days", partitions=("2024-01-01", "2024-01-05"), by_hand=True).success
    assert made.partitions("marts", "days") == {"2024-01-02", "2024-01-03", "2024-01-05"}, "what was computed stays"
    assert made.stamps("marts.days", "day")["2024-01-02"] == before["2024-01-02"]


def test_days_before_the_deployed_start_are_not_shown(tmp_path: Path) -> None:
    made = Sandbox.with_models(tmp_path, {"models/days.sql": DAYS_MODEL.format(more="")})
    made.deploy()
    file = made.folder / "models" / "days.sql"
    file.write_text(file.read_text().replace("start '2024-01-01'", "start '2023-12-01'"))
    assert made.run("marts.days", partitions=("2023-12-25", "2024-01-02"), by_hand=True).success
    assert made.partitions("marts", "days") == {"2024-01-01", "2024-01-02"}


def test_a_day_that_is_computed_in_part_is_not_shown(tmp_path: Path) -> None:
    made = Sandbox.with_models(tmp_path, {"models/days.sql": DAYS_MODEL.format(more="")})
    model = made.project.manifest().by_name["marts.days"]
    definition = made.assets().specs_by_key[dg.AssetKey(["marts", "days"])].partitions_def
    assert isinstance(definition, dg.TimeWindowPartitionsDefinition)
    ranges = [(moment("2024-01-01 06:00"), moment("2024-01-03 13:00")), (moment("2024-01-04"), moment("2024-01-05"))]
    assert keys_within(model, definition, ranges) == ["2024-01-02", "2024-01-04"]


@pytest.fixture
def weekly(tmp_path: Path) -> Sandbox:
    """Days that are due once a week; those that raw.broken names fail their audit."""
    files = {"models/days.sql": WEEKLY.format(more=", audits (not_broken)"), "audits/not_broken.sql": NOT_BROKEN}
    made = Sandbox.with_models(tmp_path, files)
    made.execute("CREATE SCHEMA raw; CREATE TABLE raw.broken (day DATE)")
    return made


def test_a_weekly_model_s_failed_day_is_missing_and_healed_before_the_week_is_over(weekly: Sandbox) -> None:
    with time_machine.travel(datetime(2024, 1, 5, 12, tzinfo=UTC)):
        weekly.deploy()
        assert weekly.run().success
        assert weekly.partitions("marts", "days") == set(), "the first week is not over"
        assert weekly.run("marts.days", partitions=("2024-01-01", "2024-01-04"), by_hand=True).success
        weekly.execute("INSERT INTO raw.broken VALUES ('2024-01-03')")
        assert not weekly.run("marts.days", partition="2024-01-03", by_hand=True).success
        assert weekly.partitions("marts", "days") == {"2024-01-01", "2024-01-02", "2024-01-04"}
        weekly.execute("DELETE FROM raw.broken")
        assert weekly.run().success
        assert weekly.partitions("marts", "days") == {"2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04"}
        assert not sync_partitions(weekly.instance, weekly.resource, [weekly.assets()])


def test_the_newest_day_of_a_week_that_failed_shows_as_missing(weekly: Sandbox) -> None:
    with time_machine.travel(datetime(2024, 1, 5, 12, tzinfo=UTC)):
        weekly.deploy()
        assert weekly.run("marts.days", partitions=("2024-01-01", "2024-01-04"), by_hand=True).success
        weekly.execute("INSERT INTO raw.broken VALUES ('2024-01-04')")
        assert not weekly.run("marts.days", partition="2024-01-04", by_hand=True).success
        assert weekly.partitions("marts", "days") == {"2024-01-01", "2024-01-02", "2024-01-03"}


@pytest.mark.parametrize(("unit", "spans", "count"), [
    ("", [("2024-01-01", "2024-02-01")], 1),
    ("day", [("2024-01-01", "2024-01-03"), ("2024-01-02", "2024-01-04"), ("2024-02-01", "2024-02-02")], 4),
    ("quarter_hour", [("2024-01-01", "2024-01-02")], 96),
    ("month", [("2023-11-01", "2024-02-01")], 3),
    ("year", [("2020-01-01", "2024-01-01")], 4),
])  # fmt: skip
def test_intervals_are_counted_once_in_the_models_unit(unit: str, spans: list[tuple[str, str]], count: int) -> None:
    ranges = [(moment(start), moment(end)) for start, end in spans]
    assert interval_count(as_intervals(ranges), unit) == count
