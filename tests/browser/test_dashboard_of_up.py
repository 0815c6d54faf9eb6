"""The dashboard that `lakehouse up` starts, over the lake that `lakehouse demo` fills."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.lakehouse_instance import LakehouseInstance
from tests.running_services import RunningServices

TOTALS = {
    "pick-ups": ("Pick-ups", "SELECT sum(trips)::BIGINT FROM marts.trips_by_pickup_location"),
    "collisions": ("Collisions", "SELECT sum(crashes)::BIGINT FROM marts.collisions_by_cause"),
    "revenue": ("Invoice lines sold", "SELECT sum(purchases)::BIGINT FROM marts.daily_revenue"),
}


@pytest.mark.parametrize("name", TOTALS)
def test_a_page_shows_what_the_lake_holds(
    page: Page, demo_lakehouse: LakehouseInstance, demo_services: RunningServices, name: str
) -> None:
    label, sql = TOTALS[name]
    page.goto(f"{demo_services.dashboard_url}/{'' if name == 'pick-ups' else name}")
    shown = page.get_by_test_id("stMetric").filter(has=page.get_by_text(label, exact=True))
    total = f"{demo_lakehouse.value(sql):,}"
    expect(shown.get_by_test_id("stMetricValue")).to_have_text(total)


def test_every_page_is_answered(page: Page, demo_services: RunningServices) -> None:
    for name in ("", "collisions", "revenue", "food-prices"):
        page.goto(f"{demo_services.dashboard_url}/{name}")
        expect(page.get_by_text("of prod · data").last).to_be_visible()
        expect(page.get_by_test_id("stException")).to_have_count(0)
        expect(page.get_by_test_id("stAlert")).to_have_count(0)
