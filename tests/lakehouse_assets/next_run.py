"""A process that loads one more file into a restored lakehouse and computes what is due, as anybody would."""

from __future__ import annotations

import json
from typing import Any, cast

import dagster as dg

from lakehouse.lake.ducklake import Lake
from lakehouse.settings import load_settings
from tests.lakehouse_assets.conftest import House

REVENUE = [dg.AssetKey(["staging", "stg_ecommerce__events"]), dg.AssetKey(["marts", "daily_revenue"])]


class RestoredHouse(House):
    """Nothing is made or deployed: it is all there."""

    def __post_init__(self) -> None:
        from lakehouse_assets.definitions import build

        self.definitions = build()


def main() -> None:
    """Tell what came of it as JSON."""
    with dg.DagsterInstance.get() as instance:
        house = RestoredHouse(Lake(load_settings()), {}, instance)
        house.land_events(
            "ecommerce_events_next.parquet", "SELECT 9000000, 1, 'purchase', TIMESTAMP '2009-12-28 10:00:00', 5"
        )
        (loaded,) = house.load_events().asset_materializations_for_node("ecommerce")
        house.run("catch_up", asset_selection=REVENUE)
        print(json.dumps({name: cast(Any, loaded.metadata[name]).value for name in ("files_loaded", "rows_inserted")}))
