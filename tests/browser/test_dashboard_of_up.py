"""The dashboard that `lakehouse up` starts, over the lake that `lakehouse demo` fills."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import Page, expect

from tests.running_services import RunningServices

pytestmark = pytest.mark.slow

PAGES = {
    "pick-ups": ("Pick-ups", "SELECT sum(trips)::BIGINT AS n FROM marts.trips_by_pickup_location"),
    "collisions": ("Collisions", "SELECT sum(crashes)::BIGINT AS n FROM marts.collisions_by_cause"),
    "revenue": ("Invoice lines sold", "SELECT sum(purchases)::BIGINT AS n FROM marts.daily_revenue"),
    "food-prices": None,
}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_shows_what_the_release_holds(page: Page, demo_services: RunningServices, name: str) -> None:
    page.goto(f"{demo_services.dashboard_url}/{name}")
    expect(page.get_by_text("of prod · data").last).to_be_visible()
    expect(page.get_by_test_id("stException")).to_have_count(0)
    expect(page.get_by_test_id("stAlert")).to_have_count(0)
    if shows := PAGES[name]:
        label, sql = shows
        (total,) = json.loads(demo_services.instance.command("query", "-f", "json", sql).stdout)
        shown = page.get_by_test_id("stMetric").filter(has=page.get_by_text(label, exact=True))
        expect(shown.get_by_test_id("stMetricValue")).to_have_text(f"{total['n']:,}")
