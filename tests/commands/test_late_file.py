"""With `lakehouse up` at work and nobody's hand: a file with old rows lands, and only its days are computed again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.lakehouse_instance import LakehouseInstance
from tests.running_services import RunningServices, until

KNOWN_DAY = "2009-12-05"
LOCATION = "lakehouse_assets.definitions"


def land_events(lakehouse: LakehouseInstance, days: list[str]) -> Path:
    """Copy a file of two purchases a day into the landing zone, as a user would: under another name until it is whole."""
    folder = lakehouse.lake.settings.landing_dir / "ecommerce"
    part, whole = folder / "late.part", folder / "ecommerce_events_late.parquet"
    values = ", ".join(f"({9_000_000 + number}, TIMESTAMP '{day} 12:00:00')" for number, day in enumerate(days * 2))
    duckdb.sql(
        f"""
        COPY (
            SELECT id::INT AS event_id, 77 AS user_id, 'purchase' AS event_type, happened AS event_timestamp,
                10::DECIMAL(12, 2) AS revenue, 'L' || id AS invoice, '1' AS sku, 'EIRE' AS country
            FROM (VALUES {values}) AS late (id, happened)
        ) TO '{part}' (FORMAT parquet)
        """
    )
    part.rename(whole)
    return whole


def computed_at(lakehouse: LakehouseInstance) -> dict[str, Any]:
    """When each day's revenue was computed."""
    return dict(lakehouse.rows("SELECT event_date::VARCHAR, computed_at FROM marts.daily_revenue"))


def other_marts(lakehouse: LakehouseInstance) -> list[Any]:
    """When marts were computed that don't read the shop's events."""
    return [
        lakehouse.rows(f"SELECT MIN(computed_at), MAX(computed_at) FROM marts.{mart}")
        for mart in ("collisions_daily", "top_pickup_locations")
    ]


def test_sensors_and_the_schedule_run_without_being_switched_on(demo_services: RunningServices) -> None:
    selector = f'{{repositoryName: "__repository__", repositoryLocationName: "{LOCATION}"}}'
    reply = demo_services.graphql(
        f"{{repositoryOrError(repositorySelector: {selector}) {{... on Repository {{"
        "sensors {name sensorState {status}} schedules {name scheduleState {status}}}}}"
    )["repositoryOrError"]
    states = {sensor["name"]: sensor["sensorState"]["status"] for sensor in reply["sensors"]}
    states |= {schedule["name"]: schedule["scheduleState"]["status"] for schedule in reply["schedules"]}
    assert {"catch_up_sensor", "ecommerce_landing_sensor", "nyc_taxi_landing_sensor", "daily"} <= set(states)
    assert [name for name, status in states.items() if status != "RUNNING"] == []


def test_a_late_file_recomputes_its_days_unaided(
    demo_lakehouse: LakehouseInstance, demo_services: RunningServices, request: pytest.FixtureRequest
) -> None:
    long_ago = f"{datetime.now(UTC) - timedelta(days=548):%Y-%m-%d}"  # 18 months: no look-back reaches there
    until(lambda: not demo_services.unfinished_runs(), 240, lambda: f"{demo_services.unfinished_runs()}")
    before, others = computed_at(demo_lakehouse), other_marts(demo_lakehouse)

    file = land_events(demo_lakehouse, [long_ago, KNOWN_DAY])
    request.addfinalizer(lambda: file.unlink(missing_ok=True))
    until(
        lambda: long_ago in computed_at(demo_lakehouse) and not demo_services.unfinished_runs(),
        240, lambda: f"The day {long_ago} was not computed; unfinished: {demo_services.unfinished_runs()}",
    )  # fmt: skip

    after = computed_at(demo_lakehouse)
    assert {day for day in after if after[day] != before.get(day)} == {long_ago, KNOWN_DAY}
    assert set(before) <= set(after)
    assert demo_lakehouse.rows(
        f"SELECT unique_users, purchases, total_revenue FROM marts.daily_revenue WHERE event_date = '{long_ago}'"
    ) == [(1, 2, 20)]
    assert other_marts(demo_lakehouse) == others
    ours = "SELECT SUM(revenue) FROM raw.ecommerce__events"
    assert demo_lakehouse.value("SELECT SUM(net_revenue) FROM marts.daily_revenue") == demo_lakehouse.value(ours)
