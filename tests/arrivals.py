"""Files that land while `lakehouse up` is at work on the demo's lakehouse, and what becomes of them unaided."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.lakehouse_fixtures import DemoStack
from tests.lakehouse_instance import LakehouseInstance
from tests.running_services import RunningServices, until

KNOWN_DAY = "2009-12-05"
LONG_AGO = f"{datetime.now(UTC) - timedelta(days=548):%Y-%m-%d}"
"""18 months: no look-back reaches there."""
TRIPS = "staging/stg_nyc_taxi__trips"
TOO_DEAR = "429491.02"
MAX_AUDIT = "accepted_range_total_amount_max_v_10000"


@dataclass(frozen=True)
class Arrivals:
    """Two purchases each of KNOWN_DAY and LONG_AGO, and a trip whose price fails an audit."""

    trips: str
    """The name of the trip's file."""
    days: dict[str, Any]
    """When each day's revenue had been computed before."""
    others: list[Any]
    """When marts had been computed that read neither."""


@pytest.fixture(scope="session")
def arrivals(demo_stack: DemoStack) -> Arrivals:
    """They have been loaded, what reads them has been computed and checked."""
    services, lakehouse = demo_stack.services(), demo_stack.lakehouse
    settle(services)
    assert latest_check(services, TRIPS, MAX_AUDIT) == "SUCCEEDED"
    before, others = computed_at(lakehouse), other_marts(lakehouse)
    _land_events(lakehouse, [LONG_AGO, KNOWN_DAY])
    trips = _land_a_trip_too_dear(lakehouse)
    until(
        lambda: latest_check(services, TRIPS, MAX_AUDIT) == "FAILED"
        and not services.unfinished_runs()
        and LONG_AGO in computed_at(lakehouse),
        240, lambda: f"The day {LONG_AGO} or the trip's check is missing; unfinished: {services.unfinished_runs()}",
    )  # fmt: skip
    return Arrivals(trips, before, others)


def settle(services: RunningServices) -> None:
    """Wait until no run is queued or at work."""
    until(lambda: not services.unfinished_runs(), 240, lambda: f"{services.unfinished_runs()}")


def computed_at(lakehouse: LakehouseInstance) -> dict[str, Any]:
    """When each day's revenue was computed."""
    return dict(lakehouse.rows("SELECT event_date::VARCHAR, computed_at FROM marts.daily_revenue"))


def other_marts(lakehouse: LakehouseInstance) -> list[Any]:
    """When marts were computed that read neither the shop's events nor trips."""
    return [
        lakehouse.rows(f"SELECT MIN(computed_at), MAX(computed_at) FROM marts.{mart}")
        for mart in ("collisions_daily", "food_prices_monthly")
    ]


def latest_check(services: RunningServices, asset: str, check: str) -> str | None:
    """How the newest execution of an asset's check ended."""
    path = ", ".join(f'"{part}"' for part in asset.split("/"))
    reply = services.graphql(
        f"{{assetNodeOrError(assetKey: {{path: [{path}]}}) {{... on AssetNode {{assetChecksOrError {{"
        "... on AssetChecks {checks {name executionForLatestMaterialization {status}}}}}}}"
    )
    checks = reply["assetNodeOrError"]["assetChecksOrError"]["checks"]
    (execution,) = [found["executionForLatestMaterialization"] for found in checks if found["name"] == check]
    return execution["status"] if execution else None


def _land_events(lakehouse: LakehouseInstance, days: list[str]) -> None:
    """Two purchases a day, under another name until the file is whole."""
    folder = Path(lakehouse.lake.settings.landing_uri) / "ecommerce"
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


def _land_a_trip_too_dear(lakehouse: LakehouseInstance) -> str:
    """A month of one trip, by the name of a real one of that sum; gives the file's name."""
    folder = Path(lakehouse.lake.settings.landing_uri) / "nyc_taxi"
    header = next(folder.glob("*.csv")).read_text().splitlines()[0]
    trip = f"1,2018-10-05 08:00:00,2018-10-05 08:20:00,1,3.1,1,N,161,237,1,429490.22,0,0.5,0,0,0.3,{TOO_DEAR},"
    part, whole = folder / "dear.part", folder / "yellow_tripdata_sample_2018-10.csv"
    part.write_text(f"{header}\n{trip}\n")
    part.rename(whole)
    return whole.name
